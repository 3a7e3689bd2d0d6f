package csi

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/pool"
)

// refuse is an error with its code.
func refuse(code codes.Code, format string, args ...any) error {
	return status.Errorf(code, format, args...)
}

// withCode gives an error the code that the specification asks for, and says
// what to do. It is the only place where that is decided for errors of pools
// and of the machine.
func withCode(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	code, hint := codes.Internal, ""
	switch {
	case errors.Is(err, pool.ErrInvalid):
		code = codes.InvalidArgument
	case errors.Is(err, host.ErrMountOption), errors.Is(err, host.ErrFilesystem):
		code = codes.InvalidArgument
	case errors.Is(err, pool.ErrNoRoom):
		code, hint = codes.ResourceExhausted, "; ask for less, free space, or choose another node"
	case errors.Is(err, pool.ErrDiffers), errors.Is(err, host.ErrMounted):
		code = codes.AlreadyExists
	case errors.Is(err, pool.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, pool.ErrBusy), errors.Is(err, host.ErrBusy):
		code, hint = codes.FailedPrecondition, "; end what uses it first"
	case errors.Is(err, ErrPending):
		code = codes.Aborted
	case errors.Is(err, ErrHeld), errors.Is(err, pool.ErrUnfit), errors.Is(err, host.ErrNotMounted):
		code = codes.FailedPrecondition
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error()+hint)
}
