// Package part builds the programs of the cluster from their Go modules and
// keeps them in a cache outside the work tree, keyed by all they are built
// from. It builds only what is missing, and never removes what others cached.
//
// It resolves no versions: each part's go.mod and go.sum are in the tree.
package part

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
)

// Part is one module of programs that are built together.
type Part struct {
	Name     string
	Programs []string // package paths; "." is the module's own main package
	Tags     string
	// LDFlags are added to -s -w.
	LDFlags string
	// source is the file beside go.mod that belongs to the key.
	source string
}

// Parts lists all parts, in the order of their building: the long one last, so
// that what is wrong with the machine shows early.
func Parts(root string) ([]Part, error) {
	version, err := KubernetesVersion(root)
	if err != nil {
		return nil, err
	}
	numbers := regexp.MustCompile(`^v(\d+)\.(\d+)\.`).FindStringSubmatch(version)
	if numbers == nil {
		return nil, fmt.Errorf("reading the version of Kubernetes: %q is none", version)
	}
	const stamp = "k8s.io/component-base/version."
	const k8s, ctd = "k8s.io/kubernetes/cmd/", "github.com/containerd/containerd/v2/cmd/"
	return []Part{
		{Name: "etcd", Programs: []string{"."}, source: "main.go"},
		{
			Name: "containerd", Tags: "no_btrfs no_devmapper no_zfs", source: "parts.go",
			Programs: []string{ctd + "containerd", ctd + "containerd-shim-runc-v2", ctd + "ctr"},
		},
		{Name: "helm", Programs: []string{"helm.sh/helm/v4/cmd/helm"}, source: "parts.go"},
		{
			Name: "kubernetes", source: "parts.go",
			Programs: []string{
				k8s + "kube-apiserver", k8s + "kube-controller-manager", k8s + "kube-scheduler",
				k8s + "kubelet", k8s + "kubectl", k8s + "kube-proxy",
			},
			// Without these every component reports v0.0.0-master.
			LDFlags: fmt.Sprintf("-X %[1]sgitVersion=%[2]s -X %[1]sgitMajor=%[3]s -X %[1]sgitMinor=%[4]s",
				stamp, version, numbers[1], numbers[2]),
		},
	}, nil
}

// KubernetesVersion is the version that parts/kubernetes/go.mod requires, the
// one place that names it.
func KubernetesVersion(root string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir(root, "kubernetes"), "go.mod"))
	if err != nil {
		return "", fmt.Errorf("reading the version of Kubernetes: %w", err)
	}
	m := regexp.MustCompile(`(?m)^(?:require)?\s*k8s\.io/kubernetes (v\S+)`).FindSubmatch(data)
	if m == nil {
		return "", errors.New("reading the version of Kubernetes: parts/kubernetes/go.mod does not require k8s.io/kubernetes")
	}
	return string(m[1]), nil
}

// Builder builds parts of the tree at Root into Cache.
type Builder struct {
	Root, Cache string
	Go          string // `go version`
	// Report is told of what a build says; nil for nobody.
	Report func(Event)
}

// Event is one step of a build.
type Event struct {
	Part        string
	Done, Total int    // packages compiled, and all there are; Total 0 while unknown
	Text        string // what goes on, when it is not compiling
}

// Dir is where the part's programs are, or will be.
func (b *Builder) Dir(p Part) (string, error) {
	key, err := b.key(p)
	if err != nil {
		return "", err
	}
	return filepath.Join(b.Cache, p.Name+"-"+key), nil
}

// key is the hash of everything a part's programs are made from.
func (b *Builder) key(p Part) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%q\x00%s\x00%s\x00", b.Go, p.Programs, p.Tags, p.LDFlags)
	for _, name := range []string{"go.mod", "go.sum", p.source} {
		data, err := os.ReadFile(filepath.Join(dir(b.Root, p.Name), name))
		if err != nil {
			return "", fmt.Errorf("hashing part %s: %w", p.Name, err)
		}
		fmt.Fprintf(h, "%s %d\x00", name, len(data))
		h.Write(data)
	}
	return fmt.Sprintf("%x", h.Sum(nil))[:16], nil
}

// Cached says whether the part needs no build.
func (b *Builder) Cached(p Part) (bool, error) {
	d, err := b.Dir(p)
	if err != nil {
		return false, err
	}
	_, err = os.Stat(d)
	return err == nil, nil
}

// Paths maps the names of the part's programs to their files.
func (b *Builder) Paths(p Part) (map[string]string, error) {
	d, err := b.Dir(p)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, pkg := range p.Programs {
		name := path.Base(pkg)
		if pkg == "." {
			name = p.Name
		}
		paths[name] = filepath.Join(d, name)
	}
	return paths, nil
}

// Build builds the part unless it is cached. Two builds of one part may run at
// the same time; one of them wins.
func (b *Builder) Build(ctx context.Context, p Part) error {
	if ok, err := b.Cached(p); err != nil || ok {
		return err
	}
	final, err := b.Dir(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.Cache, 0o755); err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	tmp, err := os.MkdirTemp(b.Cache, ".build-"+p.Name+"-")
	if err != nil {
		return fmt.Errorf("making the cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	if err := b.compile(ctx, p, tmp); err != nil {
		return err
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return fmt.Errorf("caching part %s: %w", p.Name, err)
	}
	if err := os.Rename(tmp, final); err != nil {
		if ok, _ := b.Cached(p); ok {
			return nil
		}
		return fmt.Errorf("caching part %s: %w", p.Name, err)
	}
	return nil
}

func dir(root, part string) string {
	return filepath.Join(root, "test", "cluster", "parts", part)
}
