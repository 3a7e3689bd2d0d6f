package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/berth-storage/berth/internal/pool"
)

func TestExampleIsWhatItSays(t *testing.T) {
	got, err := Decode("example.yaml", Example, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Agent{
		Classes: []Class{
			{Name: "fast", HostDir: "/mnt/disks", MountDir: "/mnt/disks", VolumeMode: Filesystem, AccessMode: ReadWriteOnce, FSType: "ext4", NamePattern: "*", WhenGone: Report, Wipe: DefaultWipe, Line: 14},
			{Name: "raw", HostDir: "/mnt/raw", MountDir: "/mnt/raw", VolumeMode: Block, AccessMode: ReadWriteOnce, NamePattern: "nvme*, sd?", WhenGone: TaintNode,
				Wipe: Wipe{Method: WipeShred, Passes: 2, Timeout: DefaultWipeTimeout, Verify: VerifyFull, BytesPerSecond: 200 << 20}, Line: 25},
			{Name: "vault", HostDir: "/mnt/vault", MountDir: "/mnt/vault", VolumeMode: Block, AccessMode: ReadWriteOnce, NamePattern: "*", WhenGone: Report, Line: 45,
				Wipe:     Wipe{Method: WipeCommand, Passes: 1, Command: []string{"/usr/local/bin/erase", "--twice"}, Timeout: 2 * time.Hour, Job: true},
				Selector: []SelectorTerm{{MatchExpressions: []Requirement{{Key: "example.com/rack", Operator: "In", Values: []string{"r1"}}}}}},
			{Name: "scratch", HostDir: "/mnt/shared", MountDir: "/mnt/shared", VolumeMode: Filesystem, AccessMode: ReadWriteMany, NamePattern: "*", WhenGone: Report, Wipe: DefaultWipe, Shared: true, Line: 59},
			{Name: "datasets", HostDir: "/mnt/datasets", MountDir: "/mnt/datasets", VolumeMode: Filesystem, AccessMode: ReadOnlyMany, NamePattern: "*", WhenGone: Report, Wipe: DefaultWipe, ReadOnly: true, Line: 66},
		},
		Pools: []Pool{
			{Name: "fast", Kind: PoolBtrfs, Path: "/mnt/pools/fast", Classes: []string{"on-demand"}, Reserve: pool.Reserve{Percent: 5}, Line: 78},
			{Name: "striped", Kind: PoolLVM, VolumeGroup: "vg0", Stripes: 2, Line: 88,
				Wipe: Wipe{Method: WipeZero, Passes: 1, Timeout: DefaultWipeTimeout, Verify: VerifyFull, BytesPerSecond: 500 << 20}},
			{Name: "thin", Kind: PoolLVM, VolumeGroup: "vg1", Thin: &Thin{Pool: "thin0", Overprovision: 1.5, MetadataLowWater: 20}, Wipe: DefaultWipe, Line: 99},
			{Name: "trial", Kind: PoolDir, Path: "/mnt/trial", Unenforced: true, Line: 108},
		},
		NodeLabels:     []string{"topology.kubernetes.io/zone"},
		Labels:         map[string]string{"team": "storage"},
		OwnerReference: true,
		NodeNameOnly:   true,
		StartupTaint:   "example.com/disks-not-ready",
		JobTolerations: []Toleration{{Key: "example.com/storage", Operator: "Exists", Effect: "NoSchedule"}},
		RescanInterval: 5 * time.Minute,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Every field of the types has a field in the file, and the example shows it.
func TestExampleShowsEveryField(t *testing.T) {
	d := newDecoder(nil)
	var a Agent
	d.agent(d.document(Example), &a)
	shown := func(fields []field, prefixes ...string) {
		for _, f := range fields {
			found := false
			for _, prefix := range prefixes {
				found = found || d.lines[prefix+f.name] > 0
			}
			if !found {
				t.Errorf("example.yaml does not show %s", f.name)
			}
		}
	}
	shown(d.agentFields(&a), "")
	shown(d.classFields(&Class{}), "classes[0].", "classes[1].", "classes[2].", "classes[3].", "classes[4].")
	shown(d.poolFields(&Pool{}), "pools[0].", "pools[1].", "pools[2].", "pools[3].")
	shown(d.thinFields(&Thin{}), "pools[2].thin.")

	set := func(typ reflect.Type, values ...reflect.Value) {
		for i := range typ.NumField() {
			isSet := false
			for _, v := range values {
				isSet = isSet || !v.Field(i).IsZero()
			}
			if !isSet {
				t.Errorf("example.yaml leaves %s.%s empty", typ.Name(), typ.Field(i).Name)
			}
		}
	}
	set(reflect.TypeFor[Agent](), reflect.ValueOf(a))
	var classes []reflect.Value
	for _, c := range a.Classes {
		classes = append(classes, reflect.ValueOf(c))
	}
	set(reflect.TypeFor[Class](), classes...)
	var pools []reflect.Value
	for _, v := range a.Pools {
		pools = append(pools, reflect.ValueOf(v))
	}
	set(reflect.TypeFor[Pool](), pools...)
	set(reflect.TypeFor[Thin](), reflect.ValueOf(*a.Pools[2].Thin))
	// Line comes from the file itself; apiVersion and kind are not kept.
	if n, want := len(d.classFields(&Class{})), reflect.TypeFor[Class]().NumField()-1; n != want {
		t.Errorf("%d fields of a class can be written, the type has %d", n, want)
	}
	if n, want := len(d.poolFields(&Pool{})), reflect.TypeFor[Pool]().NumField()-1; n != want {
		t.Errorf("%d fields of a pool can be written, the type has %d", n, want)
	}
	if n, want := len(d.agentFields(&a)), reflect.TypeFor[Agent]().NumField()+2; n != want {
		t.Errorf("%d fields of the file can be written, the type has %d", n, want)
	}
}

func TestDefaults(t *testing.T) {
	got, err := Decode("f", []byte("apiVersion: berth.storage/v1alpha1\nkind: AgentConfig\nclasses:\n- {name: a, hostDir: /mnt/a}\n- hostDir: /mnt/ab\n  mountDir: /srv/ab\n  name: b\n"), []string{"/mnt", "/srv/"})
	if err != nil {
		t.Fatal(err)
	}
	want := &Agent{RescanInterval: 5 * time.Minute, Classes: []Class{
		{Name: "a", HostDir: "/mnt/a", MountDir: "/mnt/a", VolumeMode: Filesystem, AccessMode: ReadWriteOnce, NamePattern: "*", WhenGone: Report, Wipe: DefaultWipe, Line: 4},
		{Name: "b", HostDir: "/mnt/ab", MountDir: "/srv/ab", VolumeMode: Filesystem, AccessMode: ReadWriteOnce, NamePattern: "*", WhenGone: Report, Wipe: DefaultWipe, Line: 7},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Each file of testdata/refused is a malformed configuration. The lines that
// begin with "#!" are the problems it must be refused with, exactly and in
// that order; "#allow DIR" gives the agent a directory.
func TestRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/refused/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no malformed configurations found", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var yaml, want, allow []string
			for line := range strings.Lines(string(data)) {
				line, _ = strings.CutSuffix(line, "\n")
				if rest, ok := strings.CutPrefix(line, "#! "); ok {
					want = append(want, "f:"+rest)
				} else if rest, ok := strings.CutPrefix(line, "#allow "); ok {
					allow = append(allow, rest)
				} else {
					yaml = append(yaml, line)
				}
			}
			agent, err := Decode("f", []byte(strings.Join(yaml, "\n")), allow)
			var refused *Errors
			if !errors.As(err, &refused) || agent != nil {
				t.Fatalf("decoded to %+v with error %v, want a refusal", agent, err)
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("refused with\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

// What is not text cannot stand in testdata's files.
func TestRefusedBytes(t *testing.T) {
	for input, want := range map[string]string{
		"":                 "f:1: found an empty file; allowed: one document with apiVersion: berth.storage/v1alpha1 and kind: AgentConfig",
		"kind: a\n\xff":    "f:2: found bytes that are not text; allowed: YAML in UTF-8",
		"\xfe\xff\x00a":    "f:1: found bytes that are not text; allowed: YAML in UTF-8",
		"a: b\nb: \x01\n":  "f:2: found bytes that are not text; allowed: YAML in UTF-8",
		"a: {b: [c, d}\n":  "f:1: not YAML: did not find expected ',' or ']'",
		"a: b\n---\n[x:\n": "f:3: not YAML: did not find expected node content",
	} {
		if _, err := Decode("f", []byte(input), nil); err == nil || err.Error() != want {
			t.Errorf("%q: %v\nwant %s", input, err, want)
		}
	}
}

func TestMissingClasses(t *testing.T) {
	agent, err := Decode("agent.yaml", Example, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := agent.MissingClasses([]string{"raw", "scratch", "fast", "datasets", "vault"}, "agent.yaml"); err != nil {
		t.Errorf("nothing is missing, but: %v", err)
	}
	err = agent.MissingClasses([]string{"scratch", "faster", "raw", "vault"}, "agent.yaml")
	var missing *Errors
	if !errors.As(err, &missing) {
		t.Fatalf("got %v", err)
	}
	want := `agent.yaml:14: classes[0].name: no StorageClass "fast"; the cluster has: faster, raw, scratch, vault; did you mean "faster"?
agent.yaml:66: classes[4].name: no StorageClass "datasets"; the cluster has: faster, raw, scratch, vault`
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	if err := agent.MissingClasses(nil, "agent.yaml"); err == nil || !strings.Contains(err.Error(), "the cluster has none") {
		t.Errorf("with no StorageClass: %v", err)
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "disk1", true},
		{"*", "two words", true},
		{"*", "two\nlines", true},
		{"*", "\xff\xfe", true},
		{"nvme*, sd?", "sdb", true},
		{"nvme*, sd?", "nvme0n1", true},
		{"nvme*, sd?", "sdaa", false},
		{"[a-c]x", "bx", true},
		{"[a-c]x", "dx", false},
		{"disk", "disk1", false},
	} {
		if got := (Class{NamePattern: c.pattern}).Matches(c.name); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}
