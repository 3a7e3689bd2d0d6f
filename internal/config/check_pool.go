package config

import (
	"fmt"
	"regexp"
	"slices"
)

// poolName is also what a volume's handle can carry beside two other names.
var poolName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$`)

// lvmName is a name as lvm(8), "Valid names", allows it. The words in
// lvmReserved are LVM's own in names of logical volumes.
var (
	lvmName     = regexp.MustCompile(`^[a-zA-Z0-9+_.][-a-zA-Z0-9+_.]{0,126}$`)
	lvmReserved = regexp.MustCompile(`^(snapshot|pvmove)|_(cdata|cmeta|corig|cpool|cvol|iorig|mimage|mlog|pmspare|rimage|rmeta|tdata|tmeta|vdata|vorigin|wcorig|imeta)`)
)

// checkPools applies the rules for pools, and for what there must be at all.
func (d *decoder) checkPools(a *Agent, allowedDirs []string) {
	for i, v := range a.Pools {
		p := poolPath(i)
		d.checkPoolName(p, a.Pools, i)
		d.checkKind(p, v)
		d.checkPoolDir(p+".path", v.Path, allowedDirs)
		d.checkVolumeGroup(p, a.Pools, i)
		d.checkPoolClasses(p, v, a.Classes)
	}
	d.checkPoolsApart(a)
}

func poolPath(i int) string { return fmt.Sprintf("pools[%d]", i) }

// checkSome wants the file to be about something.
func (d *decoder) checkSome(a *Agent) {
	classes, pools := d.lines["classes"], d.lines["pools"]
	switch {
	case len(a.Classes) > 0 || len(a.Pools) > 0 || d.reported("") || d.reported("classes") || d.reported("pools"):
	case classes > 0:
		d.report(classes, "classes", "found an empty list; allowed: at least one class, or none beside pools")
	case pools > 0:
		d.report(pools, "pools", "found an empty list; allowed: at least one pool, or none beside classes")
	default:
		d.report(d.lineOf(""), "classes", "missing; every configuration needs it, or pools")
	}
}

func (d *decoder) checkPoolName(p string, pools []Pool, i int) {
	field, name := p+".name", pools[i].Name
	if d.lines[field] == 0 || d.reported(field) {
		return
	}
	if !poolName.MatchString(name) {
		d.report(pools[i].Line, field, "found %s; allowed: at most 32 lower-case letters, digits and '-', beginning and ending with a letter or digit", quote(name))
		return
	}
	for j := range i {
		if pools[j].Name == name {
			d.report(pools[i].Line, field, "found %s a second time; the first is on line %d (%s); allowed: one pool of a name", quote(name), pools[j].Line, poolPath(j))
			return
		}
	}
}

// checkKind looks for the fields that a kind needs, and for those of others.
func (d *decoder) checkKind(p string, v Pool) {
	if v.Kind == "" {
		return // reported
	}
	for _, f := range d.poolFields(&Pool{}) {
		kinds, some := fieldKinds[f.name]
		line := d.lines[p+"."+f.name]
		if some && line > 0 && !slices.Contains(kinds, v.Kind) {
			d.report(line, p+"."+f.name, "found with kind %s; allowed: with %s only", v.Kind, forKind(f.name))
		}
	}
	needs := func(name string) {
		if field := p + "." + name; d.lines[field] == 0 {
			d.report(d.lineOf(p), field, "missing; kind %s needs it", v.Kind)
		}
	}
	switch v.Kind {
	case PoolLVM:
		needs("volumeGroup")
		if line := d.lines[p+".stripes"]; line > 0 && v.Thin != nil {
			d.report(line, p+".stripes", "found with thin; allowed: without it, as a thin volume lies where its thin pool does")
		}
	case PoolDir:
		needs("path")
		field := p + ".unenforced"
		if !v.Unenforced && !d.reported(field) {
			d.report(d.lineOf(field, p), field, "not true; nothing keeps a volume of kind dir within its size, so the pool needs unenforced: true")
		}
	default:
		needs("path")
	}
}

// checkPoolDir applies the rules for a class's directory, and those that are
// stricter for a directory that Berth itself writes to.
func (d *decoder) checkPoolDir(field, dir string, allowed []string) {
	d.checkDir(field, dir)
	if d.lines[field] == 0 || d.reported(field) {
		return
	}
	if within(dir, "/dev") {
		d.report(d.lineOf(field), field, "found %s, which is inside the system's /dev; allowed: a directory of its own, such as /mnt/pool", quote(dir))
		return
	}
	if !permitted(dir, allowed) {
		d.reportOutside(field, dir, allowed)
	}
}

// checkVolumeGroup wants a group's space to be given away by one pool only.
func (d *decoder) checkVolumeGroup(p string, pools []Pool, i int) {
	v := pools[i]
	d.checkLVMName(p+".volumeGroup", v.VolumeGroup, "a volume group")
	if v.Thin != nil {
		d.checkLVMName(p+".thin.pool", v.Thin.Pool, "a thin pool")
	}
	if v.VolumeGroup == "" || v.Kind != PoolLVM {
		return
	}
	for j := range i {
		o := pools[j]
		if o.VolumeGroup != v.VolumeGroup || o.Kind != PoolLVM || o.Thin != nil && v.Thin != nil && o.Thin.Pool != v.Thin.Pool {
			continue
		}
		d.report(d.lineOf(p+".volumeGroup"), p+".volumeGroup", "found %s, which %s on line %d has; allowed: a volume group in one pool, or several thin pools of it in one each", quote(v.VolumeGroup), poolPath(j), o.Line)
		return
	}
}

func (d *decoder) checkLVMName(field, name, what string) {
	if d.lines[field] == 0 || d.reported(field) {
		return
	}
	if !lvmName.MatchString(name) || name == "." || name == ".." || lvmReserved.MatchString(name) && what != "a volume group" {
		d.report(d.lineOf(field), field, "found %s; allowed: the name of %s: at most 127 letters, digits, '+', '_', '.' and '-', not beginning with '-', and none that LVM uses itself", quote(name), what)
	}
}

// checkPoolClasses wants StorageClasses' names. A class has found volumes or
// carved ones: its provisioner says which.
func (d *decoder) checkPoolClasses(p string, v Pool, found []Class) {
	if field := p + ".classes"; d.lines[field] > 0 && !d.reported(field) && len(v.Classes) == 0 {
		d.report(d.lines[field], field, "found an empty list; allowed: StorageClasses, or leave it out for each that names the pool")
	}
	for i, name := range v.Classes {
		field := fmt.Sprintf("%s.classes[%d]", p, i)
		if d.reported(field) {
			continue
		}
		if !subdomain(name) {
			d.report(d.lineOf(field), field, "found %s; allowed: a StorageClass's name: at most 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit", quote(name))
			continue
		}
		if first := slices.Index(v.Classes, name); first < i {
			d.report(d.lineOf(field), field, "found %s a second time; the first is on line %d", quote(name), d.lineOf(fmt.Sprintf("%s.classes[%d]", p, first)))
			continue
		}
		for j, c := range found {
			if c.Name == name {
				d.report(d.lineOf(field), field, "found %s, which is on line %d (classes[%d]), too; allowed: a StorageClass for found volumes or for carved ones", quote(name), c.Line, j)
				break
			}
		}
	}
}

// checkPoolsApart wants no pool to lie in or above another, or a class's
// directory: what Berth makes in one would be found in the other.
func (d *decoder) checkPoolsApart(a *Agent) {
	var others []namedDir
	for i, c := range a.Classes {
		p := fmt.Sprintf("classes[%d]", i)
		others = append(others, namedDir{p + ".hostDir", c.HostDir})
		if c.MountDir != c.HostDir {
			others = append(others, namedDir{p + ".mountDir", c.MountDir})
		}
	}
	for i, v := range a.Pools {
		mine := namedDir{poolPath(i) + ".path", v.Path}
		if mine.dir == "" || d.reported(mine.field) {
			continue
		}
		for _, its := range others {
			if its.dir != "" && !d.reported(its.field) && overlap(mine.dir, its.dir) {
				d.report(d.lineOf(mine.field), mine.field, "found %s, which is %s %s of %s on line %d; allowed: a directory of its own for each pool",
					quote(mine.dir), relation(mine.dir, its.dir), quote(its.dir), its.field, d.lineOf(its.field))
				break
			}
		}
		others = append(others, mine)
	}
}

// MovedPools returns an *Errors that names every pool of before that a has not,
// or has elsewhere, although contents, called with its name, says what is in
// it; "" is nothing. It is apart from Decode because only a caller with a
// machine knows that.
func (a *Agent) MovedPools(before *Agent, contents func(pool string) string, file string) error {
	var problems []Problem
	for _, old := range before.Pools {
		i := slices.IndexFunc(a.Pools, func(v Pool) bool { return v.Name == old.Name })
		if i >= 0 && a.Pools[i].Where() == old.Where() {
			continue
		}
		what := contents(old.Name)
		switch {
		case what == "":
		case i < 0:
			line := 1
			if len(a.Pools) > 0 {
				line = a.Pools[0].Line
			}
			problems = append(problems, Problem{File: file, Line: line, Field: "pools",
				Message: fmt.Sprintf("the pool %q (%s) is missing, and has %s; allowed: to leave it in until they are gone", old.Name, old.Where(), what)})
		default:
			problems = append(problems, Problem{File: file, Line: a.Pools[i].Line, Field: poolPath(i) + "." + moved(old, a.Pools[i]),
				Message: fmt.Sprintf("the pool %q is now %s, and has %s in %s; allowed: no change until they are gone, or another pool beside it", old.Name, a.Pools[i].Where(), what, old.Where())})
		}
	}
	return AsError(problems)
}

// moved is the field by which a pool is elsewhere than it was.
func moved(old, now Pool) string {
	switch {
	case old.Kind != now.Kind:
		return "kind"
	case old.Path != now.Path:
		return "path"
	case old.VolumeGroup != now.VolumeGroup:
		return "volumeGroup"
	}
	return "thin"
}
