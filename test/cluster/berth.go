package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/berth-storage/berth/deploy"
	"github.com/berth-storage/berth/test/cluster/internal/image"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// How Berth is installed.
const (
	BerthNamespace = "berth-system"
	berthRelease   = "berth"
	// FastClass publishes what is mounted in DisksDir, RawClass the devices
	// linked in BlocksDir.
	FastClass = "fast"
	RawClass  = "raw"
	// PoolName is the pool of each node whose disk of that name is there, and
	// PoolClass is for volumes out of it.
	PoolName  = "tank"
	PoolDir   = PoolsDir + "/" + PoolName
	PoolClass = "carved"
)

// berthValues are the chart's values here. The image's digest is a label of the
// pods, agents' and controller's, so that a new image under the same name
// replaces them.
const berthValues = `image: {repository: localhost/berth, tag: dev, pullPolicy: Never}
commonLabels: {image-digest: %q}
classes:
  - {name: ` + FastClass + `, hostDir: ` + DisksDir + `}
  - {name: ` + RawClass + `, hostDir: ` + BlocksDir + `, volumeMode: Block}
pools:
  - {name: ` + PoolName + `, kind: btrfs, path: ` + PoolDir + `, storageClasses: [{name: ` + PoolClass + `}]}
`

// installPatience is how long Helm waits for the agents to be ready.
const installPatience = "2m"

// berthRoot is the lower part of Berth's image.
func berthRoot() (image.Debian, error) {
	cache, err := cacheDir()
	return image.Debian{Cache: cache, Packages: deploy.Packages()}, err
}

// Debian makes an archive of a minimal Debian with the packages, unless it is
// cached, and returns its path.
func Debian(ctx context.Context, packages []string) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	d := image.Debian{Cache: cache, Packages: packages}
	if err := d.Make(ctx); err != nil {
		return "", err
	}
	return d.Path()
}

// buildBerth builds bin/berth from the work tree, and its image into the
// cluster's directory.
func buildBerth(ctx context.Context, root, dir string) (state.Image, error) {
	program := filepath.Join(root, "bin", "berth")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, "./cmd/berth")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return state.Image{}, fmt.Errorf("building berth: %w\n%s", err, out)
	}
	base, err := berthRoot()
	if err != nil {
		return state.Image{}, err
	}
	if err := base.Make(ctx); err != nil {
		return state.Image{}, err
	}
	path, err := base.Path()
	if err != nil {
		return state.Image{}, err
	}
	img, err := image.Berth(BerthImage, path, program, deploy.Links())
	if err != nil {
		return state.Image{}, err
	}
	return writeImage(dir, img)
}

// LoadBerth builds Berth's image from the work tree and gives it to all nodes.
// InstallBerth then makes the agents use it. The digest tells images apart.
func (c *Cluster) LoadBerth(ctx context.Context) (digest string, err error) {
	if c.root == "" {
		return "", fmt.Errorf("building berth: %w", ErrNoRoot)
	}
	img, err := buildBerth(ctx, c.root, c.dir)
	if err != nil {
		return "", err
	}
	return img.Digest, c.client.LoadImage(ctx, img)
}

// LoadImage gives an image in an archive, as `docker save` writes it, to all
// nodes, now and later. The name is the one in the archive.
func (c *Cluster) LoadImage(ctx context.Context, name, archive string) error {
	path, err := filepath.Abs(archive)
	if err != nil {
		return fmt.Errorf("loading image %s: %w", name, err)
	}
	img, err := adoptImage(c.dir, name, path)
	if err != nil {
		return err
	}
	return c.client.LoadImage(ctx, img)
}

// InstallBerth installs the chart in the work tree, or brings an installation
// up to date, with the image that was loaded last, and waits until every agent
// is ready. Further arguments are for `helm upgrade`: --set, --values, ….
func (c *Cluster) InstallBerth(ctx context.Context, args ...string) error {
	chart := filepath.Join(c.root, "deploy", "helm", "berth")
	if _, err := os.Stat(filepath.Join(chart, "Chart.yaml")); err != nil {
		return fmt.Errorf("installing berth: the chart is missing: %w", err)
	}
	st, err := state.Load(c.dir)
	if err != nil {
		return err
	}
	digest := ""
	for _, i := range st.Images {
		if i.Name == BerthImage {
			digest = i.Digest
		}
	}
	if digest == "" {
		return errors.New("installing berth: its image is not loaded")
	}
	values := filepath.Join(c.dir, "helm", "values.yaml")
	if err := os.MkdirAll(filepath.Dir(values), 0o755); err != nil {
		return fmt.Errorf("installing berth: %w", err)
	}
	if err := os.WriteFile(values, fmt.Appendf(nil, berthValues, asLabel(digest)), 0o644); err != nil {
		return fmt.Errorf("installing berth: %w", err)
	}
	_, err = c.Helm(ctx, append([]string{
		"upgrade", "--install", berthRelease, chart, "--namespace", BerthNamespace, "--create-namespace",
		"--values", values, "--wait", "--timeout", installPatience,
		"--force-conflicts", // take back what somebody edited by hand
	}, args...)...)
	return err
}

// asLabel is enough of a digest, sha256:…, to be told from others, as the value of
// a label, which has at most 63 characters and no colon.
func asLabel(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(len(hex), 32)]
}

// UninstallBerth takes the chart away again. Volumes that it published stay.
func (c *Cluster) UninstallBerth(ctx context.Context) error {
	_, err := c.Helm(ctx, "uninstall", berthRelease, "--namespace", BerthNamespace, "--wait", "--timeout", installPatience)
	return err
}

// Environ is the environment of a shell in which kubectl, helm and the rest are
// the cluster's own and mean the cluster. Helm keeps its files in the cluster's
// directory.
func (c *Cluster) Environ() []string {
	home := filepath.Join(c.dir, "helm")
	return append(os.Environ(), "PATH="+filepath.Join(c.dir, "bin")+":"+os.Getenv("PATH"), "KUBECONFIG="+c.Kubeconfig(),
		"HELM_NAMESPACE=", "HELM_CACHE_HOME="+home+"/cache", "HELM_CONFIG_HOME="+home+"/config", "HELM_DATA_HOME="+home+"/data", "HELM_PLUGINS="+home+"/plugins")
}

// Helm runs the cluster's own helm and returns what it prints.
func (c *Cluster) Helm(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Program("helm"), args...)
	cmd.Env = c.Environ()
	return output(cmd, "helm "+args[0])
}

// Kubectl runs the cluster's own kubectl and returns what it prints.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.Program("kubectl"), args...)
	cmd.Env = c.Environ()
	return output(cmd, "kubectl "+args[0])
}

// output runs a command; its error has what the command said.
func output(cmd *exec.Cmd, what string) (string, error) {
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		said := ""
		if errors.As(err, &exit) {
			said = string(exit.Stderr)
		}
		return string(out), fmt.Errorf("running %s: %w: %s%s", what, err, out, said)
	}
	return string(out), nil
}
