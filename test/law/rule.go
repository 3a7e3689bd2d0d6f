package law

import (
	"fmt"
	"slices"
	"strings"
)

// rule forbids some packages to others. Patterns are paths below the module, or
// import paths; one that ends in "/..." covers the package and all beneath it.
type rule struct {
	name string
	// of are the packages that the rule binds. One that does not exist yet is
	// bound as soon as it does.
	of []string
	// except are taken out of "of".
	except []string
	// forbid are the packages that those may not import.
	forbid []string
	// direct limits the rule to imports that stand in the package's own files;
	// else what they import counts too.
	direct bool
}

var kubernetes = []string{"k8s.io/...", "sigs.k8s.io/..."}

// own is every package of the main module.
const own = module + "/..."

// rules are section 7 of the design.
var rules = []rule{
	{
		name:   "what touches or judges disks knows nothing of Kubernetes",
		of:     []string{"internal/disk/...", "internal/inventory/...", "internal/host/...", "internal/pool/...", "internal/volume/...", "internal/wipe/...", "internal/config/...", "internal/standin/..."},
		forbid: kubernetes,
	}, {
		name:   "the plugin cannot reach the hands",
		of:     []string{"cmd/kubectl-berth/...", "internal/check/..."},
		forbid: []string{"internal/host/..."},
	}, {
		name:   "the controller cannot reach the hands",
		of:     []string{"internal/placement/...", "internal/recovery/..."},
		forbid: []string{"internal/host/..."},
	}, {
		name:   "who carries a command can neither carry it out nor decide",
		of:     []string{"internal/control/..."},
		forbid: append([]string{"internal/host/...", "internal/wipe/...", "internal/volume/..."}, kubernetes...),
	}, {
		name:   "only cmd/berth commands the agent",
		of:     []string{own},
		except: []string{"cmd/berth", "internal/agent/...", "internal/control/..."},
		forbid: []string{"internal/control/..."},
	}, {
		name:   "facts stand alone",
		of:     []string{"internal/disk"},
		forbid: []string{own},
	}, {
		name:   "names stand alone",
		of:     []string{"api", "deploy"},
		forbid: []string{"internal/...", "cmd/...", "test/..."},
	}, {
		name:   "only cmd/berth imports the agent",
		of:     []string{own},
		except: []string{"cmd/berth", "internal/agent/..."},
		forbid: []string{"internal/agent/..."},
		direct: true,
	}, {
		name:   "nothing stands on the tests",
		of:     []string{"api/...", "internal/...", "cmd/...", "deploy/..."},
		forbid: []string{"test/..."},
	},
}

// joints are the internal packages that join the others, and that no rule but
// the general ones binds. A new package has its place in a rule or in here,
// so that somebody has thought about it.
var joints = []string{"internal/publish/...", "internal/job/...", "internal/csi/...", "internal/agent/..."}

// graph is the direct imports of every package, by import path.
type graph map[string][]string

// binds reports whether the rule is about a package.
func (r rule) binds(pkg string) bool {
	return matches(r.of, pkg) && !matches(r.except, pkg)
}

// general reports whether the rule binds the whole tree, so that it gives no
// package a place.
func (r rule) general() bool {
	return slices.Contains(r.of, own) || slices.Contains(r.of, "internal/...")
}

// broken lists how the packages of g break the rule, each with the chain of
// imports that does.
func (r rule) broken(g graph) []string {
	var found []string
	for pkg := range g {
		if !strings.HasPrefix(pkg+"/", module+"/") || !r.binds(pkg) {
			continue
		}
		if chain := r.chain(g, pkg); chain != nil {
			found = append(found, fmt.Sprintf("%s: %s", r.name, strings.Join(chain, " → ")))
		}
	}
	slices.Sort(found)
	return found
}

// chain is the shortest way from a package to one that the rule forbids it.
func (r rule) chain(g graph, from string) []string {
	parent := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range g[queue[0]] {
			if _, seen := parent[next]; seen {
				continue
			}
			parent[next] = queue[0]
			if matches(r.forbid, next) {
				var chain []string
				for p := next; p != ""; p = parent[p] {
					chain = append([]string{p}, chain...)
				}
				return chain
			}
			if !r.direct {
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// matches reports whether one of the patterns covers a package.
func matches(patterns []string, pkg string) bool {
	for _, pattern := range patterns {
		first, _, _ := strings.Cut(pattern, "/")
		if !strings.Contains(first, ".") {
			pattern = module + "/" + pattern
		}
		tree, all := strings.CutSuffix(pattern, "/...")
		if pkg == tree || all && strings.HasPrefix(pkg, tree+"/") {
			return true
		}
	}
	return false
}
