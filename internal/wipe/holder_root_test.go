//go:build root

package wipe_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
	"github.com/berth-storage/berth/internal/wipe"
)

// TestHolderStopsTheWipe: a process that has a file of the volume open stops the
// wipe before anything is removed, and is named; once it has ended, it goes on.
func TestHolderStopsTheWipe(t *testing.T) {
	volume := hosttest.NewFS(t, "ext4", 64*hosttest.MiB)
	held := write(t, filepath.Join(volume, "dir/held"), "x")
	file, err := os.Open(held)
	must(t, err)
	cmd := exec.Command("sleep", "infinity")
	cmd.Stdin = file
	must(t, cmd.Start())
	must(t, file.Close())
	_, err = wipeAt(t, volume, wipe.ContentsOptions{})
	if !errors.Is(err, host.ErrBusy) || !strings.Contains(err.Error(), "(sleep) has \""+held+"\" open") {
		t.Errorf("error: %v, want ErrBusy with the holder", err)
	}
	if _, err := os.Stat(held); err != nil {
		t.Errorf("it was removed all the same: %v", err)
	}
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	_, err = wipeAt(t, volume, wipe.ContentsOptions{})
	must(t, err)
	empty(t, volume)
}
