package placement

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// reconcile decides about one claim, and does it.
func (c *Controller) reconcile(ctx context.Context, key string) error {
	cl := c.claims.Get(key)
	if cl == nil {
		return nil
	}
	of := c.classes.Get(cl.class)
	gone := false
	if of != nil && cl.node != "" && c.nodes.Get(cl.node) == nil {
		// The scheduler may have seen a new node sooner than this watch.
		there, err := c.cluster.NodeNamed(ctx, cl.node)
		if err != nil {
			return err
		}
		gone = !there
	}
	v := decide(*cl, of, gone)
	if v == choose {
		return c.choose(ctx, *cl)
	}
	c.mu.Lock()
	delete(c.waiting, key)
	c.mu.Unlock()
	if v == nothing {
		return nil
	}
	return c.patch(ctx, v, *cl, cl.node)
}

// patch does to a claim what a verb stands for.
func (c *Controller) patch(ctx context.Context, v verb, cl claim, node string) error {
	done, err := c.cluster.Patch(ctx, cl.Claim, steps(v, cl, node))
	if err != nil {
		return err
	}
	if !done {
		return errLate
	}
	c.metrics.done(v, time.Since(cl.at))
	c.log.Debug("the placement of a claim was written", "claim", cl.key(), "node", node, "verb", string(v))
	return nil
}

// choose gives a claim the node with most room, or notes that there is none.
func (c *Controller) choose(ctx context.Context, cl claim) error {
	node, why, told := c.promise(cl)
	if node == "" {
		switch {
		case why == "": // each time, as of several the queue keeps only the soonest
			c.queue.AddAfter(cl.key(), patience)
		case !told:
			c.tell(ctx, cl, why)
		}
		return nil
	}
	err := c.patch(ctx, choose, cl, node)
	if c.settle(cl, err) {
		c.queue.AddAfter(cl.key(), patience)
		return nil
	}
	if errors.Is(err, errLate) {
		c.enqueueWaiting() // what was promised may be had
	}
	return err
}

// settle notes what has become of a promise, and reports whether it stands
// written. It lasts until the watch shows it. Only one of which it is certain
// that it was not written is void.
func (c *Controller) settle(cl claim, err error) (written bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.chosen[cl.key()]
	late := errors.Is(err, errLate)
	switch {
	case !ok || p.uid != cl.UID: // the watch was faster
		return false
	case err == nil || late && p.unsure:
		p.written = time.Now()
	case late:
		delete(c.chosen, cl.key())
		return false
	default:
		p.unsure = true
	}
	c.chosen[cl.key()] = p
	return !p.written.IsZero()
}

// promise chooses a node for a claim and counts the claim there from now on, so
// that the same room is not promised twice. Without one the claim waits for the
// room that why tells of, of which it was told before or not, or, where that is
// "", for the watch to show a choice that was written, or an agent's word of a
// class that is new.
func (c *Controller) promise(cl claim) (node, why string, told bool) {
	c.mu.Lock() // what changes after this finds the claim waiting
	defer c.mu.Unlock()
	if p, ok := c.chosen[cl.key()]; ok && p.uid == cl.UID {
		if p.written.IsZero() {
			return p.node, "", false // tried again
		}
		if time.Since(p.written) < patience {
			return "", "", true // the watch is late
		}
		delete(c.chosen, cl.key())
	}
	// The claims before the rooms: one that gets its volume in between is counted
	// by its agent then.
	all := c.claims.All()
	w := world{nodes: c.nodes.All(), classes: c.classes.All(), rooms: c.rooms.All(), placed: map[string][]claim{}}
	for key, other := range all {
		at := other.label
		if p, ok := c.chosen[key]; ok && p.uid == other.UID && at == "" {
			at = publish.NodeLabelValue(p.node)
		}
		if at != "" {
			w.placed[at] = append(w.placed[at], other)
		}
	}
	if last, ok := c.last[cl.Namespace]; ok && time.Since(last.at) < together {
		w.beside = last.node
	}
	node, why, known := w.bestNode(cl)
	if node != "" {
		maps.DeleteFunc(c.last, func(_ string, l lastChoice) bool { return time.Since(l.at) >= together })
		c.last[cl.Namespace] = lastChoice{node: node, at: time.Now()}
		c.chosen[cl.key()] = promise{uid: cl.UID, node: node}
		delete(c.waiting, cl.key())
		return node, "", false
	}
	wait, ok := c.waiting[cl.key()]
	if !ok {
		wait = waiting{uid: cl.UID, since: time.Now()}
	}
	if told = wait.told; !told && !known && time.Since(wait.since) < patience {
		c.waiting[cl.key()] = wait
		return "", "", false
	}
	wait.told = true
	c.waiting[cl.key()] = wait
	return "", why, told
}

// tell says why a claim waits, once: how much room there is will have changed by
// the time that it is read.
func (c *Controller) tell(ctx context.Context, cl claim, why string) {
	c.log.Warn("no node has room for a claim", "claim", cl.key(), "reason", why)
	now := metav1.Now()
	err := c.cluster.Event(ctx, &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: cl.Namespace, Name: fmt.Sprintf("%s.%x", cl.Name, now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{APIVersion: "v1", Kind: "PersistentVolumeClaim",
			Namespace: cl.Namespace, Name: cl.Name, UID: types.UID(cl.UID)},
		Reason: api.ReasonNoRoom, Message: why, Type: corev1.EventTypeWarning,
		Source:         corev1.EventSource{Component: "berth-controller"},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
		ReportingController: api.Driver + "/controller", ReportingInstance: c.o.Identity,
	})
	if err != nil { // the claim waits all the same
		c.metrics.eventsDropped.Inc()
		c.log.Warn("an event could not be written", "err", err, "reason", api.ReasonNoRoom)
	}
}
