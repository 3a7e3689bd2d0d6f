package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/berth-storage/berth/internal/control"
)

const heldID = "0123456789abcdef0123456789abcdef"

// heldAgent has one volume that is held back, and counts what it was asked.
type heldAgent struct {
	asked []control.Request
	path  string
	pool  string
}

func (a *heldAgent) held() control.Volume {
	if a.pool != "" {
		return control.Volume{ID: heldID, State: "Quarantined", Class: "fast", Entry: "pvc-1", Pool: a.pool, Bytes: 40 << 20, Path: a.path, Identity: "carved:pvc-1", Claim: "ns/data"}
	}
	return control.Volume{ID: heldID, State: "Quarantined", Class: "fast", Entry: "d1", Path: a.path, Claim: "ns/data", PV: "local-pv-1234abcd", PVPhase: "Released",
		Identity: "fs:01234567-89ab-cdef-0123-456789abcdef:/",
		Reason:   "its PV local-pv-1234abcd was removed while claim ns/data had it, or before its wipe"}
}

func (a *heldAgent) Volumes() []control.Volume {
	return []control.Volume{a.held(), {ID: strings.Repeat("f", 32), State: "Published", Class: "fast", Entry: "d2", Identity: "fs:2:/"}}
}

func (a *heldAgent) Volume(id string) (control.Volume, error) {
	if id != heldID {
		return control.Volume{}, fmt.Errorf("%w: %s", control.ErrUnknown, id)
	}
	return a.held(), nil
}

func (a *heldAgent) Ask(_ context.Context, id string, q control.Request) (control.Volume, error) {
	v, err := a.Volume(id)
	if err != nil {
		return v, err
	}
	a.asked = append(a.asked, q)
	if !q.Dry && (q.Identity != v.Identity || q.Path != v.Path) {
		return v, fmt.Errorf("%w: another disk", control.ErrRefused)
	}
	if q.Claim != "" {
		v.Claim = q.Claim
	}
	return v, nil
}

// run runs berth against an agent and returns what it prints.
func run(t *testing.T, a control.Agent, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	l, err := control.Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, l, a) }()
	defer func() { cancel(); <-ended }()
	var out bytes.Buffer
	cmd := root()
	cmd.SetOut(&out)
	cmd.SetIn(strings.NewReader("yes\n")) // which is no terminal
	cmd.SetArgs(append(args, "--state-dir", dir))
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestVolumeDecisions(t *testing.T) {
	for _, c := range []struct {
		command string
		args    []string
		want    control.Request
		says    string
	}{
		{"release", nil, control.Request{}, "Nothing is erased"},
		{"republish", nil, control.Request{Claim: "ns/data"}, "claim ns/data alone"},
		{"republish", []string{"--claim", "other/one"}, control.Request{Claim: "other/one"}, "claim other/one alone"},
		{"wipe", nil, control.Request{}, "ALL DATA ON IT IS ERASED"},
	} {
		a := &heldAgent{path: "/mnt/disks/d1"}
		args := append([]string{"volume", c.command, heldID}, c.args...)

		out, err := run(t, a, args...)
		if !errors.Is(err, errNotDone) || len(a.asked) != 1 || !a.asked[0].Dry {
			t.Errorf("%v without --yes: %v, and the agent was asked %+v", args, err, a.asked)
		}
		for _, need := range []string{heldID, "fs:01234567-89ab-cdef-0123-456789abcdef:/", "/mnt/disks/d1", "local-pv-1234abcd (Released)", "removed while", "is deleted first", c.says} {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), need) {
				t.Errorf("%v does not say %q:\n%s", args, need, out)
			}
		}

		a.asked = nil
		c.want.Command, c.want.Identity, c.want.Path = c.command, a.held().Identity, a.path
		if _, err := run(t, a, append(args, "--yes")...); err != nil || len(a.asked) != 2 || a.asked[1] != c.want {
			t.Errorf("%v --yes: %v, and the agent was asked %+v, want %+v", args, err, a.asked, c.want)
		}
		narrow(t, out)
	}
}

func TestVolumeList(t *testing.T) {
	a := &heldAgent{path: "/mnt/disks/d1"}
	out, err := run(t, a, "volume", "list")
	if err != nil || !strings.HasPrefix(out, heldID+"  Quarantined  fast/d1\n") || !strings.Contains(out, "fs:2:/, which is not there") {
		t.Errorf("%v:\n%s", err, out)
	}
	narrow(t, out)
	out, err = run(t, a, "volume", "list", "-o", "json")
	var list []control.Volume
	if err != nil || json.Unmarshal([]byte(out), &list) != nil || len(list) != 2 || list[0] != a.held() {
		t.Errorf("%v:\n%s", err, out)
	}
	out, err = run(t, a, "volume", "show", heldID)
	if err != nil || !strings.Contains(out, "\nclaim      ns/data\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	narrow(t, out)
}

// TestVolumeOfAPool: what a person reads of one, and what a wipe is said to do.
func TestVolumeOfAPool(t *testing.T) {
	a := &heldAgent{path: "node-1/fast/pvc-1", pool: "fast"}
	for what, want := range map[string][]string{
		"list":           {"Quarantined pvc-1 in pool fast", "PV none, claim ns/data, disk carved:pvc-1 at node-1/fast/pvc-1, 40.0 MiB"},
		"show " + heldID: {"place pvc-1 in pool fast", "size 40.0 MiB", "path node-1/fast/pvc-1"},
		"wipe " + heldID: {"size 40.0 MiB", "its space goes back to pool fast"},
	} {
		out, err := run(t, a, append([]string{"volume"}, strings.Fields(what)...)...)
		if err != nil && !errors.Is(err, errNotDone) {
			t.Error(err)
		}
		for _, need := range want {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), need) {
				t.Errorf("%s does not say %q:\n%s", what, need, out)
			}
		}
		narrow(t, out)
	}
}

func narrow(t *testing.T, out string) {
	t.Helper()
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > columns {
			t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}

func TestVolumeAnswers(t *testing.T) {
	for typed, done := range map[string]bool{"yes\n": true, heldID + "\n": true, "": false, "\n": false, "y\n": false, "no\n": false, heldID[:8] + "\n": false} {
		if err := askTo(strings.NewReader(typed), &bytes.Buffer{}, heldID); (err == nil) != done {
			t.Errorf("%q: %v", typed, err)
		}
	}
}
