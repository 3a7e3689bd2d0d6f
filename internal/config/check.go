package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/berth-storage/berth/api"
)

// check applies the rules that concern values, once all of them are decoded. A
// value that could not be decoded is empty here and has been reported.
func (d *decoder) check(a *Agent, allowedDirs []string) {
	d.checkSome(a)
	for i, c := range a.Classes {
		p := fmt.Sprintf("classes[%d]", i)
		d.checkName(p, a.Classes, i)
		d.checkDir(p+".hostDir", c.HostDir)
		if c.MountDir != c.HostDir {
			d.checkDir(p+".mountDir", c.MountDir)
		}
		d.checkAllowed(p, c.MountDir, allowedDirs)
		d.checkPattern(p+".namePattern", c.NamePattern)
		d.checkModes(p, c)
	}
	d.checkApart(a.Classes)
	d.checkPools(a, allowedDirs)
	d.checkLabels(a)
}

func (d *decoder) checkName(p string, classes []Class, i int) {
	name := classes[i].Name
	if name == "" && d.lines[p+".name"] == 0 {
		return
	}
	if !subdomain(name) {
		if !d.reported(p + ".name") {
			d.report(classes[i].Line, p+".name", "found %s; allowed: a StorageClass's name: at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit", quote(name))
		}
		return
	}
	for j := range i {
		if classes[j].Name == name {
			d.report(classes[i].Line, p+".name", "found %s a second time; the first is on line %d (classes[%d]); allowed: one class for a StorageClass", quote(name), classes[j].Line, j)
			return
		}
	}
}

// checkModes looks at the fields of a class that exclude each other.
func (d *decoder) checkModes(p string, c Class) {
	if c.ReadOnly && c.VolumeMode == Block {
		d.report(d.lineOf(p+".readOnly"), p+".readOnly", "found true with volumeMode: Block; allowed: readOnly in Filesystem classes only")
	}
	if c.ReadOnly && c.AccessMode != ReadOnlyMany {
		d.report(d.lineOf(p+".accessMode"), p+".accessMode", "found %s with readOnly: true; allowed: ReadOnlyMany, or leave it out", c.AccessMode)
	}
	if c.Shared && c.VolumeMode == Block {
		d.report(d.lineOf(p+".shared"), p+".shared", "found true with volumeMode: Block; allowed: shared in Filesystem classes only")
	}
	if c.FSType != "" && c.VolumeMode == Block {
		d.report(d.lineOf(p+".fsType"), p+".fsType", "found %q with volumeMode: Block; allowed: fsType in Filesystem classes only, for the block devices in them", c.FSType)
	}
}

func (d *decoder) checkPattern(p, pattern string) {
	if d.lines[p] == 0 || d.reported(p) {
		return
	}
	for _, glob := range globs(pattern) {
		problem := ""
		if glob == "" {
			problem = "an empty glob"
		} else if strings.Contains(glob, "/") {
			problem = fmt.Sprintf("%s, which matches no name, as names have no '/'", quote(glob))
		} else if _, err := path.Match(glob, ""); err != nil {
			problem = fmt.Sprintf("%s, which is not a glob", quote(glob))
		}
		if problem != "" {
			d.report(d.lines[p], p, "found %s; allowed: globs of *, ?, [a-z] and \\, with commas between them", problem)
		}
	}
}

func (d *decoder) checkLabels(a *Agent) {
	if d.lines["startupTaint"] > 0 && !labelKey(a.StartupTaint) && !d.reported("startupTaint") {
		d.report(d.lines["startupTaint"], "startupTaint", "found %s; allowed: a taint's key such as example.com/agent-not-ready", quote(a.StartupTaint))
	}
	first := map[string]int{}
	for i, key := range a.NodeLabels {
		p := fmt.Sprintf("nodeLabels[%d]", i)
		if d.reported(p) {
			continue
		}
		d.checkLabelKey(p, key)
		if line, twice := first[key]; twice {
			d.report(d.lineOf(p), p, "found %s a second time; the first is on line %d", quote(key), line)
			continue
		}
		first[key] = d.lineOf(p)
	}
	for _, key := range slices.Sorted(maps.Keys(a.Labels)) {
		p, value := join("labels", key), a.Labels[key]
		d.checkLabelKey(p, key)
		if !labelValue(value) && !d.reported(p) {
			d.report(d.lineOf(p), p, "found %s; allowed: a label's value: at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit, or \"\"", quote(value))
		}
	}
}

func (d *decoder) checkLabelKey(p, key string) {
	switch {
	case !labelKey(key):
		d.report(d.lineOf(p), p, "found %s; allowed: a label's key such as team or example.com/team", quote(key))
	case strings.HasPrefix(key, api.Driver+"/"):
		d.report(d.lineOf(p), p, "found %s; the prefix %s/ is Berth's own; allowed: any other", quote(key), api.Driver)
	}
}

// reported says whether a field's value has a problem already.
func (d *decoder) reported(p string) bool { return d.faulty[p] }
