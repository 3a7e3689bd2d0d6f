// Package hand is the benchmark's hand inside a node: a process that mounts,
// fills and looks into directories there, and runs the agent that is measured.
//
// The benchmark talks to it over its standard input and output, one request
// and one answer a line, in JSON. It ends with its input, and takes away all
// that it made. It measures nothing but the moments of its own system calls
// and what the kernel says of the agent; it knows nothing of Kubernetes.
package hand

import "time"

// Place is where a hand works. All paths are the node's.
type Place struct {
	Mounts string // the discovery directory that it mounts volumes in
	Work   string // a directory of its own, for the volumes' contents and the agent's state
}

// Request asks for one thing: the operation is one of the constants below.
type Request struct {
	Op       string
	Names    []string // of volumes, for Mount, Unmount, Fill and Full
	Bytes    int64    // of the pool, for Pool
	InMemory bool     // that its file is no disk's, for Pool
	Count    int      // of subvolumes, for Carve
	Args     []string // the command, for Command; of the controller's command line, for Placer; of the agent's command line, for Start and Restart; the URL, for Ready
}

// Operations.
const (
	Mount   = "mount"   // make a directory for each name and bind it into the discovery directory
	Unmount = "unmount" // the reverse; contents are removed
	Fill    = "fill"    // write a few small files into each volume
	Full    = "full"    // name the volumes that are not empty
	Start   = "start"   // start the agent with an empty state directory
	Restart = "restart" // end the agent and start it anew, with its state
	Ready   = "ready"   // wait until a URL answers that the agent is ready
	Stop    = "stop"    // end the agent and remove its state
	Usage   = "usage"   // say what the agent uses
	Pool    = "pool"    // make a btrfs in a file and mount it at the place's PoolDir
	Unpool  = "unpool"  // the reverse
	Carve   = "carve"   // make subvolumes with a limit there and remove them again, as the kernel's own work
	Placer  = "placer"  // start the controller; Stop ends it too
	Command = "command" // run a command and say what it printed
)

// Answer is what came of a request.
type Answer struct {
	Error string
	// Moments are, for Mount, just before each mount(2); for Start and Restart,
	// just before the process is made; for Ready, when the answer came; for
	// Command, when it began and ended.
	Moments []time.Time
	Names   []string // of Full
	Usage   Resources
	Took    time.Duration // of Carve, without the removal
	Output  string        // of Command
}

// Resources are what a process uses, as the kernel counts it.
type Resources struct {
	ResidentBytes int64 // VmRSS
	AnonBytes     int64 // RssAnon: memory of its own
	FileBytes     int64 // RssFile: pages of the program, which the kernel may drop
	PeakBytes     int64 // VmHWM: the most that ResidentBytes was
	// GroupPeakBytes is the most that was charged for it, with the commands that it
	// runs and what the kernel caches for both: what a container's limit is on.
	GroupPeakBytes int64
	CPU            time.Duration
}

// Files that Fill writes into each volume: few and small, because a figure that
// is to be beside a bare client's must not be about the disk.
const (
	fillDirs      = 2
	fillFiles     = 4 // in each directory
	fillFileBytes = 4 << 10
)

// StateDir is the agent's, in the hand's directory.
func (p Place) StateDir() string { return p.Work + "/state" }

// PoolDir is where the pool's filesystem is mounted.
func (p Place) PoolDir() string { return p.Work + "/pool" }

// PlacerLog is where the controller's log goes.
func (p Place) PlacerLog() string { return p.Work + "/controller.log" }

// LogFile is where the agent's log goes.
func (p Place) LogFile() string { return p.Work + "/agent.log" }

func (p Place) point(name string) string    { return p.Mounts + "/" + name }
func (p Place) contents(name string) string { return p.Work + "/volumes/" + name }
