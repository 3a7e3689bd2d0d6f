package deploy

import (
	"maps"
	"os"
	"testing"

	storagev1 "k8s.io/api/storage/v1"
	"sigs.k8s.io/yaml"

	"github.com/berth-storage/berth/api"
)

// testDriver has the fields of Kubernetes' driverDefinition and DriverInfo
// (v1.37.2: test/e2e/storage/external/external.go, framework/testdriver.go) that
// Berth's files use. Kubernetes itself decodes them leniently: a misspelt field
// would only leave tests out.
type testDriver struct {
	StorageClass struct{ FromName bool }
	DriverInfo   struct {
		Name                                  string
		MaxFileSize                           int64
		SupportedSizeRange                    struct{ Max, Min string }
		SupportedFsType, SupportedMountOption map[string]struct{}
		Capabilities                          map[string]bool
		RequiredAccessModes, TopologyKeys     []string
		StressTestOptions                     struct{ NumPods, NumRestarts int }
	}
}

// capabilities are all that Kubernetes knows (Cap… in testdriver.go), and whether
// Berth has them. The one that is missing says of drivers that they cannot do
// what they else could: FSResizeFromSourceNotSupported.
var capabilities = map[string]bool{
	"persistence": true, "block": true, "fsGroup": true, "volumeMountGroup": false, "exec": true,
	"snapshotDataSource": false, "snapshotMetadata": false, "groupSnapshot": false, "pvcDataSource": false,
	"multipods": true, "RWX": false, "controllerExpansion": true, "nodeExpansion": true,
	"offlineExpansion": true, "onlineExpansion": true, "volumeLimits": false, "singleNodeVolume": true,
	"topology": true, "capacity": true, "readWriteOncePod": true, "multiplePVsSameID": false,
	"capReadOnlyMany": false, "seLinuxMount": false,
}

// TestTestDrivers holds the files for Kubernetes' own tests to its spelling, and
// to the chart.
func TestTestDrivers(t *testing.T) {
	driver := one[*storagev1.CSIDriver](t, decode(t, render(t, "testdata/pools.values.yaml")))
	for file, filesystems := range map[string]int{"testdriver.yaml": 1, "testdriver-lvm.yaml": 4} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d testDriver
		if err := yaml.UnmarshalStrict(data, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		i := d.DriverInfo
		if !maps.Equal(i.Capabilities, capabilities) {
			t.Errorf("%s: capabilities %v, want %v", file, i.Capabilities, capabilities)
		}
		_, plain := i.SupportedFsType[""]
		if i.Name != driver.Name || !d.StorageClass.FromName || len(i.TopologyKeys) != 1 || i.TopologyKeys[0] != api.LabelNode ||
			!plain || len(i.SupportedFsType) != filesystems {
			t.Errorf("%s: %+v", file, d)
		}
		if *driver.Spec.StorageCapacity != i.Capabilities["capacity"] || *driver.Spec.SELinuxMount != i.Capabilities["seLinuxMount"] {
			t.Errorf("%s announces something else than the CSIDriver object", file)
		}
	}
}
