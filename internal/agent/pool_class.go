package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
)

// kubernetesParameters begins the parameters of a StorageClass that are
// Kubernetes' own, and are not for the driver to know.
const kubernetesParameters = "csi.storage.k8s.io/"

// Names are those of all configured pools, sorted, also of those that are not
// open.
func (p *pools) Names() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.byName))
}

// Get returns a pool; false when it is not open now, or not configured.
func (p *pools) Get(name string) (pool.Pool, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.byName[name]; s != nil && s.gate != nil {
		return s.gate, true
	}
	return nil, false
}

// Config returns what is configured of a pool, open or not.
func (p *pools) Config(name string) (config.Pool, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.byName[name]; s != nil {
		return s.cfg, true
	}
	return config.Pool{}, false
}

// Unfit says why a configured pool is not open; nil when it is.
func (p *pools) Unfit(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s := p.byName[name]; {
	case s == nil:
		return fmt.Errorf("%w: it is not configured", pool.ErrUnfit)
	case s.gate != nil:
		return nil
	case s.why != nil:
		return s.why
	}
	return fmt.Errorf("%w yet: it is being opened", pool.ErrUnfit)
}

// ForClass returns the pool of this node that volumes of a StorageClass are
// carved out of, open or not: the one that the class names, or else the one that
// names the class, or else the only one. It is "" when this node has none for
// it. The error is about what nobody can obey: an unknown parameter, or a class
// without a name of a pool where several could be meant.
func (p *pools) ForClass(class string, parameters map[string]string) (name string, err error) {
	wanted, given := parameters[csi.ParamPool]
	for _, key := range slices.Sorted(maps.Keys(parameters)) {
		if key != csi.ParamPool && !strings.HasPrefix(key, kubernetesParameters) {
			return "", fmt.Errorf("StorageClass %s has the parameter %q; allowed: %s, and Kubernetes' own such as %sfstype", class, key, csi.ParamPool, kubernetesParameters)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if given {
		if wanted == "" {
			return "", fmt.Errorf("StorageClass %s has an empty parameter %s; allowed: a pool's name, or leave it out", class, csi.ParamPool)
		}
		if s := p.byName[wanted]; s != nil && s.cfg.Carves(class) {
			return wanted, nil
		}
		return "", nil
	}
	var naming, taking []string // pools that name the class, and that take it
	for n, s := range p.byName {
		if slices.Contains(s.cfg.Classes, class) {
			naming = append(naming, n)
		}
		if s.cfg.Carves(class) {
			taking = append(taking, n)
		}
	}
	switch {
	case len(naming) == 1:
		return naming[0], nil
	case len(taking) == 0:
		return "", nil
	case len(p.byName) == 1:
		return taking[0], nil
	}
	slices.Sort(taking)
	return "", fmt.Errorf("StorageClass %s names no pool, and this node has several for it: %s; set the parameter %s", class, strings.Join(taking, ", "), csi.ParamPool)
}
