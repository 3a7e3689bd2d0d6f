package agent

import (
	"context"

	"github.com/berth-storage/berth/internal/config"
	"github.com/berth-storage/berth/internal/host"
)

// Format implements machine.
func (localMachine) Format(ctx context.Context, device, fsType string) error {
	return host.MakeFilesystem(ctx, device, fsType, true)
}

// Mounts implements machine.
func (localMachine) Mounts(dir string) ([]string, error) { return host.MountsOf(dir) }

// WipePiece implements machine. The pool has just opened the device; that it is
// still the same is all that is left to prove.
func (localMachine) WipePiece(ctx context.Context, how config.Wipe, device string, w wipeJob) (wipeResult, error) {
	return wipeDevice(ctx, config.Class{Wipe: how}, w, device, func(fd int) error { return leadsTo(device, fd) })
}
