package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrNoLVM: LVM's tools are not on this machine, or in this container.
	ErrNoLVM = errors.New("the tools of LVM are not here")
	// ErrNoMapper: the kernel has no device mapper, or this process may not use it.
	ErrNoMapper = errors.New("the kernel's device mapper cannot be used")
	// ErrNoThin: the kernel has no thin pools.
	ErrNoThin = errors.New("the kernel has no thin pools")
	// ErrNoVolumeGroup: there is no volume group of that name.
	ErrNoVolumeGroup = errors.New("there is no such volume group")
	// ErrNoExtents: the volume group has not that much left.
	ErrNoExtents = errors.New("there are not enough free extents in the volume group")
	// ErrExists: there is a logical volume of that name.
	ErrExists = errors.New("there is a logical volume of that name")
	// ErrPartial: a physical volume is missing, so nothing can be changed.
	ErrPartial = errors.New("a physical volume of the volume group is missing")
	// ErrNoVolume: no logical volume is what was named.
	ErrNoVolume = errors.New("there is no such logical volume")
)

// lvmConfig is added to the configuration of LVM's tools. They are not to wait
// for a udev daemon, whose answers do not reach a container, and make the nodes
// below /dev themselves; nor to start daemons in it; nor to rest on hints that
// another mount namespace keeps; nor to fill /etc/lvm, as the metadata is on
// each disk already.
const lvmConfig = `activation{udev_sync=0 udev_rules=0 monitoring=0} ` +
	`global{use_lvmpolld=0} backup{backup=0 archive=0} ` +
	`devices{hints="none" obtain_device_list_from_udev=0}`

// lvmDelay is how long a tool may go on after it was told to end. It ends
// between two changes by itself; one that is killed in the middle of one may
// leave a device suspended.
const lvmDelay = time.Minute

// lvmName is what LVM allows for the name of a volume group, but for those that
// are too long.
var lvmName = regexp.MustCompile(`^[a-zA-Z0-9_+.][-a-zA-Z0-9_+.]*$`)

// A VolumeGroup is one of LVM's, by its name. All that is done to it LVM's own
// tools do, one at a time, under LVM's own locks.
type VolumeGroup struct {
	name string
	tool string // path of lvm

	mu   sync.Mutex // guards the rest
	last VolumeGroupReport
	sum  headerSum // of before it was made; zero is not known
}

// OpenVolumeGroup finds the tools, and the device mapper of the kernel. Whether
// there is such a volume group, Report tells.
func OpenVolumeGroup(name string) (*VolumeGroup, error) {
	if !lvmName.MatchString(name) {
		return nil, fmt.Errorf("opening volume group %q: %w: that is not a name; allowed: letters, digits and + _ . -, no - in front", name, ErrNoVolumeGroup)
	}
	g := &VolumeGroup{name: name}
	for _, tool := range []string{"lvm", "/usr/sbin/lvm", "/sbin/lvm"} {
		path, err := exec.LookPath(tool)
		if err == nil {
			g.tool = path
			break
		}
	}
	if g.tool == "" {
		return nil, fmt.Errorf("opening volume group %q: %w", name, ErrNoLVM)
	}
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening volume group %q: %w: %w", name, ErrNoMapper, err)
	}
	return g, control.Close()
}

// Name is the volume group's.
func (g *VolumeGroup) Name() string { return g.name }

// run runs one of LVM's commands and returns what it printed.
func (g *VolumeGroup) run(ctx context.Context, command string, args ...string) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, g.tool, append([]string{command, "--config", lvmConfig}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LVM_SUPPRESS_FD_WARNINGS=1")
	var out bytes.Buffer
	said := &lines{}
	cmd.Stdout, cmd.Stderr = &out, said
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true} // what ends this process by a key is not for it
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = lvmDelay
	err := cmd.Run()
	said.close()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	err = said.explain(err)
	if known := lvmError(strings.Join(said.last, "\n")); known != nil {
		err = fmt.Errorf("%w: %w", known, err)
	}
	return nil, fmt.Errorf("running lvm %s on volume group %q: %w", command, g.name, err)
}

// lvmError is what the tools mean by what they say, nil if that is not known.
// The texts are those of LVM 2.02.98 to 2.03.31.
func lvmError(said string) error {
	for _, m := range []struct {
		text string
		err  error
	}{
		{"target support missing from kernel", ErrNoThin},
		{"Required device-mapper target(s) not detected", ErrNoThin},
		{"/dev/mapper/control: open failed", ErrNoMapper},
		{"while PVs are missing", ErrPartial},
		{"already exists in volume group", ErrExists},
		{"nsufficient free space", ErrNoExtents},
		{"nsufficient suitable", ErrNoExtents},
		{"in use.", ErrBusy},
		{"is used by another device", ErrBusy},
		{"Failed to find logical volume", ErrNoVolume},
	} {
		if strings.Contains(said, m.text) {
			return m.err
		}
	}
	if strings.Contains(said, "Volume group") && strings.Contains(said, "not found") {
		return ErrNoVolumeGroup
	}
	return nil
}
