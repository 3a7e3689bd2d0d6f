package agent

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/volume"
)

// wiper is a machine that notes where a wipe begins, and goes on to reach.
type wiper struct {
	machine
	began, reach int64
}

func (m *wiper) Wipe(_ context.Context, _ config.Class, w wipeJob) (wipeResult, error) {
	m.began = w.Offset
	w.Output("50 % done")
	return wipeResult{}, w.Reached(m.reach)
}

// TestWipeGoesOn: a wipe goes on where an earlier run of the very same one has
// come to. Another way, another number of passes and another size begin anew.
func TestWipeGoesOn(t *testing.T) {
	class := testClass
	class.Wipe = config.Wipe{Method: config.WipeShred, Passes: 3}
	device := entry{Name: "d", Kind: kindDevice, SizeBytes: 1 << 30}
	for name, test := range map[string]struct {
		edit func(*slot)
		want int64
	}{
		"the same":         {func(*slot) {}, 4096},
		"fewer passes":     {func(s *slot) { s.class.Wipe.Passes = 2 }, 0},
		"another method":   {func(s *slot) { s.class.Wipe = config.DefaultWipe }, 0},
		"another size":     {func(s *slot) { s.entry.SizeBytes *= 2 }, 0},
		"another timeout":  {func(s *slot) { s.class.Wipe.Timeout++ }, 4096},
		"not a device now": {func(s *slot) { s.entry.Kind = kindMount }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			m := &wiper{reach: 4096}
			journal := &process{w: newWorld(nil)}
			a := newAgent(t.Context(), testNode(), m, nil, journal, slog.New(slog.NewTextHandler(&log, nil)))
			s := &situation{slot: slot{class: class, entry: device}}
			r := volume.Record{ID: "v", PV: volume.PVRef{Name: "pv-1"}}
			if _, err := a.erase(t.Context(), s, &r, nil); err != nil || m.began != 0 {
				t.Fatalf("a new wipe begins at %d, %v", m.began, err)
			}
			kept, _ := journal.Get("v")
			test.edit(&s.slot)
			if _, err := a.erase(t.Context(), s, &kept, nil); err != nil || m.began != test.want {
				t.Errorf("it goes on at %d, %v; want %d", m.began, err, test.want)
			}
			if !strings.Contains(log.String(), `msg=cleaner pv=pv-1 volume=v line="50 % done"`) {
				t.Errorf("the log is %s", &log)
			}
		})
	}
}
