package config

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Wipe says how a released block device is erased.
type Wipe struct {
	Method WipeMethod
	// Passes is how often a method with passes overwrites the device, at least 1.
	Passes int
	// Command is the command line of WipeCommand, and empty with every other
	// method; CommandLine has one for each. Its first element is a program's
	// absolute path, or its name alone, which is then looked for in PATH.
	Command []string
	// Timeout bounds one run of a WipeCommand or of a Job.
	Timeout time.Duration
	// Job runs the wipe in a Kubernetes Job on the node, not in the agent. The
	// Job's container runs CommandLine.
	Job bool
	// Verify says how much is read back of what the agent itself has erased; ""
	// is VerifySampled.
	Verify WipeVerify
	// BytesPerSecond bounds what the agent itself writes, discards and reads back
	// of one device; 0 is no bound.
	BytesPerSecond int64
}

// CommandLine is the command line that erases the device named by the
// environment variable LOCAL_PV_BLKDEVICE as w says: Command itself, or what
// does the same in Berth's image. The paths under /scripts are those of the
// established static provisioner, whose images answer them too.
func (w Wipe) CommandLine() []string {
	switch w.Method {
	case WipeZero:
		return []string{"/scripts/dd_zero.sh", strconv.Itoa(w.Passes)}
	case WipeShred:
		return []string{"/scripts/shred.sh", strconv.Itoa(w.Passes)}
	case WipeSignatures:
		return []string{"/scripts/quick_reset.sh"}
	case WipeErase:
		return []string{"/usr/local/bin/berth", "clean", "erase"}
	case WipeNVMeFormat:
		return []string{"/usr/local/bin/berth", "clean", "nvme-format"}
	}
	return w.Command
}

// WipeMethod is a way to erase a block device.
type WipeMethod string

// The wipe methods.
const (
	// WipeErase discards where the device then reads zeros, else overwrites with
	// zeros, and reads back as Verify says.
	WipeErase WipeMethod = "Erase"
	// WipeZero overwrites with zeros, Passes times, and reads back as WipeErase.
	WipeZero WipeMethod = "Zero"
	// WipeShred overwrites with random bytes, Passes times, then with zeros, and
	// reads back as WipeErase.
	WipeShred WipeMethod = "Shred"
	// WipeSignatures discards the device if it can, overwrites with zeros where
	// something tells of a filesystem or a partition table, and reads that back.
	// It is quick, and what the device does not discard the next tenant can find.
	WipeSignatures WipeMethod = "Signatures"
	// WipeNVMeFormat has an NVMe namespace erase itself by the command Format NVM,
	// which reaches blocks that are not mapped any more, and then does as
	// WipeErase. Where the device cannot, nothing is erased.
	WipeNVMeFormat WipeMethod = "NVMeFormat"
	// WipeCommand runs Command and takes its exit status for the result, as
	// Berth cannot know what it does.
	WipeCommand WipeMethod = "Command"
)

// WipeVerify is how much of an erased device is read back.
type WipeVerify string

const (
	// VerifySampled reads all of a device up to 1 GiB, of a larger one 1 GiB, at
	// both ends and in samples between them.
	VerifySampled WipeVerify = "Sampled"
	// VerifyFull reads all of the device.
	VerifyFull WipeVerify = "Full"
)

// Defaults of the fields of Wipe.
const (
	DefaultShredPasses = 3
	DefaultWipeTimeout = 24 * time.Hour
)

// DefaultWipe is the wipe of a class that says nothing of it.
var DefaultWipe = Wipe{Method: WipeErase, Passes: 1, Timeout: DefaultWipeTimeout}

var wipeVerifies = []string{string(VerifySampled), string(VerifyFull)}

var wipeMethods = []string{string(WipeErase), string(WipeZero), string(WipeShred), string(WipeSignatures), string(WipeNVMeFormat), string(WipeCommand)}

// minBytesPerSecond keeps a slip of the finger, such as a rate without its unit,
// from wiping for years.
const minBytesPerSecond = 1 << 20

// maxPasses keeps a slip of the finger from wiping for months.
const maxPasses = 100

// wipe decodes the wipe of a class, over the defaults in w.
func (d *decoder) wipe(p string, n *yaml.Node, w *Wipe) { d.wipeWith(p, n, w, wipeMethods) }

// wipeWith is wipe where only some methods are allowed, and some fields are not.
func (d *decoder) wipeWith(p string, n *yaml.Node, w *Wipe, methods []string, without ...string) {
	passes, timeout := int64(0), time.Duration(0)
	fields := []field{
		{"method", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&w.Method), methods) }},
		{"passes", func(p string, n *yaml.Node) { d.whole(p, n, &passes, 1, maxPasses) }},
		{"command", func(p string, n *yaml.Node) { d.texts(p, n, &w.Command) }},
		{"timeout", func(p string, n *yaml.Node) { d.duration(p, n, &timeout, time.Second, "24h") }},
		{"job", func(p string, n *yaml.Node) { d.boolean(p, n, &w.Job) }},
		{"verify", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&w.Verify), wipeVerifies) }},
		{"bytesPerSecond", func(p string, n *yaml.Node) { d.bytes(p, n, &w.BytesPerSecond, minBytesPerSecond, "200Mi") }},
	}
	d.mapping(p, n, nil, slices.DeleteFunc(fields, func(f field) bool { return slices.Contains(without, f.name) }))
	if passes > 0 {
		w.Passes = int(passes)
	} else if w.Method == WipeShred {
		w.Passes = DefaultShredPasses
	}
	if timeout > 0 {
		w.Timeout = timeout
	}
	d.checkWipe(p, *w)
}

// checkWipe looks at the fields of a wipe that need or exclude each other.
func (d *decoder) checkWipe(p string, w Wipe) {
	field := p + ".command"
	command := d.lines[field]
	switch {
	case d.reported(p+".method") || d.reported(field):
	case w.Method == WipeCommand && command == 0:
		d.report(d.lineOf(p), field, "missing; method Command needs it")
	case w.Method != WipeCommand && command > 0:
		d.report(command, field, "found with method %s; allowed: with method Command only", w.Method)
	case command > 0 && len(w.Command) == 0:
		d.report(command, field, "found an empty list; allowed: a program and its arguments")
	case command > 0 && !program(w.Command[0]) && !d.reported(field+"[0]"):
		d.report(command, field+"[0]", "found %s; allowed: a program's absolute path, or its name", quote(w.Command[0]))
	}
	if d.reported(p + ".method") {
		return
	}
	if line := d.lines[p+".passes"]; line > 0 && w.Method != WipeZero && w.Method != WipeShred {
		d.report(line, p+".passes", "found with method %s; allowed: with methods Zero and Shred only", w.Method)
	}
	if line := d.lines[p+".verify"]; line > 0 && (w.Job || w.Method == WipeCommand || w.Method == WipeSignatures) {
		d.report(line, p+".verify", "found with method %s and job: %v; allowed: with Erase, Zero, Shred and NVMeFormat in the agent itself", w.Method, w.Job)
	}
	if line := d.lines[p+".bytesPerSecond"]; line > 0 && (w.Job || w.Method == WipeCommand) {
		d.report(line, p+".bytesPerSecond", "found with method %s and job: %v; allowed: where the agent itself does the wipe", w.Method, w.Job)
	}
	if line := d.lines[p+".timeout"]; line > 0 && w.Method != WipeCommand && !w.Job {
		d.report(line, p+".timeout", "found with method %s and without job: true; allowed: where another program does the wipe", w.Method)
	}
}

// program reports whether s can be run: a relative path would depend on where
// the agent was started.
func program(s string) bool { return s != "" && (path.IsAbs(s) || !strings.Contains(s, "/")) }
