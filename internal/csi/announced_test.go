package csi_test

import (
	"context"
	"maps"
	"os"
	"slices"
	"testing"

	spec "github.com/container-storage-interface/spec/lib/go/csi"
	"sigs.k8s.io/yaml"

	"github.com/berth-storage/berth/internal/csi"
	"github.com/berth-storage/berth/internal/pool"
)

// A shape is a node with one pool, of which no more is known than its kind of
// volumes.
type shape struct {
	pool.Pool
	device bool
}

func (s shape) Names() []string                             { return []string{"disks"} }
func (s shape) Get(name string) (pool.Pool, bool)           { return s, name == "disks" }
func (s shape) Features() pool.Features                     { return pool.Features{Device: s.device} }
func (s shape) Room(context.Context) (r pool.Room, _ error) { return r, nil }

// TestAnnounced compares what the files for Kubernetes' own tests announce with
// what the server answers. Whether it then does so is for those tests.
func TestAnnounced(t *testing.T) {
	for file, device := range map[string]bool{"testdriver.yaml": false, "testdriver-lvm.yaml": true} {
		t.Run(file, func(t *testing.T) { announced(t, file, device) })
	}
}

func announced(t *testing.T, file string, device bool) {
	data, err := os.ReadFile("../../deploy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		DriverInfo struct {
			SupportedFsType, SupportedMountOption map[string]struct{}
			TopologyKeys                          []string
			Capabilities                          map[string]bool
		}
	}
	if err := yaml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	info := d.DriverInfo
	s := &csi.Server{Driver: "berth.storage", Node: "node-1", Pools: shape{device: device}}
	for what, can := range answers(t, s) {
		if said, ok := info.Capabilities[what]; !ok || said != can {
			t.Errorf("%s: announced is %t, and the server answers %t", what, said, can)
		}
	}

	takes := func(mode spec.VolumeCapability_AccessMode_Mode, fsType string, options ...string) error {
		_, err := s.GetCapacity(t.Context(), &spec.GetCapacityRequest{VolumeCapabilities: []*spec.VolumeCapability{{
			AccessMode: &spec.VolumeCapability_AccessMode{Mode: mode},
			AccessType: &spec.VolumeCapability_Mount{Mount: &spec.VolumeCapability_MountVolume{FsType: fsType, MountFlags: options}},
		}}})
		return err
	}
	const once = spec.VolumeCapability_AccessMode_SINGLE_NODE_MULTI_WRITER
	for _, fsType := range []string{"", "ext2", "ext3", "ext4", "xfs", "btrfs", "ntfs"} {
		if _, said := info.SupportedFsType[fsType]; said != (takes(once, fsType) == nil) {
			t.Errorf("filesystem %q: announced is %t, and the server answers: %v", fsType, said, takes(once, fsType))
		}
	}
	// A class of Kubernetes' test has them all, and any of the filesystems.
	options := slices.Sorted(maps.Keys(info.SupportedMountOption))
	if len(options) == 0 {
		t.Error("no mount option is announced, so that Kubernetes' test of them is left out")
	}
	for fsType := range info.SupportedFsType {
		if err := takes(once, fsType, options...); err != nil {
			t.Errorf("filesystem %q with the options announced: %v", fsType, err)
		}
	}
	for what, mode := range map[string]spec.VolumeCapability_AccessMode_Mode{
		"RWX": spec.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER, "capReadOnlyMany": spec.VolumeCapability_AccessMode_MULTI_NODE_READER_ONLY,
		"readWriteOncePod": spec.VolumeCapability_AccessMode_SINGLE_NODE_SINGLE_WRITER,
	} {
		if err := takes(mode, ""); info.Capabilities[what] != (err == nil) {
			t.Errorf("%s: announced is %t, and the server answers: %v", what, info.Capabilities[what], err)
		}
	}
	node, err := s.NodeGetInfo(t.Context(), &spec.NodeGetInfoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(node.AccessibleTopology.Segments)); !slices.Equal(keys, info.TopologyKeys) {
		t.Errorf("topology keys: announced are %v, and the server answers %v", info.TopologyKeys, keys)
	}
	if info.Capabilities["volumeLimits"] != (node.MaxVolumesPerNode > 0) {
		t.Errorf("volumeLimits: announced is %t, and the server's limit is %d", info.Capabilities["volumeLimits"], node.MaxVolumesPerNode)
	}
}

// answers are the capabilities that Kubernetes' tests and CSI both have a name
// for, by the former.
func answers(t *testing.T, s *csi.Server) map[string]bool {
	t.Helper()
	plugin, err1 := s.GetPluginCapabilities(t.Context(), &spec.GetPluginCapabilitiesRequest{})
	controller, err2 := s.ControllerGetCapabilities(t.Context(), &spec.ControllerGetCapabilitiesRequest{})
	node, err3 := s.NodeGetCapabilities(t.Context(), &spec.NodeGetCapabilitiesRequest{})
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	topology, online, groups := false, false, false
	for _, c := range plugin.Capabilities {
		topology = topology || c.GetService().GetType() == spec.PluginCapability_Service_VOLUME_ACCESSIBILITY_CONSTRAINTS
		groups = groups || c.GetService().GetType() == spec.PluginCapability_Service_GROUP_CONTROLLER_SERVICE
		online = online || c.GetVolumeExpansion().GetType() == spec.PluginCapability_VolumeExpansion_ONLINE
	}
	ofController, ofNode := map[string]bool{}, map[string]bool{}
	for _, c := range controller.Capabilities {
		ofController[c.GetRpc().GetType().String()] = true
	}
	for _, c := range node.Capabilities {
		ofNode[c.GetRpc().GetType().String()] = true
	}
	return map[string]bool{
		"topology": topology, "onlineExpansion": online, "groupSnapshot": groups,
		"offlineExpansion": ofController["EXPAND_VOLUME"], "controllerExpansion": ofController["EXPAND_VOLUME"],
		"capacity": ofController["GET_CAPACITY"], "pvcDataSource": ofController["CLONE_VOLUME"],
		"snapshotDataSource": ofController["CREATE_DELETE_SNAPSHOT"], "nodeExpansion": ofNode["EXPAND_VOLUME"],
		"volumeMountGroup": ofNode["VOLUME_MOUNT_GROUP"],
		"readWriteOncePod": ofController["SINGLE_NODE_MULTI_WRITER"] && ofNode["SINGLE_NODE_MULTI_WRITER"],
	}
}
