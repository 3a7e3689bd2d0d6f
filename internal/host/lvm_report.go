package host

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// A VolumeGroupReport is what LVM tells of a volume group, all at one moment.
type VolumeGroupReport struct {
	UUID        string
	ExtentBytes int64
	Missing     int  // physical volumes that are not there
	Exported    bool // to another machine
	Shared      bool // with other machines, by lvmlockd
	Physical    []PhysicalVolume
	Logical     []LogicalVolume
}

// A PhysicalVolume is a disk of a volume group.
type PhysicalVolume struct {
	Name        string // the device's path; it may be another one after a reboot
	UUID        string
	Extents     int64
	Free        int64 // extents
	Allocatable bool  // it is there, and nobody has taken it out of use
}

// A LogicalVolume is one that LVM shows; the parts of others are not among them.
type LogicalVolume struct {
	Name     string
	UUID     string
	Bytes    int64
	Tags     []string
	Pool     string   // the thin pool that it is in, or none
	Ranges   []string // of extents, as LVM's commands take them: /dev/sda:0-9
	ThinPool *ThinPool
}

// A ThinPool is what logical volumes that are thin pools have besides.
type ThinPool struct {
	Zeroes bool // what it gives to a volume reads as zeroes
	Active bool
	// MetadataUsed is in percent. It is known of an active one only.
	MetadataUsed float64
}

// reportArgs are the columns that Report reads, by the names of LVM's reports.
// pvseg cannot be left out.
var reportArgs = []string{
	"--reportformat", "json", "--units", "b", "--nosuffix",
	"--configreport", "vg", "-o", "vg_uuid,vg_extent_size,vg_missing_pv_count,vg_exported,vg_shared",
	"--configreport", "pv", "-o", "pv_name,pv_uuid,pv_missing,pv_allocatable,pv_pe_count,pv_pe_alloc_count",
	"--configreport", "lv", "-o", "lv_name,lv_uuid,lv_size,lv_tags,lv_attr,pool_lv,metadata_percent",
	"--configreport", "seg", "-o", "lv_uuid,seg_pe_ranges",
	"--configreport", "pvseg", "-o", "pvseg_start",
}

// Report reads the volume group. As long as nobody has changed it, which takes
// no tool to see, that is the last report again; live asks for what of thin pools
// is not in the metadata, too: whether they are active and how full they are.
func (g *VolumeGroup) Report(ctx context.Context, live bool) (VolumeGroupReport, error) {
	g.mu.Lock()
	disks := g.last.Physical
	g.mu.Unlock()
	// The sum is older than what follows. A change in between is seen the next time.
	sum, known := headerSum{}, false
	if len(disks) > 0 {
		var err error
		sum, err = readHeaders(disks)
		known = err == nil // else the tool says what is wrong
	}
	g.mu.Lock()
	last, same := g.last, known && sum == g.sum
	g.mu.Unlock()
	if same && !live {
		return last, context.Cause(ctx)
	}
	out, err := g.run(ctx, "fullreport", append(reportArgs, g.name)...)
	if err != nil {
		return VolumeGroupReport{}, err
	}
	r, err := parseReport(out)
	if err != nil {
		return r, fmt.Errorf("reading LVM's report on volume group %q: %w", g.name, err)
	}
	if !known { // of the next one it will be
		sum = headerSum{}
	}
	g.mu.Lock()
	g.last, g.sum = r, sum
	g.mu.Unlock()
	return r, nil
}

// row is one row of a report. LVM prints numbers as text.
type row map[string]string

func (r row) number(column string) (int64, error) {
	n, err := strconv.ParseInt(r[column], 10, 64)
	if err == nil && n < 0 {
		err = fmt.Errorf("%d is less than 0", n)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", column, err)
	}
	return n, err
}

func parseReport(data []byte) (r VolumeGroupReport, err error) {
	var all struct {
		Report []struct{ VG, PV, LV, Seg []row }
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return r, err
	}
	if len(all.Report) != 1 || len(all.Report[0].VG) != 1 {
		return r, fmt.Errorf("it is on %d volume groups, not one", len(all.Report))
	}
	in := all.Report[0]
	vg := in.VG[0]
	r.UUID, r.Exported, r.Shared = vg["vg_uuid"], vg["vg_exported"] != "", vg["vg_shared"] != ""
	if r.ExtentBytes, err = vg.number("vg_extent_size"); err != nil {
		return r, err
	}
	if r.UUID == "" || r.ExtentBytes == 0 {
		return r, fmt.Errorf("it has the UUID %q and extents of %d bytes", r.UUID, r.ExtentBytes)
	}
	missing, err := vg.number("vg_missing_pv_count")
	if err != nil {
		return r, err
	}
	r.Missing = int(missing)
	for _, pv := range in.PV {
		p, err := physicalVolume(pv)
		if err != nil {
			return r, fmt.Errorf("physical volume %q: %w", pv["pv_name"], err)
		}
		r.Physical = append(r.Physical, p)
	}
	ranges := map[string][]string{}
	for _, s := range in.Seg {
		ranges[s["lv_uuid"]] = append(ranges[s["lv_uuid"]], strings.Fields(s["seg_pe_ranges"])...)
	}
	for _, lv := range in.LV {
		l, err := logicalVolume(lv)
		if err != nil {
			return r, fmt.Errorf("logical volume %q: %w", lv["lv_name"], err)
		}
		l.Ranges = ranges[l.UUID]
		r.Logical = append(r.Logical, l)
	}
	return r, nil
}

func physicalVolume(pv row) (p PhysicalVolume, err error) {
	p.Name, p.UUID = pv["pv_name"], pv["pv_uuid"]
	p.Allocatable = pv["pv_allocatable"] != "" && pv["pv_missing"] == ""
	if p.Extents, err = pv.number("pv_pe_count"); err != nil {
		return p, err
	}
	used, err := pv.number("pv_pe_alloc_count")
	p.Free = p.Extents - used
	return p, err
}

func logicalVolume(lv row) (l LogicalVolume, err error) {
	l.Name, l.UUID, l.Pool = lv["lv_name"], lv["lv_uuid"], lv["pool_lv"]
	if tags := lv["lv_tags"]; tags != "" {
		l.Tags = strings.Split(tags, ",")
	}
	if l.Bytes, err = lv.number("lv_size"); err != nil {
		return l, err
	}
	// The letters of lv_attr are in lvs(8): the first is the kind, the fifth the
	// state, the eighth whether new blocks are zeroed.
	attr := lv["lv_attr"]
	if len(attr) < 8 {
		return l, fmt.Errorf("lv_attr is %q", attr)
	}
	if attr[0] != 't' {
		return l, nil
	}
	l.ThinPool = &ThinPool{Zeroes: attr[7] == 'z'}
	if used := lv["metadata_percent"]; used != "" {
		l.ThinPool.Active = true
		l.ThinPool.MetadataUsed, err = strconv.ParseFloat(used, 64)
	}
	return l, err
}
