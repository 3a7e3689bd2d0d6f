//go:build cluster

package berthtest

import (
	"context"
	"encoding/json"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/test/cluster"
	"github.com/berth-storage/berth/test/cluster/stage"
	"github.com/berth-storage/berth/test/cluster/workload"
)

// theft is what a token is tried on: its own node's things, and another's.
type theft struct {
	*env
	client       kubernetes.Interface
	own, other   string // nodes
	mine, theirs *corev1.PersistentVolume
}

type change = func(*corev1.PersistentVolume)

// create tries to make a volume like that of the token's node, but for a change.
func (s *theft) create(changes ...change) func() error {
	return func() error {
		pv := object(s.mine, "stolen-"+s.own)
		for _, c := range changes {
			c(pv)
		}
		_, err := s.client.CoreV1().PersistentVolumes().Create(s.Ctx, pv, metav1.CreateOptions{DryRun: dryRun})
		return err
	}
}

// patch tries to merge fields into an object's metadata, or another part of it.
func (s *theft) patch(pv, part string, fields map[string]any, sub ...string) func() error {
	return func() error {
		data, err := json.Marshal(map[string]any{part: fields})
		s.Must(err)
		_, err = s.client.CoreV1().PersistentVolumes().Patch(s.Ctx, pv, types.MergePatchType, data, metav1.PatchOptions{DryRun: dryRun}, sub...)
		return err
	}
}

func (s *theft) delete(pv string) func() error {
	return func() error {
		return s.client.CoreV1().PersistentVolumes().Delete(s.Ctx, pv, metav1.DeleteOptions{DryRun: dryRun})
	}
}

// volumes are attempts to make one.
func (s *theft) volumes() []attempt {
	labelled := func(pv *corev1.PersistentVolume) { pv.Labels[api.LabelNode] = s.other }
	placed := func(pv *corev1.PersistentVolume) { pv.Spec.NodeAffinity = s.theirs.Spec.NodeAffinity }
	made := func(pv *corev1.PersistentVolume) {
		pv.Annotations[api.AnnProvisionedBy] = s.theirs.Annotations[api.AnnProvisionedBy]
	}
	return []attempt{
		{"make a volume of the own node", s.create(), ""},
		{"make one of another", s.create(labelled, placed, made), "may write only volumes that it published"},
		{"make one with another's label", s.create(labelled), "may only label volumes for its own node"},
		{"make one without a label", s.create(func(pv *corev1.PersistentVolume) { pv.Labels = nil }), "may only label volumes for its own node"},
		{"make one that pods on another node find", s.create(placed), "only local volumes of that node"},
		{"make one that pods everywhere find", s.create(func(pv *corev1.PersistentVolume) {
			terms := &pv.Spec.NodeAffinity.Required.NodeSelectorTerms
			*terms = append(*terms, s.theirs.Spec.NodeAffinity.Required.NodeSelectorTerms...)
		}), "has a term that is neither"},
		{"make one in another's name", s.create(made), "may write only volumes that it published"},
		{"make one in the name of a node with a longer name", s.create(func(pv *corev1.PersistentVolume) {
			pv.Annotations[api.AnnProvisionedBy] = "local-volume-provisioner-" + s.own + "0"
		}), "may write only volumes that it published"},
		{"make one that is not local", s.create(func(pv *corev1.PersistentVolume) {
			pv.Spec.PersistentVolumeSource = corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/mnt"}}
		}), "only local volumes"},
		{"make one for a claim", s.create(func(pv *corev1.PersistentVolume) {
			pv.Spec.ClaimRef = &corev1.ObjectReference{Namespace: s.Space.Name, Name: "wanted", UID: "a-claim"}
		}), "not bind it to a claim"},
	}
}

// changes are attempts to change or delete one.
func (s *theft) changes() []attempt {
	const foreign = "may write only volumes that it published"
	annotation := map[string]any{"annotations": map[string]string{"berth.storage/state": "x"}}
	finalizers := map[string]any{"finalizers": nil}
	label := func(node any) map[string]any {
		return map[string]any{"labels": map[string]any{api.LabelNode: node}}
	}
	return []attempt{
		{"annotate the own", s.patch(s.mine.Name, "metadata", annotation), ""},
		{"take the own's finalizers", s.patch(s.mine.Name, "metadata", finalizers), ""},
		{"delete the own", s.delete(s.mine.Name), ""},
		{"label the own for another node", s.patch(s.mine.Name, "metadata", label(s.other)), "may only label volumes for its own node"},
		{"take the own's label", s.patch(s.mine.Name, "metadata", label(nil)), "may only label volumes for its own node"},
		{"keep the own from being wiped", s.patch(s.mine.Name, "spec", map[string]any{"persistentVolumeReclaimPolicy": "Retain"}), "metadata only"},
		{"bind the own", s.patch(s.mine.Name, "spec", map[string]any{"claimRef": map[string]string{"namespace": "default", "name": "a"}}), "metadata only"},
		{"release the own", s.patch(s.mine.Name, "status", map[string]any{"phase": "Released"}, "status"), "status"},
		{"annotate another's", s.patch(s.theirs.Name, "metadata", annotation), foreign},
		{"take another's finalizers", s.patch(s.theirs.Name, "metadata", finalizers), foreign},
		{"label another's for the own node", s.patch(s.theirs.Name, "metadata", label(s.own)), foreign},
		{"make another's the own in all that can be changed", s.patch(s.theirs.Name, "metadata", map[string]any{
			"labels": map[string]string{api.LabelNode: s.own}, "annotations": s.mine.Annotations}), foreign},
		{"release another's", s.patch(s.theirs.Name, "status", map[string]any{"phase": "Released"}, "status"), foreign},
		{"delete another's", s.delete(s.theirs.Name), foreign},
		{"delete all of another's", func() error {
			return s.client.CoreV1().PersistentVolumes().DeleteCollection(s.Ctx, metav1.DeleteOptions{DryRun: dryRun},
				metav1.ListOptions{LabelSelector: api.LabelNode + "=" + s.other})
		}, foreign},
		{"update another's", func() error {
			pv, err := s.client.CoreV1().PersistentVolumes().Get(s.Ctx, s.theirs.Name, metav1.GetOptions{})
			s.Must(err)
			pv.Labels["a"] = "b"
			_, err = s.client.CoreV1().PersistentVolumes().Update(s.Ctx, pv, metav1.UpdateOptions{DryRun: dryRun})
			return err
		}, foreign},
	}
}

// unlabelled are attempts on volumes from before Berth.
func (s *theft) unlabelled() []attempt {
	names := map[string]string{}
	for node, pv := range map[string]*corev1.PersistentVolume{s.own: s.mine, s.other: s.theirs, "mislabelled": s.mine} {
		old := object(pv, "old-"+node+"-"+s.own)
		old.Labels, old.Finalizers = nil, nil
		if node == "mislabelled" {
			old.Labels = map[string]string{api.LabelNode: s.other}
		}
		old.Spec.StorageClassName = "nobody-claims-this"
		_, err := s.C.Client().CoreV1().PersistentVolumes().Create(s.Ctx, old, metav1.CreateOptions{})
		s.Must(err)
		s.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), stage.Patience)
			defer cancel()
			if err := s.C.Client().CoreV1().PersistentVolumes().Delete(ctx, old.Name, metav1.DeleteOptions{}); err != nil {
				s.Error(err)
			}
		})
		names[node] = old.Name
	}
	label := func(node string) map[string]any {
		return map[string]any{"labels": map[string]string{api.LabelNode: node}}
	}
	const foreign = "may write only volumes that it published"
	return []attempt{
		{"take over an old one", s.patch(names[s.own], "metadata", label(s.own)), ""},
		{"delete an old one", s.delete(names[s.own]), ""},
		{"take over another's old one", s.patch(names[s.other], "metadata", label(s.own)), foreign},
		{"take over another's old one in its own name", s.patch(names[s.other], "metadata", map[string]any{
			"labels": map[string]string{api.LabelNode: s.own}, "annotations": s.mine.Annotations}), foreign},
		{"delete another's old one", s.delete(names[s.other]), foreign},
		{"take what another node's label is on", s.patch(names["mislabelled"], "metadata", label(s.own)), "of another node than"},
		{"delete what another node's label is on", s.delete(names["mislabelled"]), "of another node than"},
		{"give an old one away", s.patch(names[s.own], "metadata", label(s.other)), "may only label volumes for its own node"},
	}
}

// nodes are attempts on Node objects.
func (s *theft) nodes() []attempt {
	patch := func(node, data string, sub ...string) func() error {
		return func() error {
			_, err := s.client.CoreV1().Nodes().Patch(s.Ctx, node, types.StrategicMergePatchType, []byte(data), metav1.PatchOptions{DryRun: dryRun}, sub...)
			return err
		}
	}
	const taint = `{"spec":{"taints":[{"key":"berth.storage/gone","effect":"NoSchedule"}]}}`
	return []attempt{
		{"taint the own node", patch(s.own, taint), ""},
		{"taint another node", patch(s.other, taint), "may only update the Node " + s.own},
		{"keep pods off the own node", patch(s.own, `{"spec":{"taints":[{"key":"example.com/a","effect":"NoExecute"}]}}`), "only the taint that the chart names"},
		{"label the own node", patch(s.own, `{"metadata":{"labels":{"kubernetes.io/hostname":"`+s.other+`"}}}`), "taints only"},
		{"cordon the own node", patch(s.own, `{"spec":{"unschedulable":true}}`), "taints only"},
		{"write the own node's status", patch(s.own, `{"status":{"phase":"Running"}}`, "status"), "may only update the Node"},
		{"delete the own node", func() error {
			return s.client.CoreV1().Nodes().Delete(s.Ctx, s.own, metav1.DeleteOptions{DryRun: dryRun})
		}, "may only update the Node"},
	}
}

// jobs are attempts to run pods by way of Jobs.
func (s *theft) jobs() []attempt {
	create := func(change func(*corev1.PodSpec)) func() error {
		return func() error {
			pod := workload.Pod{Name: "cleaner", Script: "true"}.Object().Spec
			pod.Containers[0].Env = nil
			pod.NodeSelector = map[string]string{corev1.LabelHostname: s.own}
			pod.Volumes = []corev1.Volume{{Name: "dev", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/dev"}}}}
			change(&pod)
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "cleanup"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod}}}
			_, err := s.client.BatchV1().Jobs(cluster.BerthNamespace).Create(s.Ctx, job, metav1.CreateOptions{DryRun: dryRun})
			return err
		}
	}
	wipe := func(node string) func() error {
		name := "wipe-" + node + "-for-" + s.own
		pod := workload.Pod{Name: "cleaner", Script: "true"}.Object().Spec
		pod.NodeSelector = map[string]string{corev1.LabelHostname: node}
		job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: batchv1.JobSpec{Suspend: new(true), Template: corev1.PodTemplateSpec{Spec: pod}}}
		_, err := s.C.Client().BatchV1().Jobs(s.Space.Name).Create(s.Ctx, job, metav1.CreateOptions{})
		s.Must(err)
		return func() error {
			return s.client.BatchV1().Jobs(s.Space.Name).Delete(s.Ctx, name, metav1.DeleteOptions{DryRun: dryRun})
		}
	}
	return []attempt{
		{"take back a Job of the own node", wipe(s.own), ""},
		{"take back another node's Job", wipe(s.other), "may only make and delete Jobs on that node"},
		{"run a Job on the own node", create(func(*corev1.PodSpec) {}), ""},
		{"run a Job on another node", create(func(p *corev1.PodSpec) { p.NodeSelector[corev1.LabelHostname] = s.other }), "may only make and delete Jobs on that node"},
		{"run a Job anywhere", create(func(p *corev1.PodSpec) { p.NodeSelector = nil }), "may only make and delete Jobs on that node"},
		{"run a Job past the scheduler", create(func(p *corev1.PodSpec) { p.NodeName = s.other }), "may only make and delete Jobs on that node"},
		{"run a Job with another account", create(func(p *corev1.PodSpec) {
			p.AutomountServiceAccountToken, p.ServiceAccountName = new(true), "default"
		}), "is to have no token"},
		{"run a Job with a Secret", create(func(p *corev1.PodSpec) {
			p.Volumes = append(p.Volumes, corev1.Volume{Name: "s", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}})
		}), "is to have no token"},
		{"run a Job with a Secret in its environment", create(func(p *corev1.PodSpec) {
			p.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}
		}), "is to have no token"},
	}
}

// claims are attempts on claims, of which a node's own are those with its label.
func (s *theft) claims() []attempt {
	for _, node := range []string{s.own, s.other} {
		c := workload.Claim{Name: "of-" + node + "-for-" + s.own, Class: cluster.FastClass}.Object()
		c.Labels = map[string]string{api.LabelNode: node}
		_, err := s.C.Client().CoreV1().PersistentVolumeClaims(s.Space.Name).Create(s.Ctx, c, metav1.CreateOptions{})
		s.Must(err)
	}
	claims := s.client.CoreV1().PersistentVolumeClaims(s.Space.Name)
	patch := func(node string, labels map[string]any) func() error {
		return func() error {
			data, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
			s.Must(err)
			_, err = claims.Patch(s.Ctx, "of-"+node+"-for-"+s.own, types.MergePatchType, data, metav1.PatchOptions{DryRun: dryRun})
			return err
		}
	}
	const foreign = "may only update claims with the label"
	return []attempt{
		{"give the own claim back", patch(s.own, map[string]any{api.LabelNode: nil}), ""},
		{"give the own claim away", patch(s.own, map[string]any{api.LabelNode: s.other}), "both together"},
		{"take another's claim", patch(s.other, map[string]any{api.LabelNode: s.own}), foreign},
		{"delete the own claim", func() error {
			return claims.Delete(s.Ctx, "of-"+s.own+"-for-"+s.own, metav1.DeleteOptions{DryRun: dryRun})
		}, foreign},
		{"make a claim", func() error {
			_, err := claims.Create(s.Ctx, workload.Claim{Name: "new", Class: cluster.FastClass}.Object(), metav1.CreateOptions{DryRun: dryRun})
			return err
		}, foreign},
	}
}
