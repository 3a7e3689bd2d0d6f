package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/wipe"
)

func TestParseClean(t *testing.T) {
	for args, want := range map[string]struct {
		method wipe.Method
		passes int
	}{
		"signatures": {wipe.MethodSignatures, 0}, "quick-reset": {wipe.MethodSignatures, 0}, "shred": {wipe.MethodShred, 3},
		"shred 1": {wipe.MethodShred, 1}, "zero": {wipe.MethodZero, 1}, "zero 100": {wipe.MethodZero, 100},
		"erase": {wipe.MethodDiscard, 0}, "contents": {wipe.MethodContents, 0},
	} {
		if c, passes, err := parseClean(strings.Fields(args)); err != nil || c.method != want.method || passes != want.passes {
			t.Errorf("%s: %s %d, %v", args, c.method, passes, err)
		}
	}
	for args, want := range map[string]string{
		"": "METHOD", "zero 1 2": "METHOD", "burn": "allowed: signatures, quick-reset, shred, zero, erase, nvme-format, contents", "erase 2": "has none",
		"contents 1": "has none", "zero 0": "from 1 to 100", "shred -1": "from 1", "shred 101": "to 100", "shred many": `"many"`,
	} {
		if _, _, err := parseClean(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}

// TestProgress: a fast erasure is not told of at length, a slow one not in
// silence.
func TestProgress(t *testing.T) {
	for name, test := range map[string]struct {
		step time.Duration // for one part in a hundred
		want int
	}{
		"in a second":  {10 * time.Millisecond, 0},
		"in a minute":  {600 * time.Millisecond, 11},
		"in a quarter": {9 * time.Second, 20},
		"in a day":     {864 * time.Second, 100},
	} {
		now, lines := time.Unix(0, 0), []string(nil)
		p := progress{total: 100 << 30, now: func() time.Time { return now }, last: now,
			say: func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }}
		for i := range int64(100) {
			now = now.Add(test.step)
			if err := p.reached((i + 1) << 30); err != nil {
				t.Error(err)
			}
		}
		if len(lines) != test.want {
			t.Errorf("%s: %d lines, want %d: %q", name, len(lines), test.want, lines)
		}
		if test.want == 20 && !slices.Contains(lines, "45% (45.0 GiB of 100.0 GiB)") {
			t.Errorf("%s: %q", name, lines)
		}
	}
}

func TestProveIdentity(t *testing.T) {
	for _, test := range []struct {
		want, now  string
		fine, says bool
	}{
		{"", "wwid:1", true, false},
		{"wwid:1", "wwid:1", true, false},
		{"wwid:1", "wwid:2", false, false},
		{"wwid:1", "", false, false},
		{"weak:device:fast/d", "wwid:1", true, true},
		{"weak:device:fast/d", "", true, true},
	} {
		t.Setenv(api.EnvIdentity, test.want)
		said := false
		err := proveIdentity(disk.ID(test.now), func(string, ...any) { said = true })
		if (err == nil) != test.fine || said != test.says {
			t.Errorf("%q wanted and %q found: %v, said %v", test.want, test.now, err, said)
		}
	}
}
