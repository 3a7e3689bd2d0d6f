package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// WatchMounts calls changed each time the mount table of this process changes,
// until ctx ends. The kernel wakes a reader that polls /proc/self/mountinfo
// for POLLPRI (proc_pid_mountinfo(5)).
//
// The file is not an os.File: Go's runtime would poll that too, and the kernel
// tells of a change only the first who asks through a descriptor.
func WatchMounts(ctx context.Context, changed func()) error {
	fd, err := unix.Open("/proc/self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("watching mounts: %w", err)
	}
	defer unix.Close(fd)
	return pollLoop(ctx, "watching mounts", fd, unix.POLLPRI, func(int16) error {
		changed()
		return nil
	})
}

// WatchBlockDevices calls changed each time the kernel announces that a block
// device came, went or changed, until ctx ends. Announcements reach every
// network namespace that the initial user namespace owns (Linux
// lib/kobject_uevent.c), so a pod's is enough.
func WatchBlockDevices(ctx context.Context, changed func()) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("watching block devices: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		return fmt.Errorf("watching block devices: %w", err)
	}
	buf := make([]byte, 16<<10)
	return pollLoop(ctx, "watching block devices", fd, unix.POLLIN, func(int16) error {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.ENOBUFS): // some were lost, so look at everything
			changed()
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("watching block devices: %w", err)
		case bytes.Contains(buf[:n], []byte("\x00SUBSYSTEM=block\x00")):
			changed()
		}
		return nil
	})
}

// pollLoop waits for events on fd and calls ready for each, until ctx ends.
func pollLoop(ctx context.Context, what string, fd int, events int16, ready func(int16) error) error {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer unix.Close(wake)
	finished := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
			unix.Write(wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // cannot fail: one write to a fresh eventfd
		case <-finished:
		}
	}()
	defer func() { close(finished); <-stopped }()

	fds := []unix.PollFd{{Fd: int32(fd), Events: events}, {Fd: int32(wake), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return fmt.Errorf("%s: %w", what, err)
		}
		if ctx.Err() != nil {
			break
		}
		if fds[0].Revents != 0 {
			if err := ready(fds[0].Revents); err != nil {
				return err
			}
		}
	}
	return nil
}
