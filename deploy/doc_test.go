package deploy

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/csi"
)

// TestInstallPage holds docs/install.md to the chart: its examples must install,
// its line for kubectl apply must find the image, its values must exist.
func TestInstallPage(t *testing.T) {
	page, err := os.ReadFile("../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) < 3 {
		t.Fatalf("the page has %d examples of values", len(examples))
	}
	for _, example := range examples {
		values := filepath.Join(t.TempDir(), "values.yaml")
		if err := os.WriteFile(values, example[1], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := agentConfig(t, values); err != nil {
			t.Errorf("%s%v", example[1], err)
		}
	}

	manifest, err := os.ReadFile("berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sed := regexp.MustCompile(`sed 's\|([^|]+)\|`).FindSubmatch(page)
	if sed == nil || bytes.Count(manifest, sed[1]) != 1 {
		t.Errorf("the page's sed does not find the image in berth.yaml: %s", sed)
	}

	known, err := os.ReadFile("helm/berth/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?`) \\|").FindAllSubmatch(page, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(row[1], -1) {
			last := string(name[1][bytes.LastIndexByte(name[1], '.')+1:])
			last = strings.TrimSuffix(last, "[]")
			if !regexp.MustCompile(`(?m)^[# ]*` + last + `\b`).Match(known) {
				t.Errorf("the page names the value %s, which values.yaml lacks", name[1])
			}
		}
	}
}

// TestPoolsPage holds the objects of docs/pools.md to what pools take.
func TestPoolsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/pools.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1)
	if len(examples) != 2 {
		t.Fatalf("the page has %d examples", len(examples))
	}
	class := one[*storagev1.StorageClass](t, decode(t, bytes.ReplaceAll(examples[0][1], []byte("\n# "), []byte("\n  "))))
	var claim corev1.PersistentVolumeClaim
	if err := yaml.UnmarshalStrict(examples[1][1], &claim); err != nil {
		t.Fatal(err)
	}
	if class.Provisioner != api.Driver || *class.VolumeBindingMode != storagev1.VolumeBindingWaitForFirstConsumer || !*class.AllowVolumeExpansion ||
		len(class.Parameters) != 2 || class.Parameters[csi.ParamPool] == "" || class.Parameters["csi.storage.k8s.io/fstype"] == "" {
		t.Errorf("the class is %+v", class)
	}
	if *claim.Spec.StorageClassName != class.Name {
		t.Errorf("the claim wants class %s", *claim.Spec.StorageClassName)
	}
	for _, kind := range []config.PoolKind{config.PoolLVM, config.PoolXFS, config.PoolBtrfs, config.PoolDir} {
		if !bytes.Contains(page, []byte("\n| `"+string(kind)+"` |")) {
			t.Errorf("the page has no row for kind %s", kind)
		}
	}
}
