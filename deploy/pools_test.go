package deploy

import (
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/pool"
)

// TestPoolPod holds the agent's pod to what carving and mounting need: pods see
// what it mounts for them, and it sees what is mounted on its node.
func TestPoolPod(t *testing.T) {
	objects := agents(decode(t, render(t, "testdata/pools.values.yaml")))
	pod := one[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	for _, want := range []string{"--kubelet-dir=/var/lib/k0s/kubelet", "--namespace=$(NAMESPACE)",
		"--allow-dir=/mnt/fast", "--allow-dir=/mnt/quota", "--allow-dir=/srv/try-out"} {
		if !slices.Contains(pod.Containers[0].Args, want) {
			t.Errorf("the agent is started without %s: %q", want, pod.Containers[0].Args)
		}
	}
	got := map[string]string{}
	for _, m := range pod.Containers[0].VolumeMounts {
		propagation := "None"
		if m.MountPropagation != nil {
			propagation = string(*m.MountPropagation)
		}
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if source := pod.Volumes[i].HostPath; source != nil && source.Path == m.MountPath && *source.Type == corev1.HostPathDirectoryOrCreate {
			got[m.MountPath] = propagation
		}
	}
	delete(got, api.StateDir)
	want := map[string]string{
		"/mnt":                                  "HostToContainer",
		"/srv/try-out":                          "HostToContainer",
		"/var/lib/k0s/kubelet/plugins":          "Bidirectional",
		"/var/lib/k0s/kubelet/pods":             "Bidirectional",
		"/var/lib/k0s/kubelet/plugins_registry": "None",
		"/run/lock/lvm":                         "None",
	}
	if !maps.Equal(got, want) {
		t.Errorf("directories of the node: %v, want %v", got, want)
	}
}

// TestCSIDriver holds the object to what the agents' CSI services are.
func TestCSIDriver(t *testing.T) {
	driver := one[*storagev1.CSIDriver](t, decode(t, render(t, "testdata/pools.values.yaml")))
	s := driver.Spec
	if driver.Name != api.Driver || *s.AttachRequired || *s.PodInfoOnMount || !*s.StorageCapacity || *s.SELinuxMount ||
		*s.FSGroupPolicy != storagev1.FileFSGroupPolicy ||
		!slices.Equal(s.VolumeLifecycleModes, []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecyclePersistent}) {
		t.Errorf("CSIDriver %s: %+v", driver.Name, s)
	}
}

// TestNoPools: without pools nothing of CSI is there, and the agents have no more
// of a node than before.
func TestNoPools(t *testing.T) {
	objects := decode(t, render(t, "testdata/default.values.yaml"))
	if n := len(all[*storagev1.CSIDriver](objects)); n != 0 {
		t.Errorf("%d CSIDrivers", n)
	}
	pod := one[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	for _, v := range pod.Volumes {
		if v.HostPath != nil && strings.Contains(v.HostPath.Path, "kubelet") {
			t.Errorf("%s is mounted", v.HostPath.Path)
		}
	}
	if slices.ContainsFunc(pod.Containers[0].Args, func(a string) bool { return strings.Contains(a, "kubelet") }) {
		t.Errorf("args %q", pod.Containers[0].Args)
	}
}

// TestPoolStorageClasses looks for what values say of a pool's classes.
func TestPoolStorageClasses(t *testing.T) {
	objects := decode(t, render(t, "testdata/pools.values.yaml"))
	got := map[string]string{}
	for _, c := range all[*storagev1.StorageClass](objects) {
		got[c.Name] = strings.Join([]string{c.Parameters["pool"], c.Parameters["csi.storage.k8s.io/fstype"], string(*c.VolumeBindingMode),
			string(*c.ReclaimPolicy), c.Annotations["storageclass.kubernetes.io/is-default-class"], strings.Join(c.MountOptions, ","), c.Labels["tier"]}, " ")
	}
	want := map[string]string{
		"fast":     "fast  WaitForFirstConsumer Delete true noatime fast",
		"fast-now": "fast  Immediate Retain   ",
		"devices":  "vg0 xfs WaitForFirstConsumer Delete   ",
	}
	if !maps.Equal(got, want) {
		t.Errorf("StorageClasses: %q, want %q", got, want)
	}
	file := one[*corev1.ConfigMap](t, objects).Data[path.Base(api.ConfigFile)]
	if strings.Contains(file, "storageClasses") || strings.Contains(file, "\nclasses:") {
		t.Errorf("the agent's file has StorageClasses, or a list of no classes:\n%s", file)
	}
}

// TestPoolFields looks for the values in what the agent has read.
func TestPoolFields(t *testing.T) {
	got, err := agentConfig(t, "testdata/pools.values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Pool{
		{Name: "fast", Kind: config.PoolBtrfs, Path: "/mnt/fast", Classes: []string{"fast", "fast-now", "somebody-elses"}, Reserve: pool.Reserve{Percent: 5}},
		{Name: "quota", Kind: config.PoolXFS, Path: "/mnt/quota", Reserve: pool.Reserve{Bytes: 10 << 30}},
		{Name: "vg0", Kind: config.PoolLVM, VolumeGroup: "vg0", Stripes: 2,
			Wipe: config.Wipe{Method: config.WipeShred, Passes: 2, Timeout: config.DefaultWipeTimeout, Verify: config.VerifyFull, BytesPerSecond: 200 << 20}},
		{Name: "thin", Kind: config.PoolLVM, VolumeGroup: "vg1", Wipe: config.DefaultWipe,
			Thin: &config.Thin{Pool: "thin0", Overprovision: 1.5, MetadataLowWater: 20}},
		{Name: "try-out", Kind: config.PoolDir, Path: "/srv/try-out", Unenforced: true},
	}
	for i := range got.Pools {
		got.Pools[i].Line = 0
	}
	if !reflect.DeepEqual(got.Pools, want) || len(got.Classes) != 0 {
		t.Errorf("pools:\n%+v, want\n%+v\nand classes %v", got.Pools, want, got.Classes)
	}
}

// TestPoolsRefused gives the chart pools that it must not accept.
func TestPoolsRefused(t *testing.T) {
	const a, lvm = "name: a, kind: btrfs, path: /mnt/a", "name: v, kind: lvm, volumeGroup: vg0"
	tests := []struct {
		name, values string
		want         []string
	}{
		{"misspelt field", "pools: [{" + a + ", class: [x]}]", []string{"/pools/0", "class"}},
		{"kind", "pools: [{name: a, kind: zfs, path: /mnt/a}]", []string{"/pools/0/kind", "'btrfs'"}},
		{"long name", "pools: [{name: " + strings.Repeat("a", 33) + ", kind: btrfs, path: /mnt/a}]", []string{"/pools/0/name", "32"}},
		{"no path", "pools: [{name: a, kind: xfs}]", []string{`"a"`, "kind xfs needs path"}},
		{"no group", "pools: [{name: a, kind: lvm}]", []string{`"a"`, "kind lvm needs volumeGroup"}},
		{"path of a group", "pools: [{" + lvm + ", path: /mnt/a}]", []string{`"v"`, "path is not for kind lvm"}},
		{"thin directories", "pools: [{" + a + ", thin: {pool: t}}]", []string{`"a"`, "thin is not for kind btrfs"}},
		{"thin stripes", "pools: [{" + lvm + ", stripes: 2, thin: {pool: t}}]", []string{`"v"`, "stripes"}},
		{"less than there is", "pools: [{" + lvm + ", thin: {pool: t, overprovision: 0.5}}]", []string{"/overprovision"}},
		{"reserve of everything", "pools: [{" + a + ", reserve: 100%}]", []string{"/pools/0/reserve"}},
		{"wipe that leaves data", "pools: [{" + lvm + ", wipe: {method: Signatures}}]", []string{"/pools/0/wipe/method", "'Shred'"}},
		{"passes of a method without", "pools: [{" + lvm + ", wipe: {passes: 2}}]", []string{`"v"`, "wipe.passes"}},
		{"unenforced not said", "pools: [{name: a, kind: dir, path: /mnt/a}]", []string{`"a"`, "unenforced: true"}},
		{"unenforced said of quotas", "pools: [{" + a + ", unenforced: true}]", []string{`"a"`, "btrfs enforces"}},
		{"two of a name", "pools: [{" + a + "}, {name: a, kind: btrfs, path: /mnt/b}]", []string{`two pools are named "a"`}},
		{"one in another", "pools: [{" + a + "}, {name: b, kind: btrfs, path: /mnt/a/b}]", []string{`path /mnt/a/b of "b" overlaps path /mnt/a of "a"`}},
		{"a group twice", "pools: [{" + lvm + "}, {name: w, kind: lvm, volumeGroup: vg0, thin: {pool: t}}]", []string{`"v" and "w"`, "vg0"}},
		{"a thin pool twice", "pools: [{" + lvm + ", thin: {pool: t}}, {name: w, kind: lvm, volumeGroup: vg0, thin: {pool: t}}]", []string{`"v" and "w"`}},
		{"in a class's directory", "classes: [{name: c, hostDir: /mnt}]\npools: [{" + a + "}]", []string{"path /mnt/a", `hostDir /mnt of the class "c"`}},
		{"the system's directory", "pools: [{name: a, kind: dir, path: /var/lib, unenforced: true}]", []string{`pools: "a": path /var/lib overlaps`}},
		{"devices", "pools: [{name: a, kind: btrfs, path: /dev/disk/a}]", []string{`pools: "a"`, "/dev"}},
		{"a mount point in the root directory", "pools: [{name: a, kind: xfs, path: /pool}]", []string{`"a"`, "/pool is right below /,"}},
		{"a mount point beside the system's", "pools: [{name: a, kind: xfs, path: /var/pool}]", []string{`"a"`, "/var/pool is right below /var,"}},
		{"a mount point beside the kubelet's directory", "kubeletDir: /data/kubelet\npools: [{name: a, kind: xfs, path: /data/a}]", []string{"right below /data,", "/data/kubelet"}},
		{"path with dots", "pools: [{name: a, kind: btrfs, path: /mnt/../srv/a}]", []string{"written as /srv/a"}},
		{"in the kubelet's directory", "kubeletDir: /data/kubelet\npools: [{name: a, kind: btrfs, path: /data/kubelet/a}]", []string{"/data/kubelet/a", "kubelet's directory"}},
		{"a class in the kubelet's directory", "kubeletDir: /data/kubelet\nclasses: [{name: c, hostDir: /data}]\npools: [{" + a + "}]", []string{"hostDir /data", "kubelet's directory"}},
		{"kubelet's directory with dots", "kubeletDir: /data/../kubelet\npools: [{" + a + "}]", []string{"written as /kubelet"}},
		{"StorageClass of found volumes", "classes: [{name: c, hostDir: /mnt/c}]\npools: [{" + a + ", storageClasses: [{name: c}]}]", []string{`"c" is there twice`}},
		{"found volumes' class", "classes: [{name: c, hostDir: /mnt/c}]\npools: [{" + a + ", classes: [c]}]", []string{`"c" is a class for found volumes`}},
		{"StorageClass that may not", "pools: [{" + a + ", classes: [x], storageClasses: [{name: c}]}]", []string{`"c" is not among the pool's classes`}},
		{"filesystem on a directory", "pools: [{" + a + ", storageClasses: [{name: c, fsType: ext4}]}]", []string{`"c"`, "fsType is for kind lvm"}},
		{"filesystem", "pools: [{" + lvm + ", storageClasses: [{name: c, fsType: zfs}]}]", []string{"fsType", "'btrfs'"}},
		{"binding", "pools: [{" + a + ", storageClasses: [{name: c, volumeBindingMode: Later}]}]", []string{"volumeBindingMode", "'Immediate'"}},
		{"two defaults", "classes: [{name: c, hostDir: /mnt/c, storageClass: {default: true}}]\npools: [{" + a + ", storageClasses: [{name: d, default: true}]}]", []string{`"c" and "d"`, "default StorageClass"}},
		{"nothing to clean up", "classes: []\ncontroller: {enabled: true}\npools: [{" + a + "}]", []string{"controller.storageClassNames"}},
		{"with the other chart's values", "compatibility: static-provisioner\npools: [{" + a + "}]", []string{"/pools", "maxItems"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { checkRefused(t, test.values, test.want...) })
	}
}
