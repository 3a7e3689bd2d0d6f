// Package api holds the names that users of Berth see: the driver's name,
// labels, annotations, event reasons and the standard paths. It has no
// behaviour and imports nothing.
//
// A name in here is a contract: people's manifests, dashboards and scripts
// spell it out, so it changes only with a new version of the API.
package api

// Driver is Berth's name to Kubernetes: the provisioner of its storage
// classes, and the prefix of its labels and annotations.
const Driver = "berth.storage"

// ConfigVersion and ConfigKind head the agent's configuration file.
const (
	ConfigVersion = Driver + "/v1alpha1"
	ConfigKind    = "AgentConfig"
)

// LabelNode, on a PersistentVolume or claim, names the node whose agent looks
// after it. The value is NodeLabelValue of the node's name.
const LabelNode = Driver + "/node"

// Annotations on a PersistentVolume.
const (
	// AnnProvisionedBy says which provisioner made a volume. The name is
	// Kubernetes' own; with it set, the volume controller leaves the clean-up
	// of a released volume to that provisioner.
	AnnProvisionedBy = "pv.kubernetes.io/provisioned-by"
	// AnnIdentity is the identity of the disk or filesystem behind the volume.
	AnnIdentity = Driver + "/identity"
	// AnnState says in one word what is wrong with a volume that a claim has or
	// had: ReasonDiskGone, ReasonQuarantined or ReasonWipeFailed. It is absent
	// while all is well.
	AnnState = Driver + "/state"
	// AnnReason says in a sentence why the volume is in that state, as it was when
	// the state began.
	AnnReason = Driver + "/reason"
	// AnnNodeGoneSince is when the controller first saw that the volume's node is
	// gone, in RFC 3339. The delay before anything is deleted counts from it; it
	// is taken off when the node is back.
	AnnNodeGoneSince = Driver + "/node-gone-since"
	// AnnNodeAddress is where the kubelet of a node that is gone could last be
	// reached, as address:port. The controller asks there for a sign of life.
	AnnNodeAddress = Driver + "/node-address"
)

// TaintDiskGone is the key of the taint that a node has while the disk of a
// claimed volume is gone, where the volume's class asks for it. Its effect is
// NoSchedule.
const TaintDiskGone = Driver + "/disk-gone"

// Finalizer is on each PersistentVolume that an agent publishes. While it is
// there the PV cannot go away unseen, so that a deletion by hand cannot hide
// that a claim had the volume.
const Finalizer = Driver + "/volume"

// Reasons of the events that an agent writes, and of the label "reason" on
// its metrics.
const (
	ReasonConfigRefused   = "ConfigRefused"
	ReasonEntryRefused    = "EntryRefused"
	ReasonCopied          = "IdentityCopied"
	ReasonDirMissing      = "DiscoveryDirMissing"
	ReasonDiskGone        = "DiskGone"
	ReasonDiskBack        = "DiskBack"
	ReasonQuarantined     = "Quarantined"
	ReasonWipeFailed      = "WipeFailed"
	ReasonWipeWaiting     = "WipeWaiting"
	ReasonWipeProgress    = "WipeProgress"
	ReasonWipeStopped     = "WipeStopped"
	ReasonJournalFailed   = "JournalFailed"
	ReasonJournalDamaged  = "JournalDamaged"
	ReasonPublishFailed   = "PublishFailed"
	ReasonDiskHung        = "DiskHung"
	ReasonTaintNotRemoved = "TaintNotRemoved"
	ReasonTaintNotSet     = "TaintNotSet"
	ReasonForeignVolume   = "ForeignVolume"
	ReasonCommanded       = "Commanded"
	ReasonClaimRefused    = "ClaimRefused"
	ReasonNotRegistered   = "CSINotRegistered"
	ReasonPoolUnfit       = "PoolUnfit"
	ReasonPoolForeign     = "PoolForeign"
)

// The environment of a command that erases a volume: a class's own, and
// `berth clean`. The first two are the established provisioner's names.
const (
	// EnvDevice is the path of the block device to erase.
	EnvDevice = "LOCAL_PV_BLKDEVICE"
	// EnvFilesystem is the path of the mounted directory to empty.
	EnvFilesystem = "LOCAL_PV_FILESYSTEM"
	// EnvIdentity is the identity of what is to be erased. `berth clean` erases
	// nothing else.
	EnvIdentity = "BERTH_IDENTITY"
)

// Reasons of the events that the controller writes about volumes and claims of
// nodes that are gone. The first is the established clean-up controller's.
const (
	ReasonNodeGone       = "ReferencedNodeDeleted"
	ReasonNodeBack       = "NodeBack"
	ReasonNodeAlive      = "NodeAlive"
	ReasonNodeUncertain  = "NodeUncertain"
	ReasonClaimDeleted   = "ClaimDeleted"
	ReasonRecoveryFailed = "RecoveryFailed"
)

// Reason of the event that the controller writes about a claim that has to wait
// for room.
const (
	ReasonNoRoom = "NoRoom"
)

// Standard paths on a node.
const (
	StateDir   = "/var/lib/berth"
	KubeletDir = "/var/lib/kubelet"
	ConfigFile = "/etc/berth/agent.yaml"
)
