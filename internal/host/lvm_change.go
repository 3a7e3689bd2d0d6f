package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/internal/disk"
)

// A NewVolume is a logical volume to be made. What its extents held is not
// erased.
type NewVolume struct {
	Name    string
	Bytes   int64 // a multiple of the volume group's extents, and of the stripes
	Tags    []string
	Stripes int      // over how many physical volumes; 1 for none
	On      []string // the physical volumes, or ranges of them; none for any
	Thin    string   // the thin pool to make it in, or none
}

// Create makes a logical volume and activates it.
func (g *VolumeGroup) Create(ctx context.Context, n NewVolume) error {
	args := []string{"--yes", "--name", n.Name, "--setactivationskip", "n"}
	for _, tag := range n.Tags {
		args = append(args, "--addtag", tag)
	}
	if n.Thin != "" {
		args = append(args, "--type", "thin", "--thinpool", n.Thin, "--virtualsize", size(n.Bytes), g.name)
	} else {
		// It asks nothing and erases nothing: who makes it does that.
		args = append(args, "--zero", "n", "--wipesignatures", "n", "--size", size(n.Bytes))
		args = append(append(append(args, layout(n.Stripes)...), g.name), n.On...)
	}
	_, err := g.run(ctx, "lvcreate", args...)
	return err
}

func size(bytes int64) string { return strconv.FormatInt(bytes, 10) + "b" }

// layout takes free extents wherever they are, whatever policy the volume group
// has: else there would be room that cannot be used.
func layout(stripes int) []string {
	if stripes > 1 {
		return []string{"--type", "striped", "--stripes", strconv.Itoa(stripes), "--alloc", "normal"}
	}
	return []string{"--type", "linear", "--alloc", "normal"}
}

// Extend makes a logical volume hold that many bytes, more than it does. One in
// a thin pool has neither stripes nor physical volumes.
func (g *VolumeGroup) Extend(ctx context.Context, name string, bytes int64, stripes int, on []string) error {
	args := []string{"--yes", "--size", size(bytes)}
	if stripes > 0 {
		args = append(args, "--alloc", "normal", "--stripes", strconv.Itoa(stripes))
	}
	_, err := g.run(ctx, "lvextend", append(append(args, g.name+"/"+name), on...)...)
	return err
}

// A Which names one logical volume, and the proof that it is the one: LVM's
// command compares all of it, under its lock, right before it acts.
type Which struct {
	Name string
	UUID string // may be left out
	Tag  string // one that it has; may be left out
}

func (g *VolumeGroup) selected(w Which, args ...string) []string {
	terms := []string{`lv_name="` + w.Name + `"`}
	if w.UUID != "" {
		terms = append(terms, `lv_uuid="`+w.UUID+`"`)
	}
	if w.Tag != "" {
		terms = append(terms, `lv_tags="`+w.Tag+`"`)
	}
	return append(args, "--select", strings.Join(terms, " && "), g.name)
}

// AddTag gives a logical volume a tag.
func (g *VolumeGroup) AddTag(ctx context.Context, w Which, tag string) error {
	return g.tag(ctx, w, "--addtag", tag)
}

// DelTag takes a tag off a logical volume.
func (g *VolumeGroup) DelTag(ctx context.Context, w Which, tag string) error {
	return g.tag(ctx, w, "--deltag", tag)
}

func (g *VolumeGroup) tag(ctx context.Context, w Which, how, tag string) error {
	out, err := g.run(ctx, "lvchange", g.selected(w, how, tag)...)
	if err == nil && len(bytes.TrimSpace(out)) == 0 { // else it says what it has changed
		err = fmt.Errorf("tagging %+v in volume group %q: %w", w, g.name, ErrNoVolume)
	}
	return err
}

// Activate makes a logical volume's device. One that is active is no error, nor
// is one that is not there.
func (g *VolumeGroup) Activate(ctx context.Context, w Which) error {
	_, err := g.run(ctx, "lvchange", g.selected(w, "--activate", "y", "--ignoreactivationskip")...)
	return err
}

// Deactivate takes a logical volume's device away; one that is open, for longer
// than programs that look at each new device have it open, is ErrBusy.
func (g *VolumeGroup) Deactivate(ctx context.Context, w Which) error {
	_, err := g.run(ctx, "lvchange", g.selected(w, "--activate", "n")...)
	return err
}

// Refresh makes an active logical volume's device what LVM says that it is, and
// lets it go on when it was suspended.
func (g *VolumeGroup) Refresh(ctx context.Context, w Which) error {
	_, err := g.run(ctx, "lvchange", g.selected(w, "--refresh")...)
	return err
}

// Remove removes a logical volume, which gives its extents back as they are; one
// whose device is open is ErrBusy. One that is not there is no error.
func (g *VolumeGroup) Remove(ctx context.Context, w Which) error {
	_, err := g.run(ctx, "lvremove", g.selected(w, "--yes")...)
	return err
}

// DeviceName is how the device mapper calls a logical volume: LVM joins the two
// names with a "-", and doubles each within them.
func (g *VolumeGroup) DeviceName(name string) string {
	double := strings.NewReplacer("-", "--")
	return double.Replace(g.name) + "-" + double.Replace(name)
}

// Device finds the device of an active logical volume; ErrNoVolume when it is
// not active. The volume's UUID may be left out.
func (g *VolumeGroup) Device(vgUUID string, w Which) (disk.Mapped, error) {
	all, err := disk.ReadMapped(os.DirFS("/"))
	if err != nil {
		return disk.Mapped{}, err
	}
	plain := strings.NewReplacer("-", "")
	uuid := "LVM-" + plain.Replace(vgUUID) + plain.Replace(w.UUID)
	name := g.DeviceName(w.Name)
	for _, m := range all {
		if m.Name == name && strings.HasPrefix(m.UUID, uuid) {
			return m, nil
		}
	}
	return disk.Mapped{}, fmt.Errorf("finding the device of %s/%s: %w, or it is not active", g.name, w.Name, ErrNoVolume)
}

// CheckUnused is ErrBusy, with who uses it, for a block device that is mounted,
// claimed or open for writing. It proves with check that this is the device that
// the caller means. One that is not there is not in use.
func CheckUnused(path string, check func(fd int) error) error {
	handle, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening device %q: %w", path, err)
	}
	defer unix.Close(handle)
	fd, err := openShared(handle)
	if err == nil {
		err = check(fd)
		unix.Close(fd)
	}
	if err != nil {
		return fmt.Errorf("looking whether device %q is in use: %w", path, err)
	}
	return nil
}
