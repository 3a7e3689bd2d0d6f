package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/berth-storage/berth/test/cluster/internal/part"
	"github.com/berth-storage/berth/test/cluster/internal/preflight"
	"github.com/berth-storage/berth/test/cluster/internal/progress"
)

// preparation is all that is built before a cluster can start.
type preparation struct {
	root    string
	builder *part.Builder
	parts   []part.Part
	missing []part.Part // not in the cache
	program string      // cmd/cluster, once built
	// berth says that Berth's image is wanted, newRoot that its lower part is
	// not in the cache.
	berth, newRoot bool
}

// Names of steps, as the progress shows them.
const (
	stepOwn  = "build the cluster's own programs"
	stepRoot = "make a Debian root directory for Berth's image"
)

// Build builds all parts that are not cached, and starts nothing.
func Build(ctx context.Context, out io.Writer) error {
	root, err := FindRoot()
	if err != nil {
		return err
	}
	p, err := newPreparation(ctx, root, false)
	if err != nil || len(p.missing) == 0 {
		return err
	}
	facts := preflight.Machine(p.builder.Cache, p.builder.Cache)
	if err := preflight.CheckBuild(facts); err != nil {
		return err
	}
	line := progress.New(out, p.steps()...)
	err = p.buildParts(ctx, line)
	line.Close(err != nil)
	return err
}

func newPreparation(ctx context.Context, root string, berth bool) (*preparation, error) {
	version, err := exec.CommandContext(ctx, "go", "version").Output()
	if err != nil {
		return nil, fmt.Errorf("finding Go: %w; install Go 1.26 or newer and put it into PATH", err)
	}
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	p := &preparation{root: root, berth: berth, builder: &part.Builder{
		Root: root, Cache: cache, Go: strings.TrimSpace(string(version)),
	}}
	if p.parts, err = part.Parts(root); err != nil {
		return nil, err
	}
	for _, x := range p.parts {
		ok, err := p.builder.Cached(x)
		if err != nil {
			return nil, err
		}
		if !ok {
			p.missing = append(p.missing, x)
		}
	}
	if berth {
		base, err := berthRoot()
		if err != nil {
			return nil, err
		}
		cached, err := base.Cached()
		if err != nil {
			return nil, err
		}
		p.newRoot = !cached
	}
	return p, nil
}

// cacheDir is outside the work tree, so that a clean checkout finds it.
func cacheDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache directory: %w", err)
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "berth"), nil
}

// steps names what build will do.
func (p *preparation) steps() []string {
	var steps []string
	for _, x := range p.missing {
		steps = append(steps, "build "+x.Name)
	}
	if p.newRoot {
		steps = append(steps, stepRoot)
	}
	return steps
}

// buildParts builds what is missing in the cache.
func (p *preparation) buildParts(ctx context.Context, line *progress.Line) error {
	p.builder.Report = func(e part.Event) {
		if e.Total > 0 {
			line.Detail("%d of at most %d packages", e.Done, e.Total)
		} else {
			line.Detail("%s", e.Text)
		}
	}
	for _, x := range p.missing {
		line.Step()
		if err := p.builder.Build(ctx, x); err != nil {
			return err
		}
	}
	if !p.newRoot {
		return nil
	}
	line.Step()
	base, err := berthRoot()
	if err != nil {
		return err
	}
	return base.Make(ctx)
}

// build builds what is missing, links everything into dir/bin, and returns the
// programs' paths by name.
func (p *preparation) build(ctx context.Context, line *progress.Line, dir string) (map[string]string, error) {
	if err := p.buildParts(ctx, line); err != nil {
		return nil, err
	}
	line.Step()
	programs := map[string]string{}
	for _, x := range p.parts {
		paths, err := p.builder.Paths(x)
		if err != nil {
			return nil, err
		}
		for name, path := range paths {
			programs[name] = path
			if err := relink(path, filepath.Join(dir, "bin", name)); err != nil {
				return nil, err
			}
		}
	}
	p.program = filepath.Join(dir, "bin", "cluster")
	return programs, p.ownPrograms(ctx, filepath.Join(dir, "bin"))
}

// ownPrograms builds this module's commands. One that runs already is copied.
func (p *preparation) ownPrograms(ctx context.Context, bin string) error {
	packages := []string{"./pause"}
	if self, err := os.Executable(); err == nil && filepath.Base(self) == "cluster" {
		if err := copyFile("/proc/self/exe", p.program); err != nil {
			return err
		}
	} else {
		packages = append(packages, "./cmd/cluster")
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{
		"build", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin + "/",
	}, packages...)...)
	cmd.Dir = filepath.Join(p.root, "test", "cluster")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the cluster's own programs: %w\n%s", err, out)
	}
	return nil
}

func relink(target, link string) error {
	if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("linking %s: %w", filepath.Base(link), err)
	}
	if err := os.Symlink(target, link); err != nil {
		return fmt.Errorf("linking %s: %w", filepath.Base(link), err)
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	_, err = io.Copy(out, in)
	if err2 := out.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return nil
}

func join(words []string) string { return strings.Join(words, " ") }
