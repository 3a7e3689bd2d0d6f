package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/berth-storage/berth/internal/pool"
)

// Pool says what volumes are carved out of for claims.
type Pool struct {
	// Name differs from all other pools' of the file. A volume's handle and its
	// record in the journal have it, so it stays while there are volumes.
	Name string
	Kind PoolKind
	// Path is where the pool is, absolute and clean: of kinds xfs and btrfs a
	// mount point, of kind dir any directory, of kind lvm "".
	Path string
	// VolumeGroup is the LVM volume group of kind lvm.
	VolumeGroup string
	// Stripes is over how many disks a volume of kind lvm is laid. It is at least
	// 1, but 0 where volumes are thin and for the other kinds.
	Stripes int
	// Thin makes the volumes of kind lvm thin; nil for thick ones.
	Thin *Thin
	// Classes are the StorageClasses that may carve from the pool. None: each
	// that names the pool, or where it is the only one each that names none.
	Classes []string
	// Reserve is never promised to a volume.
	Reserve pool.Reserve
	// Unenforced says, for kind dir, that it is known that nothing keeps its
	// volumes within their sizes.
	Unenforced bool
	// Wipe says how a volume of kind lvm is erased. Its Method is one of
	// poolWipeMethods. It is the zero Wipe for the other kinds.
	Wipe Wipe
	// Line is the line of the file on which the pool's name stands.
	Line int
}

// Thin says how volumes of a pool of kind lvm share space that they did not
// write to yet.
type Thin struct {
	Pool string // the thin pool's name in the volume group
	// Overprovision is how many bytes are promised for one that there is, from 1
	// to MaxOverprovision.
	Overprovision float64
	// MetadataLowWater is how many hundredths of the thin pool's metadata have to
	// be free for another volume to be carved, from 1 to 99.
	MetadataLowWater int
}

// PoolKind is what a pool is made of.
type PoolKind string

// The kinds of pools.
const (
	PoolLVM   PoolKind = "lvm"   // logical volumes
	PoolXFS   PoolKind = "xfs"   // directories of an XFS, or of an ext4, with project quota
	PoolBtrfs PoolKind = "btrfs" // subvolumes with quota
	PoolDir   PoolKind = "dir"   // directories of any filesystem, without limits
)

// Defaults and limits of the optional fields of a pool.
const (
	DefaultOverprovision    = 1
	MaxOverprovision        = 100
	DefaultMetadataLowWater = 20
	// maxStripes is LVM's own limit (lvcreate(8): at most 128).
	maxStripes = 128
	// maxReservePercent leaves a hundredth: a pool that promises nothing is none.
	maxReservePercent = 99
)

var poolKinds = []string{string(PoolLVM), string(PoolXFS), string(PoolBtrfs), string(PoolDir)}

// poolWipeMethods are those after which the next tenant of the same blocks
// finds nothing, and that a logical volume has.
var poolWipeMethods = []string{string(WipeErase), string(WipeZero), string(WipeShred)}

// fieldKinds are the kinds of pools that a field belongs to; the other fields
// belong to all.
var fieldKinds = map[string][]PoolKind{
	"path":        {PoolXFS, PoolBtrfs, PoolDir},
	"volumeGroup": {PoolLVM},
	"stripes":     {PoolLVM},
	"thin":        {PoolLVM},
	"unenforced":  {PoolDir},
	"wipe":        {PoolLVM},
}

func (d *decoder) pool(p string, n *yaml.Node) Pool {
	var v Pool
	d.mapping(p, n, []string{"name", "kind"}, d.poolFields(&v))
	v.Line = d.lineOf(p+".name", p)
	if v.Kind == PoolLVM {
		if v.Stripes == 0 && v.Thin == nil {
			v.Stripes = 1
		}
		if d.lines[p+".wipe"] == 0 {
			v.Wipe = DefaultWipe
		}
	}
	return v
}

// poolFields are the fields of one pool, in the order of the example.
func (d *decoder) poolFields(v *Pool) []field {
	return []field{
		{"name", func(p string, n *yaml.Node) { d.text(p, n, &v.Name) }},
		{"kind", func(p string, n *yaml.Node) { d.oneOf(p, n, (*string)(&v.Kind), poolKinds) }},
		{"path", func(p string, n *yaml.Node) { d.text(p, n, &v.Path) }},
		{"volumeGroup", func(p string, n *yaml.Node) { d.text(p, n, &v.VolumeGroup) }},
		{"stripes", func(p string, n *yaml.Node) { d.small(p, n, &v.Stripes, 1, maxStripes) }},
		{"thin", func(p string, n *yaml.Node) { v.Thin = d.thin(p, n) }},
		{"classes", func(p string, n *yaml.Node) { d.texts(p, n, &v.Classes) }},
		{"reserve", func(p string, n *yaml.Node) { d.reserve(p, n, &v.Reserve) }},
		{"unenforced", func(p string, n *yaml.Node) { d.boolean(p, n, &v.Unenforced) }},
		{"wipe", func(p string, n *yaml.Node) {
			v.Wipe = DefaultWipe
			d.wipeWith(p, n, &v.Wipe, poolWipeMethods, "command", "timeout", "job")
		}},
	}
}

func (d *decoder) thin(p string, n *yaml.Node) *Thin {
	t := &Thin{Overprovision: DefaultOverprovision, MetadataLowWater: DefaultMetadataLowWater}
	d.mapping(p, n, []string{"pool"}, d.thinFields(t))
	return t
}

func (d *decoder) thinFields(t *Thin) []field {
	return []field{
		{"pool", func(p string, n *yaml.Node) { d.text(p, n, &t.Pool) }},
		{"overprovision", func(p string, n *yaml.Node) { d.overprovision(p, n, &t.Overprovision) }},
		{"metadataLowWater", func(p string, n *yaml.Node) { d.small(p, n, &t.MetadataLowWater, 1, 99) }},
	}
}

// small decodes a whole number within limits that an int has.
func (d *decoder) small(p string, n *yaml.Node, into *int, low, high int64) {
	v := int64(*into)
	d.whole(p, n, &v, low, high)
	*into = int(v)
}

// decimal is a number without exponent, sign or words such as .inf.
var decimal = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

func (d *decoder) overprovision(p string, n *yaml.Node, into *float64) {
	tag := n.ShortTag()
	v, err := strconv.ParseFloat(n.Value, 64)
	if n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" || !decimal.MatchString(n.Value) || err != nil || v < 1 || v > MaxOverprovision {
		d.wrong(p, n, fmt.Sprintf("a number from 1 to %d, such as 1.5", MaxOverprovision))
		return
	}
	*into = v
}

// percent is a whole number of hundredths.
var percent = regexp.MustCompile(`^([0-9]{1,2})%$`)

// reserve decodes a number of bytes, or a percentage of the pool's size.
func (d *decoder) reserve(p string, n *yaml.Node, into *pool.Reserve) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" {
		if m := percent.FindStringSubmatch(n.Value); m != nil {
			into.Percent, _ = strconv.Atoi(m[1]) // two digits
			return
		}
	}
	bytes, ok := bytesOf(n)
	if !ok {
		d.wrong(p, n, fmt.Sprintf("a number of bytes, such as 10Gi, or of hundredths of the pool, from 0%% to %d%%", maxReservePercent))
		return
	}
	into.Bytes = bytes
}

// forKind says for which kinds of pools a field is, in words.
func forKind(name string) string {
	kinds := fieldKinds[name]
	words := ""
	for i, k := range kinds {
		switch {
		case i > 0 && i == len(kinds)-1:
			words += " and "
		case i > 0:
			words += ", "
		}
		words += string(k)
	}
	if len(kinds) == 1 {
		return "kind " + words
	}
	return "kinds " + words
}

// Carves reports whether a StorageClass may carve from the pool.
func (v Pool) Carves(class string) bool {
	return len(v.Classes) == 0 || slices.Contains(v.Classes, class)
}

// Where says what the pool is made of, in words: what may not change while it
// has volumes.
func (v Pool) Where() string {
	switch {
	case v.Thin != nil:
		return fmt.Sprintf("thin pool %s/%s", v.VolumeGroup, v.Thin.Pool)
	case v.Kind == PoolLVM:
		return "volume group " + v.VolumeGroup
	}
	return fmt.Sprintf("%s at %s", v.Kind, v.Path)
}
