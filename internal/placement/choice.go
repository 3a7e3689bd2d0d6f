package placement

import (
	"cmp"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/berth-storage/berth/internal/publish"
)

// world is what a choice of a node rests on.
type world struct {
	nodes   map[string]node
	classes map[string]class
	rooms   map[string]room
	// placed are the claims that have a node and no volume yet, by node as
	// api.LabelNode has it. The agents' word may or may not count them already.
	placed map[string][]claim
	// beside is the name of the node where the claim's namespace had its last one
	// put a moment ago; "" for none.
	beside string
}

// together is how long after one another claims of a namespace are taken to be for
// the same pod, and leeway is how much less room than on another node there may be
// then, in parts of the latter: a pod that uses several of them starts only on a
// node that has all of them, and nothing else tells which belong together.
const (
	together = 30 * time.Second
	leeway   = 8
)

// bestNode returns the name of the node with most room for a claim, or of the one
// beside which it may belong, where that has about as much; "" with the reason when
// none has enough, and whether any agent has told of room for the claim's class. Of
// what an agent says is free, the claims that were placed on its node and have no
// volume yet are taken off: more is never promised here than there is. A claim that
// the agent has counted already is taken off twice until it is bound, which can
// only make a choice wait.
func (w world) bestNode(c claim) (name, why string, known bool) {
	of := w.classes[c.class]
	byLabel := map[string]node{}
	for _, n := range w.nodes {
		byLabel[publish.NodeLabelValue(n.name)] = n
	}
	best, most, served, beside := room{free: -1, largest: -1}, int64(0), false, int64(0)
	for _, r := range w.rooms {
		known = known || r.class == c.class
		n, there := byLabel[r.node]
		if r.class != c.class || !there || !n.usable || !of.allows(n) {
			continue
		}
		free := r.free
		for _, p := range w.placed[r.node] {
			if p.UID != c.UID && of.sharesPool(w.classes[p.class]) {
				free -= p.bytes
			}
		}
		here := min(r.largest, free)
		most, served = max(most, here), true
		if here < c.bytes {
			continue
		}
		if n.name == w.beside {
			beside = max(beside, here)
		}
		if order := cmp.Or(cmp.Compare(here, best.largest), cmp.Compare(free, best.free), cmp.Compare(name, n.name)); order > 0 {
			best, name = room{free: free, largest: here}, n.name
		}
	}
	switch {
	case beside > 0 && beside >= best.largest-best.largest/leeway:
		return w.beside, "", known
	case name != "":
		return name, "", known
	case !served:
		return "", fmt.Sprintf("no node that pods can start on has a pool for class %s; an agent says which of its pools serve it, and labels of the class's allowedTopologies count", c.class), known
	}
	return "", fmt.Sprintf("no node has room for %s in class %s; at most %s can be had on one now; it is tried again when that changes", size(c.bytes), c.class, size(most)), known
}

func size(bytes int64) string { return resource.NewQuantity(bytes, resource.BinarySI).String() }
