package recovery

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
)

// begin is a world with two nodes: n1 has a claimed volume and an available one,
// n2 a claimed one. The controller runs, and n1 goes at second 0.
func begin(t *testing.T, prepare ...func(*world)) (w *world, stop func()) {
	w = newWorld(t)
	w.addNode("n1")
	w.addNode("n2")
	w.addPV("used", "n1", "c1")
	w.addPV("free", "n1", "")
	w.addPV("other", "n2", "c2")
	for _, p := range prepare {
		p(w)
	}
	stop = w.life()
	synctest.Wait()
	w.happened()
	w.removeNode("n1")
	return w, stop
}

// cleanedAt is all that happens to the volumes of n1 after the delay.
func cleanedAt(second string) []string {
	return []string{"claim c1 deleted " + second, "PV used deleted " + second, "PV used is gone " + second, "PV free deleted " + second, "PV free is gone " + second}
}

func TestNodeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		defer stop()
		w.at(1)
		if w.annotation("used", api.AnnNodeGoneSince) == "" || w.annotation("used", api.AnnNodeAddress) != "10.0.0.1:10250" {
			t.Error("the PV does not say since when its node is gone, or where it was")
		}
		w.told("c1 " + api.ReasonNodeGone)
		w.at(59)
		w.happened()
		w.at(61)
		w.happened(cleanedAt("60")...)
		w.told("c1 " + api.ReasonClaimDeleted)
		w.at(3600)
		w.happened()
		w.told()
	})
}

// TestCarvedOfALostNode: volumes out of a node's pools are cleaned up after by
// the same rules: the claim goes and then the PV, Berth's finalizer with it; what
// is kept by policy, and what another provisioner made, stays.
func TestCarvedOfALostNode(t *testing.T) {
	for _, node := range []string{"n1", strings.Repeat("n", 70)} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.addNode(node)
			w.addNode("n2")
			for _, name := range []string{"used", "kept", "theirs"} {
				w.addCarved(name, node, "c-"+name)
			}
			w.addCarved("other", "n2", "c-other")
			w.addCarved("offered", node, "") // its claim has not been bound yet
			w.pvs["kept"].Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
			w.pvs["theirs"].Annotations, w.pvs["theirs"].Finalizers = nil, nil
			defer w.life()()
			synctest.Wait()
			w.removeNode(node)
			w.at(59)
			w.happened()
			w.at(61)
			w.happened("claim c-used deleted 60", "PV used deleted 60", "PV used is gone 60", "claim c-kept deleted 60",
				"PV offered deleted 60", "PV offered is gone 60")
			w.told("c-used "+api.ReasonNodeGone, "c-used "+api.ReasonClaimDeleted, "c-kept "+api.ReasonNodeGone, "c-kept "+api.ReasonClaimDeleted)
		})
	}
}

// A carved volume's kubelet that lives keeps it, as a found one's does.
func TestCarvedOfALivingKubelet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.addNode("n1")
		w.addCarved("used", "n1", "c1")
		w.beat("n1")
		defer w.life()()
		synctest.Wait()
		w.removeNode("n1")
		for s := 10; s <= 200; s += 10 {
			w.at(s)
			w.beat("n1")
		}
		w.happened()
	})
}

func TestRestartKeepsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		w.at(30)
		stop()
		w.told("c1 " + api.ReasonNodeGone)
		w.at(45)
		stop = w.life()
		defer stop()
		w.at(59)
		w.happened()
		w.at(61)
		w.happened(cleanedAt("60")...)
		w.told("c1 " + api.ReasonClaimDeleted)
	})
}

// The controller was away when the node was lost, and for long: the delay begins
// when it sees that, not before.
func TestLostWhileNobodyLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		stop()
		w.trail, w.events = nil, nil
		for _, pv := range w.pvs {
			delete(pv.Annotations, api.AnnNodeGoneSince)
		}
		w.at(1000)
		defer w.life()()
		w.at(1059)
		w.happened()
		w.at(1061)
		w.happened(cleanedAt("1060")...)
	})
}

// A time in the future, or none at all, counts as now.
func TestWrongClock(t *testing.T) {
	for _, since := range []string{"2199-01-01T00:00:00Z", "soon"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.addPV("used", "n1", "c1")
			w.pvs["used"].Annotations[api.AnnNodeGoneSince] = since
			defer w.life()()
			w.at(59)
			w.happened()
			if now := w.annotation("used", api.AnnNodeGoneSince); now == since {
				t.Errorf("the wrong time %q stays", since)
			}
			w.at(61)
			w.happened("claim c1 deleted 60", "PV used deleted 60", "PV used is gone 60")
		})
	}
}

func TestNodeBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		defer stop()
		w.at(50)
		w.addNode("n1")
		w.at(51)
		w.told("c1 "+api.ReasonNodeGone, "c1 "+api.ReasonNodeBack)
		if since := w.annotation("used", api.AnnNodeGoneSince); since != "" {
			t.Errorf("the PV says that its node is gone since %s", since)
		}
		w.at(300)
		w.removeNode("n1")
		w.at(359)
		w.happened()
		w.at(361)
		w.happened(cleanedAt("360")...)
	})
}

// The node was back, but the note that it was gone could not be taken off. That
// old note does not shorten the next delay.
func TestOldNote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		defer stop()
		w.at(50)
		w.mu.Lock()
		w.deny["patch persistentvolumes"] = true
		w.mu.Unlock()
		w.addNode("n1")
		w.at(200)
		if w.annotation("used", api.AnnNodeGoneSince) == "" {
			t.Fatal("the old note is not there")
		}
		w.removeNode("n1")
		w.at(259)
		w.happened()
	})
}

// The node is back while the controller is away.
func TestNodeBackDuringARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		w.at(30)
		stop()
		w.addNode("n1")
		w.at(100)
		defer w.life()()
		w.at(200)
		w.happened()
		if since := w.annotation("used", api.AnnNodeGoneSince); since != "" {
			t.Errorf("the PV says that its node is gone since %s", since)
		}
	})
}

// The watch has missed that the node is there; the API server has not.
func TestServerKnowsBetter(t *testing.T) {
	for back, labels := range map[string]map[string]string{"n1": nil, "n1-again": {corev1.LabelHostname: "n1-host"}} { // found by its name, and by its hostname
		synctest.Test(t, func(t *testing.T) {
			w, stop := begin(t, func(w *world) { w.beat("n1") })
			defer stop()
			w.at(30)
			w.addUnseen(back, labels)
			w.at(600)
			w.happened()
		})
	}
}

func TestKubeletRenewsItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t, func(w *world) { w.beat("n1") })
		defer stop()
		for s := 10; s <= 300; s += 10 {
			w.at(s)
			w.beat("n1")
		}
		w.happened()
		// Noted at first; then found to live, and told once for each.
		w.told("c1 "+api.ReasonNodeGone, "c1 "+api.ReasonNodeAlive, "used "+api.ReasonNodeAlive, "free "+api.ReasonNodeAlive)
		if since := w.annotation("used", api.AnnNodeGoneSince); since != "" {
			t.Errorf("the PV says that its node is gone since %s", since)
		}
		// It dies at 300. Its Lease is old at 380; the delay begins then.
		w.at(435)
		w.happened()
		w.at(470)
		w.mu.Lock()
		n := len(w.trail)
		w.mu.Unlock()
		if n != 5 {
			w.happened(cleanedAt("about 450")...)
		}
	})
}

// The Lease of a node that died with it stays, and is old in the end.
func TestLeaseLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t, func(w *world) { w.beat("n1") })
		defer stop()
		w.at(79)
		w.happened()
		w.at(95)
		w.mu.Lock()
		n := len(w.trail)
		w.mu.Unlock()
		if n != 5 {
			w.happened(cleanedAt("about 81")...)
		}
	})
}

// Kubernetes has deleted the Lease with the Node object; the kubelet answers.
func TestKubeletAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t, func(w *world) { w.answering = "10.0.0.1:10250" })
		w.at(300)
		stop()
		w.happened()
		w.told("c1 "+api.ReasonNodeAlive, "used "+api.ReasonNodeAlive, "free "+api.ReasonNodeAlive)
		// The next controller has never seen the Node object.
		defer w.life()()
		w.at(600)
		w.happened()
		w.addNode("n1")
		w.at(601)
		if a := w.annotation("used", api.AnnNodeAddress); a != "" {
			t.Errorf("the node is back, and the PV has its address %s still", a)
		}
	})
}

// A kubelet that is found to live within the delay, after a restart of the
// controller: the PV tells where to ask.
func TestKubeletAnswersAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		w.at(30)
		stop()
		w.answering = "10.0.0.1:10250"
		defer w.life()()
		w.at(300)
		w.happened()
	})
}

func TestPatchingForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t, func(w *world) {
			w.deny["patch persistentvolumes"] = true
			for _, pv := range w.pvs {
				pv.Finalizers = nil // as the established provisioner's
			}
		})
		defer stop()
		w.at(59)
		w.happened()
		w.at(61)
		w.happened(cleanedAt("60")...)
		if n := w.said("the role lacks"); n != 1 {
			t.Errorf("the missing rule was told %d times", n)
		}
	})
}

func TestReadingLeasesForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t, func(w *world) { w.deny["get leases"] = true })
		defer stop()
		w.at(600)
		w.happened()
		if n := w.said("the role lacks {apiGroups"); n != 1 {
			t.Errorf("the missing rule was told %d times", n)
		}
		w.mu.Lock()
		w.deny = map[string]bool{}
		w.mu.Unlock()
		w.at(800)
		if n := w.said("over: nothing is deleted"); n != 1 {
			t.Errorf("that the rule is there was told %d times", n)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.trail) != 5 {
			t.Errorf("after the rule was there: %q", w.trail)
		}
	})
}

func TestConflicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t, func(w *world) { w.conflicts = 3 })
		defer stop()
		w.at(59)
		w.mu.Lock()
		w.conflicts = 3
		w.mu.Unlock()
		w.at(70)
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.trail) != 5 {
			t.Errorf("happened: %q", w.trail)
		}
	})
}

// Away before the delay is over, and until long after: nothing is known then, and
// all is done when it is back.
func TestAPIServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, stop := begin(t)
		defer stop()
		w.at(30)
		w.mu.Lock()
		w.down = true
		w.mu.Unlock()
		w.at(300)
		w.happened()
		w.mu.Lock()
		w.down = false
		w.mu.Unlock()
		w.at(301 + int(lastRetry/time.Second))
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.trail) != 5 {
			t.Errorf("happened: %q", w.trail)
		}
	})
}

// The PV names a claim that has another volume by now, or is another claim.
func TestBondSevered(t *testing.T) {
	for _, sever := range []func(*world){
		func(w *world) { w.claims["ns/c1"].Spec.VolumeName = "other" },
		func(w *world) { w.claims["ns/c1"].UID = "another" },
		func(w *world) { delete(w.claims, "ns/c1") },
	} {
		synctest.Test(t, func(t *testing.T) {
			w, stop := begin(t, sever)
			defer stop()
			w.at(300)
			w.happened("PV free deleted 60", "PV free is gone 60")
		})
	}
}

// Volumes that may be elsewhere, or are of no listed class, are left alone.
func TestNotOurs(t *testing.T) {
	for name, alter := range map[string]func(*world){
		"ByLabel":   func(w *world) { w.pvs["used"].Labels = map[string]string{api.LabelNode: "n2"} },
		"Uncertain": func(w *world) { w.pvs["used"].Spec.NodeAffinity = nil },
		"OnTwo":     func(w *world) { w.pvs["used"].Spec.NodeAffinity = affinity(pinned("n1-host", "n2-host")) },
		"Class":     func(w *world) { w.pvs["used"].Spec.StorageClassName = "slow" },
		"NotLocal":  func(w *world) { w.pvs["used"].Spec.Local = nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, stop := begin(t, alter)
				defer stop()
				w.at(300)
				w.happened("PV free deleted 60", "PV free is gone 60")
				want := []string{}
				if name == "Uncertain" {
					want = append(want, "used "+api.ReasonNodeUncertain, "c1 "+api.ReasonNodeUncertain)
				}
				w.told(want...)
			})
		})
	}
}
