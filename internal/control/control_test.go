package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type fakeAgent struct{ got Request }

func (*fakeAgent) Volumes() []Volume { return []Volume{{ID: "a"}, {ID: "b"}} }
func (*fakeAgent) Volume(id string) (Volume, error) {
	if id != "a" {
		return Volume{}, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	return Volume{ID: "a", State: "Quarantined"}, nil
}
func (f *fakeAgent) Ask(_ context.Context, id string, r Request) (Volume, error) {
	f.got = r
	switch r.Command {
	case "wipe":
		return Volume{ID: id}, nil
	case "later":
		return Volume{}, fmt.Errorf("%w: not yet", ErrNotReady)
	}
	return Volume{}, fmt.Errorf("%w: because", ErrRefused)
}

// serve starts a server in a directory of its own and returns that.
func serve(t *testing.T, a Agent) string {
	t.Helper()
	dir := t.TempDir()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, a) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(SocketPath(dir)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return dir
}

func TestAsking(t *testing.T) {
	a := &fakeAgent{}
	c := NewClient(SocketPath(serve(t, a)))
	if vs, err := c.Volumes(t.Context()); err != nil || len(vs) != 2 || vs[1].ID != "b" {
		t.Errorf("got %+v, %v", vs, err)
	}
	if v, err := c.Volume(t.Context(), "a"); err != nil || v.State != "Quarantined" {
		t.Errorf("got %+v, %v", v, err)
	}
	if _, err := c.Volume(t.Context(), "../a"); !errors.Is(err, ErrUnknown) || err.Error() != "no such volume: ../a" {
		t.Errorf("got %v", err)
	}
	want := Request{Command: "wipe", Claim: "ns/a", Identity: "fs:1:/", Path: "/p", Dry: true}
	if v, err := c.Ask(t.Context(), "a", want); err != nil || v.ID != "a" || a.got != want {
		t.Errorf("got %+v, %v, and the agent %+v", v, err, a.got)
	}
	for command, kind := range map[string]error{"later": ErrNotReady, "sell": ErrRefused} {
		if _, err := c.Ask(t.Context(), "a", Request{Command: command}); !errors.Is(err, kind) {
			t.Errorf("%s: got %v", command, err)
		}
	}
}

// What is left of an agent that was killed is no obstacle, and what is no socket
// is not taken away.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: SocketPath(dir)})
	if err != nil {
		t.Fatal(err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	l, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(SocketPath(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	// Another agent has come meanwhile: its socket stays.
	next, err := Listen(dir)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Lstat(SocketPath(dir)); err != nil {
		t.Errorf("the next agent's socket: %v", err)
	}
	next.Close()

	file := t.TempDir()
	if err := os.WriteFile(filepath.Join(file, socketName), []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file); err == nil || !strings.HasPrefix(err.Error(), "listening for commands: ") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(SocketPath(file)); err != nil || string(data) != "kept" {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	path := SocketPath(t.TempDir())
	_, err := NewClient(path).Volumes(t.Context())
	if err == nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}
