package main

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// scriptCleaners are the programs that the established provisioner's image has under
// /scripts: what `berth clean` does the same by, and how many of the arguments
// are looked at.
var scriptCleaners = map[string]struct {
	method string
	args   int
}{
	"quick_reset.sh": {"signatures", 0},
	"dd_zero.sh":     {"zero", 1},
	"shred.sh":       {"shred", 1},
	"blkdiscard.sh":  {"erase", 0},
	"fsclean.sh":     {"contents", 0},
}

// controllerFlags are known to the established node clean-up controller alone.
var controllerFlags = []string{"storageclass-names", "worker-threads", "pvc-deletion-delay", "stale-pv-discovery-interval", "resync", "kube-api-endpoint"}

// klogFlags are the flags of the library that the established programs log by,
// and whether they are switches, which take no value from the next argument.
var klogFlags = map[string]bool{
	"v": false, "vmodule": false, "log_dir": false, "log_file": false, "log_file_max_size": false, "stderrthreshold": false, "log_backtrace_at": false,
	"logtostderr": true, "alsologtostderr": true, "add_dir_header": true, "skip_headers": true, "skip_log_headers": true, "one_output": true,
	"legacy_stderr_threshold_behavior": true,
}

// debugVerbosity is the klog verbosity from which on debugging is wanted.
const debugVerbosity = 5

// established turns the ways in which the programs of the established static
// provisioner are started into a command line of berth. Name is what the
// process was started as, args are its arguments. Everything else is returned
// as it is.
func established(name string, args []string, env func(string) string) []string {
	name = path.Base(name)
	if c, ok := scriptCleaners[name]; ok {
		if len(args) > 0 && args[0] == "-h" {
			return []string{"clean", "--help"}
		}
		return append([]string{"clean", c.method}, args[:min(c.args, len(args))]...)
	}
	flags, verbose, ok := goFlags(args)
	switch {
	case name != "local-provisioner" && (name != "berth" || !ok || asksForHelp(args)):
		return args
	case slices.ContainsFunc(flags, func(f goFlag) bool { return slices.Contains(controllerFlags, f.name) }):
		return withFlags([]string{"controller"}, flags, verbose)
	case name == "local-provisioner" || env("MY_NODE_NAME") != "":
		for i := range flags {
			if flags[i].name == "listen-address" {
				flags[i].name = "listen"
			}
		}
		if !ok { // an argument that is no flag: the command says so
			return append([]string{"agent", "--stand-in"}, args...)
		}
		return withFlags([]string{"agent", "--stand-in"}, flags, verbose)
	}
	return args
}

func asksForHelp(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" })
}

// goFlag is a flag as Go's package flag reads it.
type goFlag struct {
	name, value string
	bare        bool // there is no value
}

// goFlags reads arguments as Go's package flag does, with one dash or two, and
// leaves out those of klog, except for what they say about verbosity. It
// returns false when one is no flag.
func goFlags(args []string) (flags []goFlag, verbose, ok bool) {
	for len(args) > 0 {
		name, isFlag := strings.CutPrefix(args[0], "-")
		name = strings.TrimPrefix(name, "-")
		if args = args[1:]; !isFlag || name == "" {
			return flags, verbose, false
		}
		f := goFlag{}
		var valued bool
		f.name, f.value, valued = strings.Cut(name, "=")
		toggle, klog := klogFlags[f.name]
		if !valued && !toggle && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			f.value, args, valued = args[0], args[1:], true
		}
		f.bare = !valued
		v, err := strconv.Atoi(f.value)
		switch {
		case f.name == "v" && err == nil:
			verbose = v >= debugVerbosity
		case klog && f.name != "v":
		default: // also -v with a value that is none: the command refuses it
			flags = append(flags, f)
		}
	}
	return flags, verbose, true
}

func withFlags(args []string, flags []goFlag, verbose bool) []string {
	for _, f := range flags {
		if f.bare {
			args = append(args, "--"+f.name)
		} else {
			args = append(args, "--"+f.name+"="+f.value)
		}
	}
	if verbose {
		args = append(args, "--log-level=debug")
	}
	return args
}
