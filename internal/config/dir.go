package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode"
)

// systemDirs belong to the operating system, the kubelet, the container
// runtimes or Berth. A class in, at or above one could publish, and later wipe,
// what the node needs to run.
var systemDirs = []string{
	"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys", "/usr",
	"/var/lib/berth", "/var/lib/containerd", "/var/lib/containers", "/var/lib/docker", "/var/lib/etcd",
	"/var/lib/kubelet", "/var/log", "/var/run",
}

// deviceDir reports whether a directory is below the system's /dev, and yet
// meant for devices and links to them. What is in use there has a verdict that keeps it from being
// published.
func deviceDir(dir string) bool {
	return within(dir, "/dev/mapper") || within(dir, "/dev/disk") && dir != "/dev/disk"
}

// checkDir wants an absolute, clean path outside the system's directories.
func (d *decoder) checkDir(p, dir string) {
	line := d.lineOf(p)
	switch {
	case d.lines[p] == 0 || d.reported(p):
		return
	case !path.IsAbs(dir) || path.Clean(dir) != dir || strings.ContainsFunc(dir, unicode.IsControl):
		d.report(line, p, "found %s; allowed: an absolute path without '.', '..', doubled or trailing '/', or control characters", quote(dir))
		return
	}
	for _, system := range systemDirs {
		if overlap(dir, system) && !deviceDir(dir) {
			d.report(line, p, "found %s, which is at, in or above the system's %s; allowed: a directory of its own, such as /mnt/disks", quote(dir), system)
			return
		}
	}
}

// checkAllowed wants mountDir at or beneath a directory that the agent was given.
func (d *decoder) checkAllowed(p, dir string, allowed []string) {
	if dir == "" || d.reported(p+".mountDir") || d.reported(p+".hostDir") || permitted(dir, allowed) {
		return
	}
	d.reportOutside(d.spelt(p), dir, allowed)
}

// permitted reports whether a directory is at or beneath one that the agent was
// given; any is when it was given none.
func permitted(dir string, allowed []string) bool {
	return len(allowed) == 0 || slices.ContainsFunc(allowed, func(a string) bool { return within(dir, path.Clean(a)) })
}

func (d *decoder) reportOutside(field, dir string, allowed []string) {
	d.report(d.lineOf(field), field,
		"found %s, outside the directories given to this agent (--allow-dir): %s", quote(dir), strings.Join(allowed, ", "))
}

// checkApart wants any two classes to have no directory in common, whichever
// way their directories are seen: an entry must belong to one class only. But
// classes may share a directory when each spells out its namePattern; discovery
// gives an entry that two of them match to the first. Directories with a
// problem of their own are left out.
func (d *decoder) checkApart(classes []Class) {
	dirs := make([][]namedDir, len(classes))
	for i, c := range classes {
		p := fmt.Sprintf("classes[%d]", i)
		for _, n := range []namedDir{{d.spelt(p), c.MountDir}, {p + ".hostDir", c.HostDir}} {
			if n.dir != "" && !d.reported(n.field) {
				dirs[i] = append(dirs[i], n)
			}
		}
	}
	for i := range dirs {
		for j := range i {
			if !d.shareDir(classes, i, j) {
				d.checkPair(dirs[i], dirs[j])
			}
		}
	}
}

// shareDir reports whether two classes divide one directory by name.
func (d *decoder) shareDir(classes []Class, i, j int) bool {
	return classes[i].HostDir == classes[j].HostDir && classes[i].MountDir == classes[j].MountDir &&
		d.lines[fmt.Sprintf("classes[%d].namePattern", i)] > 0 && d.lines[fmt.Sprintf("classes[%d].namePattern", j)] > 0
}

// checkPair reports the first thing that two classes have in common.
func (d *decoder) checkPair(class, other []namedDir) {
	for _, mine := range class {
		for _, its := range other {
			if overlap(mine.dir, its.dir) {
				d.report(d.lineOf(mine.field), mine.field, "found %s, which is %s %s of %s on line %d; allowed: a directory of its own for each class, or the same hostDir and mountDir with a namePattern in each",
					quote(mine.dir), relation(mine.dir, its.dir), quote(its.dir), d.place(its.field).Field, d.lineOf(its.field))
				return
			}
		}
	}
}

// namedDir is a directory and the field that gives it.
type namedDir struct{ field, dir string }

// spelt is the field that gives a class's mountDir: itself, or hostDir.
func (d *decoder) spelt(p string) string {
	if d.lines[p+".mountDir"] > 0 {
		return p + ".mountDir"
	}
	return p + ".hostDir"
}

func relation(dir, other string) string {
	switch {
	case dir == other:
		return "the same as"
	case within(dir, other):
		return "inside"
	default:
		return "above"
	}
}

// overlap reports whether one of two clean absolute paths is at or beneath the other.
func overlap(a, b string) bool { return within(a, b) || within(b, a) }

// within reports whether a clean absolute path is dir or beneath it, component
// by component: /mnt/d2 is not within /mnt/d.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}
