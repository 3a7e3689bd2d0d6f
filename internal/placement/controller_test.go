package placement

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/publish"
)

// within runs a controller's test in a bubble: no time passes but what it waits.
func within(t *testing.T, test func(t *testing.T, s *server)) {
	synctest.Test(t, func(t *testing.T) { test(t, newServer(t)) })
}

// What the scheduler has chosen is copied at once, what it takes back is taken
// off; what is not Berth's, or bound, is let be.
func TestPlacing(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.addNode("n2", true)
		s.put(claimObject("before", chosen("n1")))
		defer s.lead()()
		begun := time.Now()
		s.put(claimObject("a", chosen("n1")))
		s.put(claimObject("b", chosen("n2"), labelled("n1")))
		s.put(claimObject("bound", chosen("n1"), func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "pv" }))
		s.put(claimObject("other", chosen("n1"), ofClass("else")))
		s.put(claimObject("unwanted"))
		s.put(claimObject("withdrawn", labelled("n1")))
		synctest.Wait()
		s.has("a n1/n1", "b n2/n2", "before n1/n1", "bound n1/", "other n1/", "unwanted /", "withdrawn /")
		if took := time.Since(begun); took != 0 || s.tries != 4 {
			t.Errorf("took %s and %d tries", took, s.tries)
		}
		mine := classObject("else", false, "")
		s.ok(s.c.classes.Add(mine))
		synctest.Wait()
		s.has("a n1/n1", "b n2/n2", "before n1/n1", "bound n1/", "other n1/n1", "unwanted /", "withdrawn /")
	})
}

// One that stands by writes nothing, nor does one that has led.
func TestStandby(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.put(claimObject("a", chosen("n1")))
		synctest.Wait()
		s.has("a n1/")
		s.lead()()
		s.put(claimObject("b", chosen("n1")))
		synctest.Wait()
		if s.claims["b"].Labels != nil {
			t.Error("placed after it has led")
		}
	})
}

// A choice that is not any more as the watch had it is not copied, and is looked
// at again until the watch has caught up.
func TestLateWatch(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.addNode("n2", true)
		defer s.lead()()
		s.mu.Lock()
		s.claims["a"] = claimObject("a", chosen("n2"))
		s.mu.Unlock()
		s.ok(s.c.claims.Update(claimObject("a", chosen("n1"))))
		time.Sleep(time.Second)
		s.has("a n2/")
		s.ok(s.c.claims.Update(s.claims["a"]))
		synctest.Wait()
		s.has("a n2/n2")
		if s.tries < 3 {
			t.Errorf("%d tries", s.tries)
		}
	})
}

// An error is told and tried again, less and less often.
func TestErrors(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.fail = errors.New("refused")
		defer s.lead()()
		s.put(claimObject("a", chosen("n1")))
		time.Sleep(10 * time.Second)
		s.mu.Lock()
		tries, told := s.tries, strings.Count(s.log.String(), "refused")
		s.fail = nil
		s.mu.Unlock()
		if tries < 5 || tries > 10 || told != tries {
			t.Errorf("%d tries, told %d times", tries, told)
		}
		time.Sleep(20 * time.Second)
		s.has("a n1/n1")
	})
}

// The claims of a node that is gone lose it, once the API server has confirmed
// that it is gone; a node that the watch has yet to show is none.
func TestNodeGone(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.addNode("n2", true)
		s.nodes["new"] = true
		defer s.lead()()
		s.put(claimObject("a", chosen("n1")))
		s.put(claimObject("b", chosen("n2")))
		s.put(claimObject("c", chosen("new")))
		s.put(claimObject("d", chosen("never")))
		synctest.Wait()
		s.has("a n1/n1", "b n2/n2", "c new/new", "d /")
		s.mu.Lock()
		delete(s.nodes, "n1")
		s.mu.Unlock()
		s.ok(s.c.nodes.Delete(nodeObject("n1", true)))
		s.ok(s.c.nodes.Delete(nodeObject("n2", true))) // and made anew, says the API server
		synctest.Wait()
		s.has("a /", "b n2/n2", "c new/new", "d /")
	})
}

// TestNeverPromisedTwice: of claims that do not wait for a pod, and come all at
// once, no more get a node than it has room for, whatever the watch shows late;
// the others are told once, and get what is freed.
func TestNeverPromisedTwice(t *testing.T) {
	for _, hidden := range []bool{false, true} {
		t.Run(fmt.Sprintf("hidden %v", hidden), func(t *testing.T) {
			within(t, func(t *testing.T, s *server) { neverPromisedTwice(t, s, hidden) })
		})
	}
}

func neverPromisedTwice(t *testing.T, s *server, hidden bool) {
	s.hidden = hidden
	s.addNode("n1", true)
	s.addNode("n2", true)
	for _, r := range []struct {
		class, node string
		free        int64
	}{{"now", "n1", 10}, {"now-too", "n1", 10}, {"now", "n2", 10}, {"now-too", "n2", 10}} {
		s.ok(s.c.rooms.Add(roomObject(r.class, r.node, r.free*gi, r.free*gi)))
	}
	defer s.lead()()
	for i := range 30 {
		class := "now"
		if i%2 > 0 {
			class = "now-too"
		}
		s.put(claimObject(fmt.Sprintf("c%02d", i), ofClass(class)))
	}
	synctest.Wait()
	count := func() (n1, n2 int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, c := range s.claims {
			if node := c.Annotations[publish.AnnSelectedNode]; node != c.Labels[api.LabelNode] {
				t.Errorf("claim %s is half placed", c.Name)
			} else if node == "n1" {
				n1++
			} else if node == "n2" {
				n2++
			}
		}
		return n1, n2
	}
	if n1, n2 := count(); n1 != 10 || n2 != 10 || len(s.events) != 10 || !strings.Contains(s.events[0], "NoRoom: no node has room for 1Gi") {
		t.Errorf("%d and %d placed, %d told, as %q", n1, n2, len(s.events), s.events)
	}
	if hidden {
		for _, c := range sorted(s) { // forms from before what was written
			c = c.DeepCopy()
			c.Annotations, c.Labels = nil, nil
			s.ok(s.c.claims.Update(c))
		}
		synctest.Wait()
		if n1, n2 := count(); n1 != 10 || n2 != 10 || len(s.events) != 10 {
			t.Errorf("with a late watch: %d and %d placed, %d told", n1, n2, len(s.events))
		}
		return
	}
	s.ok(s.c.rooms.Update(roomObject("now", "n1", 13*gi, 13*gi)))
	s.ok(s.c.rooms.Update(roomObject("now-too", "n1", 13*gi, 13*gi)))
	synctest.Wait()
	if n1, n2 := count(); n1 != 13 || n2 != 10 || len(s.events) != 10 {
		t.Errorf("with 3 more: %d and %d placed, %d told", n1, n2, len(s.events))
	}
	// One gets its volume, which its agent has counted before.
	s.ok(s.c.rooms.Update(roomObject("now", "n2", 9*gi, 9*gi)))
	s.ok(s.c.rooms.Update(roomObject("now-too", "n2", 9*gi, 9*gi)))
	i := slices.IndexFunc(sorted(s), func(c *corev1.PersistentVolumeClaim) bool { return c.Labels[api.LabelNode] == "n2" })
	bound := sorted(s)[i].DeepCopy()
	bound.Spec.VolumeName = "pv"
	s.put(bound)
	synctest.Wait()
	if n1, n2 := count(); n1 != 13 || n2 != 10 {
		t.Errorf("after one is bound: %d and %d placed", n1, n2)
	}
}

func sorted(s *server) (all []*corev1.PersistentVolumeClaim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.claims {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *corev1.PersistentVolumeClaim) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// A choice whose writing was not answered holds its room until it is known what
// became of it, and so does one that no watch has shown yet; not for ever.
func TestUnanswered(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.ok(s.c.rooms.Add(roomObject("now", "n1", gi, gi)))
		s.deaf, s.hidden = true, true
		defer s.lead()()
		s.put(claimObject("a", ofClass("now")))
		s.put(claimObject("b", ofClass("now")))
		synctest.Wait()
		s.c.enqueueAll() // once more, before the retry is due
		time.Sleep(time.Second)
		s.mu.Lock()
		a, b := s.claims["a"].Labels[api.LabelNode], s.claims["b"].Labels[api.LabelNode]
		s.deaf = false
		s.mu.Unlock()
		if a+b != "n1" {
			t.Errorf("a is on %q, b on %q", a, b)
		}
		first := "a"
		if b != "" {
			first = "b"
		}
		// It is given back, and all that the watch shows of it is that.
		s.put(claimObject(first, ofClass("now")))
		s.ok(s.c.rooms.Update(roomObject("now", "n1", gi, gi)))
		s.mu.Lock()
		s.hidden = false
		s.mu.Unlock()
		time.Sleep(patience + time.Minute)
		s.has(map[bool]string{true: "a n1/n1", false: "a /"}[first == "a"], map[bool]string{true: "b n1/n1", false: "b /"}[first == "b"])
	})
}

// One that waits for room gets it from a node that comes, or can be used again;
// one that its agent has given back goes elsewhere.
func TestWaiting(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", false)
		s.ok(s.c.rooms.Add(roomObject("now", "n1", 5*gi, 5*gi)))
		s.ok(s.c.rooms.Add(roomObject("now", "n2", 4*gi, 4*gi)))
		defer s.lead()()
		s.put(claimObject("a", ofClass("now"), asking(3*gi)))
		synctest.Wait()
		s.has("a /")
		s.addNode("n1", true)
		synctest.Wait()
		s.has("a n1/n1")
		s.addNode("n2", true)
		s.ok(s.c.rooms.Update(roomObject("now", "n1", 2*gi, 2*gi))) // the agent knows better
		s.put(claimObject("a", ofClass("now"), asking(3*gi)))
		synctest.Wait()
		s.has("a n2/n2")
		s.ok(s.c.claims.Delete(s.claims["a"]))
		other := claimObject("a", ofClass("now"), asking(9*gi))
		other.UID = "another"
		s.put(other)
		synctest.Wait()
		s.has("a /")
		if len(s.events) != 2 {
			t.Errorf("events %q", s.events)
		}
		s.ok(s.c.claims.Delete(other))
		if s.c.mu.Lock(); len(s.c.waiting)+len(s.c.chosen) > 0 {
			t.Errorf("still remembers %v, %v", s.c.waiting, s.c.chosen)
		}
		s.c.mu.Unlock()
	})
}

// A class that is as new as its claim has no room yet that an agent tells of: that
// is no reason to alarm anybody, unless it stays so.
func TestNewClass(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		defer s.lead()()
		s.put(claimObject("a", ofClass("now")))
		s.put(claimObject("b", ofClass("now-other")))
		time.Sleep(patience / 2)
		s.ok(s.c.rooms.Add(roomObject("now", "n1", gi, gi)))
		synctest.Wait()
		s.has("a n1/n1", "b /")
		if told := s.told(); len(told) != 0 {
			t.Errorf("told %q at once", told)
		}
		time.Sleep(10 * patience)
		synctest.Wait()
		if told := s.told(); len(told) != 1 || !strings.Contains(told[0], "b NoRoom: no node that pods can start on has a pool for class now-other") {
			t.Errorf("told %q", told)
		}
	})
}

// Claims of a namespace that come one after the other may be for one pod, which
// needs them on one node.
func TestTogether(t *testing.T) {
	within(t, func(t *testing.T, s *server) {
		s.addNode("n1", true)
		s.addNode("n2", true)
		s.ok(s.c.rooms.Add(roomObject("now", "n1", 16*gi, 16*gi)))
		s.ok(s.c.rooms.Add(roomObject("now", "n2", 16*gi, 16*gi)))
		defer s.lead()()
		s.put(claimObject("a", ofClass("now")))
		time.Sleep(together - time.Second)
		s.put(claimObject("b", ofClass("now")))
		synctest.Wait()
		s.has("a n1/n1", "b n1/n1")
		time.Sleep(together)
		s.put(claimObject("later", ofClass("now")))
		synctest.Wait()
		s.has("a n1/n1", "b n1/n1", "later n2/n2")
		if s.c.mu.Lock(); len(s.c.last) != 1 {
			t.Errorf("remembers %v", s.c.last)
		}
		s.c.mu.Unlock()
	})
}

func TestSynced(t *testing.T) {
	s := newServer(t)
	defer s.c.queue.ShutDown()
	if !s.c.Synced() {
		t.Error("not synced with all lists read")
	}
	s.c.rooms = newMirror(viewRoom, func(string, *room, *room) {})
	if s.c.Synced() {
		t.Error("synced without a list of storage capacity")
	}
}

// A list takes out what it does not have.
func TestMirrorReplace(t *testing.T) {
	var changes []string
	m := newMirror(viewNode, func(key string, old, now *node) {
		changes = append(changes, fmt.Sprintf("%s %v %v", key, old != nil, now != nil))
	})
	if m.Synced() {
		t.Error("synced before a list")
	}
	if err := m.Replace([]any{nodeObject("a", true), nodeObject("b", true)}, ""); err != nil {
		t.Fatal(err)
	}
	if err := m.Replace([]any{nodeObject("b", true), nodeObject("c", true)}, ""); err != nil {
		t.Fatal(err)
	}
	slices.Sort(changes)
	if want := []string{"a false true", "a true false", "b false true", "b true true", "c false true"}; !slices.Equal(changes, want) || !m.Synced() || len(m.All()) != 2 {
		t.Errorf("changes %q", changes)
	}
	if m.Replace([]any{&metav1.Status{}}, "") == nil || m.Update("x") == nil || m.Delete("x") == nil {
		t.Error("took in what is no node")
	}
}
