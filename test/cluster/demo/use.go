package demo

import (
	"context"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/test/cluster/pvwatch"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// mebi is one MiB in bytes.
const mebi = 1 << 20

// marker is what the pod with a block device writes to it.
const marker = "berth-demo-was-here"

// The pods of the StatefulSet write who they are, once, and keep their disks
// busy from then on.
var set = workload.Pod{
	Name:   "web",
	Claims: []workload.Claim{{Name: "data", Class: fast, Bytes: 100 * mebi}},
	Script: `if [ -e /data/owner ]; then echo "read $(cat /data/owner)"
else echo "$POD_NAME $POD_UID" >/data/owner; sync; echo "wrote $(cat /data/owner)"; fi
trap 'exit 0' TERM
while :; do dd if=/dev/urandom of=/data/load bs=64k count=16 conv=fsync 2>/dev/null; sleep 0.2; done`,
}

const replicas = 3

// block writes to the beginning, the middle and the end of its device.
var block = workload.Pod{
	Name:   "block",
	Claims: []workload.Claim{{Name: "disk", Class: raw, Block: true, Bytes: 100 * mebi}},
	Script: `size=$(blockdev --getsize64 /dev/disk)
for at in 0 $((size / 1024)) $((size / 512 - 1)); do
  printf %s ` + marker + ` | dd of=/dev/disk bs=512 seek=$at conv=notrunc,fsync 2>/dev/null || exit 1
done
blockdev --flushbufs /dev/disk
for at in 0 $((size / 1024)) $((size / 512 - 1)); do
  dd if=/dev/disk bs=512 skip=$at count=1 2>/dev/null | grep -qa ` + marker + ` || { echo "nothing at sector $at"; exit 1; }
done
echo "size $size"
trap 'exit 0' TERM
while :; do sleep 0.2; done`,
}

// use creates the StatefulSet and waits until each pod has written its name.
func (s *story) use(ctx context.Context) error {
	s.begin("waiting for a StatefulSet of three to write to its volumes")
	if err := s.space.CreateSet(ctx, replicas, set); err != nil {
		return err
	}
	for i := range replicas {
		pod := fmt.Sprintf("%s-%d", set.Name, i)
		said, err := s.space.WaitSaid(ctx, pod, "wrote")
		if err != nil {
			return unmet("pod "+pod+" writes its name to its volume", err)
		}
		at, err := s.place(ctx, pod)
		if err != nil {
			return err
		}
		if want := pod + " " + string(at.UID); said != want {
			return unmet(fmt.Sprintf("pod %s to have written %q", pod, want), said)
		}
	}
	s.tell("a StatefulSet of %d runs; the scheduler placed its pods, and each wrote its name:", replicas)
	for i, at := range s.placed {
		s.note("%s on %s, claim %s bound to %s (%s)", at.Pod, at.Node, at.Claim, at.PV, s.used[i].Spec.Local.Path)
	}
	return nil
}

// place notes where a pod is, after checking that its volume is there too.
func (s *story) place(ctx context.Context, pod string) (workload.Placed, error) {
	at, err := s.space.Placement(ctx, pod)
	if err != nil {
		return at, err
	}
	for _, pv := range s.pvs.All() {
		if pv.Name != at.PV {
			continue
		}
		if pv.Status.Phase != corev1.VolumeBound {
			return at, unmet(pv.Name+" to be Bound", says(pv))
		}
		if n := pvwatch.Node(pv); n != at.Node {
			return at, unmet(fmt.Sprintf("pod %s on %s, where its volume %s is", pod, n, pv.Name), at.Node)
		}
		s.placed, s.used = append(s.placed, at), append(s.used, pv)
		return at, nil
	}
	return at, unmet("claim "+at.Claim+" bound to a volume that exists", at.PV)
}

// comeBack deletes a pod and waits until the next one has read its data. The
// late disk is mounted meanwhile.
func (s *story) comeBack(ctx context.Context) error {
	s.begin("waiting for a deleted pod to come back to its data")
	was := s.placed[1]
	if err := s.space.DeletePod(ctx, was.Pod); err != nil {
		return err
	}
	s.late = make(chan error, 1)
	go func() { s.late <- s.mountLate(context.WithoutCancel(ctx)) }()
	if err := s.space.WaitBack(ctx, was.Pod, was.UID); err != nil {
		return unmet("pod "+was.Pod+" comes back", err)
	}
	said, err := s.space.WaitSaid(ctx, was.Pod, "read")
	if err != nil {
		return unmet("pod "+was.Pod+" reads what the one before it wrote", err)
	}
	now, err := s.space.Placement(ctx, was.Pod)
	if err != nil {
		return err
	}
	if now.Node != was.Node || now.PV != was.PV {
		return unmet(fmt.Sprintf("pod %s on %s with %s", was.Pod, was.Node, was.PV), fmt.Sprintf("%s with %s", now.Node, now.PV))
	}
	if want := was.Pod + " " + string(was.UID); said != want {
		return unmet(fmt.Sprintf("pod %s to read %q", was.Pod, want), said)
	}
	s.tell("pod %s was deleted; it came back on %s, where its data is, and read it", was.Pod, was.Node)
	return nil
}

// writeRaw lets a pod write to a block device.
func (s *story) writeRaw(ctx context.Context) error {
	s.begin("waiting for a pod to write to a block device")
	if err := s.space.Create(ctx, block); err != nil {
		return err
	}
	said, err := s.space.WaitSaid(ctx, block.Name, "size")
	if err != nil {
		return unmet("pod "+block.Name+" writes to its block device and reads it back", err)
	}
	at, err := s.place(ctx, block.Name)
	if err != nil {
		return err
	}
	pv := s.used[len(s.used)-1]
	if want := fmt.Sprint(pv.Spec.Capacity.Storage().Value()); said != want {
		return unmet(fmt.Sprintf("a device of %s bytes, as %s says", want, pv.Name), said)
	}
	s.tell("pod %s on %s wrote to its raw block device (%s) and read it back",
		block.Name, at.Node, pv.Spec.Local.Path)
	return nil
}

// readAgain gives all that was used to new pods, which must find nothing.
func (s *story) readAgain(ctx context.Context) error {
	s.begin("looking for old data in the volumes that were used")
	pods := map[string]*workload.Pod{}
	for i, pv := range s.used {
		n := pvwatch.Node(pv)
		if pods[n] == nil {
			pods[n] = &workload.Pod{Name: "reader-" + n}
		}
		c := workload.Claim{Name: fmt.Sprintf("again-%d", i), Class: pv.Spec.StorageClassName, PV: pv.Name}
		look := "find /" + c.Name + " -mindepth 1 ! -path /" + c.Name + "/lost+found"
		if c.Class == raw {
			c.Block = true
			look = `tr -d '\0' </dev/` + c.Name + " | head -c 100"
		}
		pods[n].Claims = append(pods[n].Claims, c)
		pods[n].Script += look + " || exit 1\n"
	}
	var all []workload.Pod
	for _, p := range pods {
		p.Script += "echo looked"
		all = append(all, *p)
	}
	if err := s.space.Create(ctx, all...); err != nil {
		return err
	}
	if err := s.readers(ctx, all); err != nil {
		return err
	}
	s.tell("new pods with the same volumes found no file, and read only zeroes off the block device")
	s.begin("deleting the pods that looked")
	if err := s.space.Empty(ctx); err != nil {
		return err
	}
	if err := s.availableAgain(ctx); err != nil {
		return err
	}
	s.tell("everything is deleted again, and every volume Available")
	return nil
}

// readers waits for the pods that look for old data, all at once.
func (s *story) readers(ctx context.Context, pods []workload.Pod) error {
	var wg sync.WaitGroup
	errs := make([]error, len(pods))
	for i, p := range pods {
		wg.Go(func() {
			log, err := s.space.WaitDone(ctx, p.Name)
			if log = strings.TrimSpace(log); err != nil {
				errs[i] = unmet("pod "+p.Name+" looks at volumes that were used", err)
			} else if log != "looked" {
				errs[i] = unmet("pod "+p.Name+" to find nothing of the old data", log)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
