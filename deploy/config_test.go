package deploy

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
)

// agentConfig decodes the rendered configuration as the rendered agent would.
func agentConfig(t *testing.T, values string) (*config.Agent, error) {
	t.Helper()
	objects := agents(decode(t, render(t, values)))
	file := one[*corev1.ConfigMap](t, objects).Data[path.Base(api.ConfigFile)]
	container := one[*appsv1.DaemonSet](t, objects).Spec.Template.Spec.Containers[0]
	return config.Decode(api.ConfigFile, []byte(file), allowedDirs(container.Args))
}

// TestConfig holds what the chart renders to what the agent reads.
func TestConfig(t *testing.T) {
	for _, values := range valueFiles(t) {
		t.Run(filepath.Base(values), func(t *testing.T) {
			if _, err := agentConfig(t, values); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConfigFields looks for the values of the fullest file in what the agent has read.
func TestConfigFields(t *testing.T) {
	got, err := agentConfig(t, "testdata/full.values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Class{
		{Name: "fast", HostDir: "/mnt/fast", MountDir: "/disks/fast", VolumeMode: config.Filesystem,
			AccessMode: config.ReadWriteOncePod, FSType: "ext4", NamePattern: "ssd*,nvme*"},
		{Name: "404", HostDir: "/mnt/with space", MountDir: "/mnt/with space", VolumeMode: config.Filesystem,
			AccessMode: config.ReadWriteMany, NamePattern: "*", Shared: true},
		{Name: "training.sets", HostDir: "/mnt/sets", MountDir: "/mnt/sets", VolumeMode: config.Filesystem,
			AccessMode: config.ReadOnlyMany, NamePattern: "*", ReadOnly: true},
		{Name: "vault", HostDir: "/mnt/vault", MountDir: "/mnt/vault", VolumeMode: config.Block,
			AccessMode: config.ReadWriteOnce, NamePattern: "*",
			Wipe: config.Wipe{Method: config.WipeCommand, Passes: 1, Command: []string{"/usr/local/bin/erase", "--twice", "3"},
				Timeout: 2 * time.Hour, Job: true},
			Selector: []config.SelectorTerm{{MatchExpressions: []config.Requirement{
				{Key: "example.com/rack", Operator: "In", Values: []string{"r1", "2"}}}}}},
		{Name: "keys", HostDir: "/mnt/keys", MountDir: "/mnt/keys", VolumeMode: config.Block,
			AccessMode: config.ReadWriteOnce, NamePattern: "*",
			WhenGone: config.TaintNode, Wipe: config.Wipe{Method: config.WipeShred, Passes: 2, Timeout: config.DefaultWipeTimeout,
				Verify: config.VerifyFull, BytesPerSecond: 200 << 20}},
	}
	for i := range got.Classes {
		got.Classes[i].Line = 0
		if want[i].Wipe.Method == "" {
			want[i].Wipe = config.DefaultWipe
		}
		want[i].WhenGone = cmp.Or(want[i].WhenGone, config.Report)
	}
	if !reflect.DeepEqual(got.Classes, want) {
		t.Errorf("classes:\n%+v, want\n%+v", got.Classes, want)
	}
	if got.RescanInterval.String() != "1h30m0s" || got.Labels["encrypted"] != "true" ||
		!slices.Equal(got.NodeLabels, []string{"topology.kubernetes.io/zone"}) {
		t.Errorf("%+v", got)
	}
	seconds := int64(1000000)
	tolerations := []config.Toleration{{Key: "dedicated", Operator: "Exists", Effect: "NoExecute", Seconds: &seconds}}
	if !got.OwnerReference || !got.NodeNameOnly || got.StartupTaint != "example.com/disks-not-ready" ||
		!reflect.DeepEqual(got.JobTolerations, tolerations) {
		t.Errorf("%+v", got)
	}
}

// TestSystemDirs tries the directories that the chart refuses on the agent. One
// of them that the agent allowed would be a mistake in one of the two lists.
func TestSystemDirs(t *testing.T) {
	data, err := os.ReadFile("helm/berth/templates/_validate.tpl")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`{{- list (.*) \| join " " -}}`).FindSubmatch(data)
	if list == nil {
		t.Fatal("the template has no list of the system's directories")
	}
	for _, dir := range regexp.MustCompile(`/[^"]+`).FindAllString(string(list[1]), -1) {
		file := "apiVersion: " + api.ConfigVersion + "\nkind: " + api.ConfigKind +
			"\nclasses:\n- name: a\n  hostDir: " + dir + "\n"
		if _, err := config.Decode("agent.yaml", []byte(file), nil); err == nil {
			t.Errorf("the agent accepts %s as a class's directory", dir)
		}
	}
}
