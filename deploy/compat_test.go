package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
)

// compat is named after the values of a release of the established chart.
const compat = "helm/berth/compat/static-provisioner.yaml"

// compatArgs are Helm's arguments for a release of the established chart.
func compatArgs(chart string, args ...string) []string {
	return append([]string{"template", "disks", chart, "--namespace", "kube-system"}, args...)
}

// renderCompat returns what the chart makes of a file of the established
// chart's values.
func renderCompat(t *testing.T, values string) []byte {
	t.Helper()
	out, err := runHelm(t, compatArgs("helm/berth", "--values", values, "--values", compat)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func compatFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/compat/*.values.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding values: %v, %d files", err, len(files))
	}
	return files
}

func TestCompatGolden(t *testing.T) {
	for _, values := range compatFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			checkGolden(t, values, renderCompat(t, values))
			out, err := runHelm(t, "lint", "--strict", "helm/berth", "--values", values, "--values", compat)
			if err != nil || bytes.Contains(out, []byte("[WARNING]")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestCompatManifests decodes all that is rendered and holds it to what an
// upgrade of the established chart's release needs.
func TestCompatManifests(t *testing.T) {
	for _, values := range compatFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			objects := decode(t, renderCompat(t, values))
			checkNames(t, objects)
			checkBindings(t, objects)
			objects = agents(objects)
			daemonSet := one[*appsv1.DaemonSet](t, objects)
			checkSelectors(t, objects, daemonSet)
			checkSwap(t, daemonSet)
			file := one[*corev1.ConfigMap](t, objects)
			if file.Name != daemonSet.Name+"-config" || !strings.Contains(file.Data["storageClassMap"], "hostDir: ") {
				t.Errorf("ConfigMap %s: %v", file.Name, file.Data)
			}
			for _, role := range all[*rbacv1.ClusterRole](objects) {
				if got := rights(role.Rules)["/persistentvolumes"]; got != "create delete get list patch watch" {
					t.Errorf("rights on PersistentVolumes: %s", got)
				}
			}
		})
	}
}

// checkSwap holds the DaemonSet to what makes it the established one with
// another image, and a directory for the journal.
func checkSwap(t *testing.T, daemonSet *appsv1.DaemonSet) {
	t.Helper()
	selector := daemonSet.Spec.Selector.MatchLabels
	if len(selector) != 2 || selector["app.kubernetes.io/instance"] != "disks" || selector["app.kubernetes.io/name"] == "" {
		t.Errorf("the DaemonSet selects %v, which cannot be changed", selector)
	}
	pod := daemonSet.Spec.Template.Spec
	container := pod.Containers[0]
	if container.Image != "berth-storage/berth:0.1.0" || container.Command != nil || container.Args != nil {
		t.Errorf("it starts %s %q %q", container.Image, container.Command, container.Args)
	}
	env := map[string]string{}
	for _, e := range container.Env {
		env[e.Name] = e.Value
		if e.ValueFrom != nil {
			env[e.Name] = e.ValueFrom.FieldRef.FieldPath
		}
	}
	if env["MY_NODE_NAME"] != "spec.nodeName" || env["MY_NAMESPACE"] != "metadata.namespace" || env["JOB_CONTAINER_IMAGE"] != container.Image {
		t.Errorf("its environment is %v", env)
	}
	volumes := map[string]bool{}
	for _, volume := range pod.Volumes {
		volumes[volume.Name] = true
	}
	var mounted []string
	for _, mount := range container.VolumeMounts {
		mounted = append(mounted, mount.MountPath)
		if !volumes[mount.Name] {
			t.Errorf("%s mounts the volume %s, which the pod lacks", mount.MountPath, mount.Name)
		}
	}
	for _, dir := range []string{"/etc/provisioner/config", "/var/lib/berth"} {
		if !slices.Contains(mounted, dir) {
			t.Errorf("%s is not mounted: %q", dir, mounted)
		}
	}
}

// TestCompatWithoutMore renders what the established chart would: no directory
// for the journal, no right that its role had not.
func TestCompatWithoutMore(t *testing.T) {
	out, err := runHelm(t, compatArgs("helm/berth", "--values", compat, "--set", "stateDir=,rbac.patchVolumes=false")...)
	if err != nil {
		t.Fatal(err)
	}
	objects := decode(t, out)
	if got := rights(one[*rbacv1.ClusterRole](t, objects).Rules)["/persistentvolumes"]; got != "create delete get list watch" {
		t.Errorf("rights on PersistentVolumes: %s", got)
	}
	pod := one[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	if slices.ContainsFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "berth-state" }) {
		t.Error("it has a volume for the journal")
	}
}

// TestCompatReuse renders as helm upgrade --reuse-values does: in place of
// values.yaml stand the values of the release, the established chart's defaults
// among them.
func TestCompatReuse(t *testing.T) {
	chart := filepath.Join(t.TempDir(), "berth")
	if err := os.CopyFS(chart, os.DirFS("helm/berth")); err != nil {
		t.Fatal(err)
	}
	values := "testdata/compat/block.values.yaml"
	data, err := os.ReadFile(values)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, "image: registry.example.com/local-volume-provisioner\nserviceMonitor: {enabled: false, namespace: null}\n"...)
	if err := os.WriteFile(filepath.Join(chart, "values.yaml"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := runHelm(t, compatArgs(chart, "--values", compat)...)
	if err != nil {
		t.Fatal(err)
	}
	if want := renderCompat(t, values); !bytes.Equal(got, want) {
		t.Error(firstDifference(want, got))
	}
}

// TestCompatRefused gives the chart values that it cannot do justice to.
func TestCompatRefused(t *testing.T) {
	tests := []struct {
		name, values string
		want         []string
	}{
		{"Windows", "enableWindows: true", []string{"enableWindows", "does not run on Windows"}},
		{"the established image", "image: registry.example.com/local-volume-provisioner", []string{"image", "after your values"}},
		{"misspelt value", "useNodeNameOnli: true", []string{"useNodeNameOnli"}},
		{"misspelt field of a class", "classes: [{name: a, hostDir: /mnt/a, hostdir: /mnt}]", []string{"/classes/0", "hostdir"}},
		{"volume mode", "classes: [{name: a, hostDir: /mnt/a, volumeMode: block}]", []string{"/classes/0/volumeMode", "'Block'"}},
		{"native class", "classes: [{name: a, hostDir: /mnt/a, wipe: {method: Zero}}]", []string{"/classes/0", "wipe"}},
		{"native labels", "labels: {team: storage}", []string{"/labels"}},
		{"native interval", "rescanInterval: 1h", []string{"/rescanInterval"}},
		{"native taint", "startupTaint: example.com/a", []string{"/startupTaint"}},
		{"relative directory for the journal", "stateDir: berth", []string{"/stateDir"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			values := filepath.Join(t.TempDir(), "values.yaml")
			if err := os.WriteFile(values, []byte(test.values), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := runHelm(t, compatArgs("helm/berth", "--values", compat, "--values", values)...)
			if err == nil {
				t.Fatalf("accepted %s", test.values)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the refusal lacks %q: %v", want, err)
				}
			}
		})
	}
}

// TestCompatNative holds the native mode to its own values: none of the
// established chart's is ignored where that mode is not asked for.
func TestCompatNative(t *testing.T) {
	for _, values := range []string{"useNodeNameOnly=true", "labelsForPV.team=storage", "stateDir=/var/lib/berth", "kubeConfigEnv=/a"} {
		name, _, _ := strings.Cut(values, "=")
		name, _, _ = strings.Cut(name, ".")
		if _, err := runHelm(t, "template", "berth", "helm/berth", "--set", values); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// TestCompatNotes reads what a person sees after the upgrade.
func TestCompatNotes(t *testing.T) {
	out, err := runHelm(t, "install", "disks", "helm/berth", "--namespace", "kube-system", "--dry-run=client", "--values", compat)
	if err != nil {
		t.Fatal(err)
	}
	_, notes, _ := bytes.Cut(out, []byte("NOTES:"))
	const want = "kubectl -n kube-system rollout status daemonset/disks-local-static-provisioner\n"
	if !bytes.Contains(notes, []byte(want)) || bytes.Contains(notes, []byte("berth-agent")) {
		t.Errorf("the notes lack %q, or speak of the chart's own agent:\n%s", want, notes)
	}
}
