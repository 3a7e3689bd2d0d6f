package placement

import (
	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// A verb is what to do with a claim.
type verb string

const (
	nothing  verb = "nothing"
	place    verb = "place"     // copy the choice of a node into the label
	choose   verb = "choose"    // choose a node, and write that as choice and label
	forget   verb = "forget"    // take the label off: its choice was taken back
	takeBack verb = "take back" // take choice and label off: the node is gone
)

// decide says what to do with a claim. The class is nil where it is not one of
// Berth's. Gone says that the node of the choice does not exist.
//
// An agent makes a volume's PV only while the claim that it reads from the API
// server has both, choice and label, of its node. So whatever is late here, no
// two nodes make one.
func decide(c claim, of *class, gone bool) verb {
	switch {
	case of == nil:
		return nothing
	case c.node != "" && gone:
		return takeBack
	case c.node == "" && c.label != "" && !of.immediate:
		return forget
	case !c.announced: // it comes, and with it this is asked again
		return nothing
	case c.node != "" && c.label != publish.NodeLabelValue(c.node):
		return place
	case c.node == "" && of.immediate:
		return choose
	}
	return nothing
}

// steps are the changes of the claim that a verb stands for, with the tests that
// keep them from being made to another form of it than the one that was judged.
// Node is the one to choose, for choose alone.
func steps(v verb, c claim, node string) (all []publish.PatchOp) {
	const labels, annotations = "labels", "annotations"
	field := func(kind, name string) string { return publish.Pointer("metadata", kind, name) }
	add := func(op, path string, value any) { all = append(all, publish.PatchOp{Op: op, Path: path, Value: value}) }
	// absent tests that nothing is there; set puts it there. Where the claim had
	// none of the kind there is no map to put it in.
	absent := func(kind, name string, others bool) {
		if others {
			add("test", field(kind, name), nil)
		} else {
			add("test", publish.Pointer("metadata", kind), nil)
		}
	}
	set := func(kind, name, value string, others bool) {
		if others {
			add("add", field(kind, name), value)
		} else {
			add("add", publish.Pointer("metadata", kind), map[string]string{name: value})
		}
	}
	label := func(node string) {
		if !c.labels {
			absent(labels, api.LabelNode, false)
		}
		set(labels, api.LabelNode, publish.NodeLabelValue(node), c.labels)
	}
	unlabel := func() {
		if c.label != "" {
			add("test", field(labels, api.LabelNode), c.label)
			add("remove", field(labels, api.LabelNode), nil)
		}
	}
	unbound := func() { add("test", publish.Pointer("spec", "volumeName"), nil) }
	switch v {
	case place:
		add("test", field(annotations, publish.AnnSelectedNode), c.node)
		label(c.node)
	case choose:
		unbound()
		absent(annotations, publish.AnnSelectedNode, c.annotations)
		set(annotations, publish.AnnSelectedNode, node, c.annotations)
		label(node)
	case forget:
		unbound()
		absent(annotations, publish.AnnSelectedNode, c.annotations)
		unlabel()
	case takeBack:
		unbound()
		add("test", field(annotations, publish.AnnSelectedNode), c.node)
		add("remove", field(annotations, publish.AnnSelectedNode), nil)
		unlabel()
	}
	return all
}
