package agent

import (
	"context"
	"fmt"
	"maps"
	"path"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// stranger is a PersistentVolume that gives pods on this node a path and is not
// the agent's: somebody wrote it by hand. It is left alone, and no other PV is
// made for the same path.
type stranger struct {
	uid         types.UID
	class, path string
}

type strangers struct {
	mu     sync.Mutex // guards byName
	byName map[string]stranger
}

func (s *strangers) set(all map[string]stranger) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byName = all
}

func (s *strangers) all() map[string]stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.byName)
}

// at returns the name of a stranger with this path, "" when there is none.
func (s *strangers) at(path string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, st := range s.byName {
		if st.path == path {
			return name
		}
	}
	return ""
}

// reportStrangers tells the operator of the strangers that concern a class of
// the configuration, and forgets those that are gone.
func (a *Agent) reportStrangers(ctx context.Context) {
	for name, s := range a.strangers.all() {
		class, managed := a.class(s.class)
		if !managed && !a.inClass(path.Dir(s.path)) {
			a.reports.clear(foreignSubject(name))
			continue
		}
		pv, err := limited(ctx, a, func() (*pvObject, error) { return a.cluster.Get(ctx, name) })
		if err != nil {
			continue // the next rescan asks again
		}
		if pv == nil || pv.UID != s.uid {
			a.strangers.mu.Lock()
			delete(a.strangers.byName, name)
			a.strangers.mu.Unlock()
			a.reports.clear(foreignSubject(name))
			a.kickAll()
			continue
		}
		why := "no provisioner of this node made it"
		if managed && path.Dir(s.path) != class.HostDir {
			why += fmt.Sprintf(", and its path %q is not one in %s, the directory of class %s", s.path, class.HostDir, class.Name)
		}
		a.reportForeign(name, s.uid, why)
	}
}

func (a *Agent) inClass(dir string) bool {
	for _, c := range a.config().Classes {
		if c.HostDir == dir {
			return true
		}
	}
	return false
}
