package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/volume"
)

// TestTurns: overwrites of one disk one after the other, removals on one disk
// four at a time, and no disk waits for another: guarantee 8 for wipes.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(map[string]*fakeDisk{})
		hang := make(chan struct{})
		for i := range 3 {
			w.disks[fmt.Sprintf("part%d", i)] = &fakeDisk{identity: volumeID("wwid:sick", i), device: true, disk: "sda", wiping: hang}
			w.disks[fmt.Sprintf("disk%d", i)] = &fakeDisk{identity: volumeID("wwid:well", i), device: true}
		}
		for i := range 6 {
			w.disks[fmt.Sprintf("sick%d", i)] = &fakeDisk{identity: volumeID("fs:sick", i), disk: "sda", wiping: hang}
			w.disks[fmt.Sprintf("well%d", i)] = &fakeDisk{identity: volumeID("fs:well", i), disk: "sdb"}
		}
		_, stop := w.start(t, 0, false)
		defer stop()
		w.use(t)
		settle()
		began := func(prefix string) (n int) {
			w.do(func() {
				for _, name := range w.wipes {
					if strings.HasPrefix(name, prefix) {
						n++
					}
				}
			})
			return n
		}
		for prefix, want := range map[string]int{"part": overwritesPerDisk, "sick": removalsPerDisk, "disk": 3, "well": 6} {
			if n := began(prefix); n != want {
				t.Errorf("%d wipes of %s* have begun, want %d", n, prefix, want)
			}
		}
		close(hang)
		settle()
		for _, name := range w.names() {
			if !strings.HasSuffix(name, " Available") {
				t.Errorf("PV %s", name)
			}
		}
	})
}

func volumeID(kind string, i int) disk.ID { return disk.ID(fmt.Sprintf("%s%d", kind, i)) }

// TestTurnIsStale: a volume that has waited for its turn is looked at again.
func TestTurnIsStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		w := newWorld(map[string]*fakeDisk{
			"a": {identity: "wwid:1", device: true, disk: "sda", wiping: hang},
			"b": {identity: "wwid:2", device: true, disk: "sda", wiping: hang},
		})
		a, stop := w.start(t, 0, false)
		defer stop()
		w.use(t)
		settle()
		var first, second string
		w.do(func() {
			if len(w.wipes) != 1 {
				t.Fatalf("wipes %q", w.wipes)
			}
			first = w.wipes[0]
			second = map[string]string{"a": "b", "b": "a"}[first]
			w.disks[second] = &fakeDisk{identity: "wwid:3", device: true, disk: "sda", bytes: "another's"}
		})
		a.trigger(true)
		settle()
		close(hang)
		settle()
		w.do(func() {
			if !slices.Equal(w.wipes, []string{first}) || w.disks[second].bytes != "another's" {
				t.Errorf("wipes %q", w.wipes)
			}
		})
	})
}

// TestTurnsLeaveNothing: who gives up waiting takes no place, and a disk that
// nobody waits for takes no memory.
func TestTurnsLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		k := turn{"sda", true}
		giveBack, waited, err := turns.take(t.Context(), k, func() { t.Error("it waits") })
		if waited || err != nil {
			t.Fatal(waited, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, waited, err := turns.take(ctx, k, func() {}); !waited || err == nil {
			t.Error(waited, err)
		}
		giveBack()
		if len(turns.queues) != 0 {
			t.Errorf("left: %v", slices.Collect(maps.Keys(turns.queues)))
		}
	})
}

// TestReloadDuringWipe: a reload lets a wipe that runs go on, in the agent and
// in a Job, even one that takes its class away.
func TestReloadDuringWipe(t *testing.T) {
	for name, change := range map[string]func(*config.Agent){
		"labels":  func(c *config.Agent) { c.Labels = map[string]string{"team": "x"} },
		"wipe":    func(c *config.Agent) { c.Classes[0].Wipe.Passes = 7 },
		"removed": func(c *config.Agent) { c.Classes[0].Name = "other" },
	} {
		for _, class := range []config.Class{testClass, classWithJob()} {
			t.Run(fmt.Sprintf("%s, Job %v", name, class.Wipe.Job), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					hang := make(chan struct{})
					w := newWorld(map[string]*fakeDisk{"dev": {identity: "wwid:2", device: true, wiping: hang}})
					a, stop := w.startWith(t, 0, false, class)
					defer stop()
					w.use(t)
					time.Sleep(time.Second)
					w.do(func() {
						if w.made+len(w.wipes) != 1 {
							t.Fatal("no wipe runs")
						}
					})
					a.configure(change)
					time.Sleep(time.Second)
					close(hang)
					settle()
					w.do(func() {
						if w.made+len(w.wipes) != 1 || w.disks["dev"].bytes != "" {
							t.Errorf("%d wipes; the disk has %q", w.made+len(w.wipes), w.disks["dev"].bytes)
						}
						if name != "removed" && w.records[volume.IDOf("wwid:2")].State != volume.Published {
							t.Errorf("the volume is %s", w.records[volume.IDOf("wwid:2")].State)
						}
					})
				})
			})
		}
	}
}
