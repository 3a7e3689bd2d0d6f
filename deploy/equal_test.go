package deploy

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/standin"
)

// TestCompatEqualsNative renders both ways and compares: what an agent makes of
// the established chart's values is what it makes of the same said in Berth's.
// A file of the one, NAME.values.yaml, has the other beside it, NAME.native.yaml.
func TestCompatEqualsNative(t *testing.T) {
	for _, values := range compatFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			native := strings.TrimSuffix(values, ".values.yaml") + ".native.yaml"
			there, here := agents(decode(t, renderCompat(t, values))), decode(t, render(t, native))

			translated, err := standin.Translate(one[*corev1.ConfigMap](t, there).Data)
			if err != nil {
				t.Fatal(err)
			}
			want, err := agentConfig(t, native)
			if err != nil {
				t.Fatal(err)
			}
			if got := unplaced(translated.Agent); !reflect.DeepEqual(got, unplaced(want)) {
				t.Errorf("translated:\n%+v, native:\n%+v", *translated.Agent, *want)
			}
			if got, want := classDirs(t, there), classDirs(t, here); !slices.Equal(got, want) {
				t.Errorf("mounted: %q, native: %q", got, want)
			}
			checkStorageClasses(t, there, here)
		})
	}
}

// unplaced takes out of a configuration where in its file something stands.
func unplaced(agent *config.Agent) config.Agent {
	same := *agent
	same.Classes = slices.Clone(agent.Classes)
	for i := range same.Classes {
		same.Classes[i].Line = 0
	}
	slices.SortFunc(same.Classes, func(a, b config.Class) int { return strings.Compare(a.Name, b.Name) })
	return same
}

// classDirs returns the directories of the node, and where they are seen, that
// an agent is given to look for disks in.
func classDirs(t *testing.T, objects []metav1.Object) []string {
	t.Helper()
	pod := one[*appsv1.DaemonSet](t, objects).Spec.Template.Spec
	hostPaths := map[string]string{}
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			hostPaths[volume.Name] = volume.HostPath.Path
		}
	}
	var dirs []string
	for _, mount := range pod.Containers[0].VolumeMounts {
		if mount.MountPropagation != nil {
			dirs = append(dirs, hostPaths[mount.Name]+" at "+mount.MountPath+" "+string(*mount.MountPropagation))
		}
	}
	slices.Sort(dirs)
	return dirs
}

// checkStorageClasses compares the StorageClasses that the native chart makes
// with those of the same names.
func checkStorageClasses(t *testing.T, there, here []metav1.Object) {
	t.Helper()
	classes := map[string]*storagev1.StorageClass{}
	for _, class := range all[*storagev1.StorageClass](there) {
		class.Labels = nil
		classes[class.Name] = class
	}
	for _, class := range all[*storagev1.StorageClass](here) {
		class.Labels = nil
		if !reflect.DeepEqual(class, classes[class.Name]) {
			t.Errorf("StorageClass %s: %+v, native: %+v", class.Name, classes[class.Name], class)
		}
	}
}
