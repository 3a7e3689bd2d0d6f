//go:build cluster

package swaptest

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A directory and a device, wiped by the agent and, where the configuration asks
// for that, by a Job: from the first publication to the next tenant.
func TestClusterWipedAndPublishedAnew(t *testing.T) {
	for _, jobs := range []bool{false, true} {
		t.Run(map[bool]string{false: "InProcess", true: "Job"}[jobs], func(t *testing.T) {
			e := start(t)
			if jobs {
				e.edit(func(data map[string]string) { data["useJobForCleaning"] = "yes" })
			}
			seen := e.watchJobs()
			name := func(fs string) string { return strings.ToLower(path.Base(t.Name())) + "-" + fs }
			dir, device := e.Disk("node-1", name("ext4"), "ext4", bytes), e.Disk("node-1", name("none"), "none", bytes)
			e.Release(dir, device)
			dirAgain, deviceAgain := e.Available("node-1", dir.Spec.Local.Path, dir.UID), e.Available("node-1", device.Spec.Local.Path, device.UID)
			if jobs {
				e.Until("the Job of "+device.Name+" to be seen", func(context.Context) error {
					if !slices.Contains(seen(), "cleanup-"+device.Name) {
						return fmt.Errorf("there were %v", seen())
					}
					return nil
				})
			}
			// A directory is emptied by the agent also where Jobs erase devices.
			if all := seen(); slices.Contains(all, "cleanup-"+dir.Name) || !jobs && len(all) > 0 {
				t.Errorf("there were Jobs %v", all)
			}
			e.NothingLeft(dirAgain, deviceAgain)
		})
	}
}

// watchJobs returns the names of the Jobs that there were since.
func (e *env) watchJobs() func() []string {
	e.Helper()
	w, err := e.C.Client().BatchV1().Jobs(namespace).Watch(e.Ctx, metav1.ListOptions{})
	e.Must(err)
	e.Cleanup(w.Stop)
	var mu sync.Mutex // guards names
	var names []string
	go func() {
		for event := range w.ResultChan() {
			if job, ok := event.Object.(*batchv1.Job); ok {
				mu.Lock()
				names = append(names, job.Name)
				mu.Unlock()
			}
		}
	}()
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Compact(slices.Sorted(slices.Values(names)))
	}
}

// A directory that nothing is mounted on is reported in the words that people's
// alerts look for, and is no volume until something is.
func TestClusterPlainDirectory(t *testing.T) {
	e := start(t)
	node := e.C.Node("node-1")
	_, err := node.Exec(e.Ctx, "mkdir", "/mnt/disks/plain-directory")
	e.Must(err)
	e.after(func() {
		_, err := node.Exec(e.Ctx, "rmdir", "/mnt/disks/plain-directory")
		e.Must(err)
	})
	e.Says("node-1", `path "/mnt/disks/plain-directory" is not a valid mount point`)
	e.Disk("node-1", "plain-next", "ext4", bytes) // seen later, and published
	e.Absent("node-1", "/mnt/disks/plain-directory")
}
