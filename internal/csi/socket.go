package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

const (
	// retry is how long after an error a socket is tried again.
	retry = time.Second
	// graceful is how long requests that are under way at the end may take. A
	// disk that does not answer must not keep the agent from ending.
	graceful = 5 * time.Second
)

// listen serves on a unix socket until ctx ends, and removes it then. It calls
// up when the socket is there for the first time. An error before that ends it;
// a later one does not.
func (s *Server) listen(ctx context.Context, path string, server *grpc.Server, up func()) error {
	for first := true; ; first = false {
		err := listenOnce(ctx, path, server, func() {
			if first {
				up()
			}
		})
		switch {
		case ctx.Err() != nil:
			end(server)
			return nil
		case err != nil && first:
			return fmt.Errorf("serving %s: %w", path, err)
		case err != nil:
			s.Log.Error("serving a socket of CSI failed", "socket", path, "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
		default:
			s.Log.Warn("a socket of CSI was removed, and is made again", "socket", path)
		}
	}
}

// end lets requests that are under way finish, but not for ever.
func end(server *grpc.Server) {
	done := make(chan struct{})
	go func() {
		server.GracefulStop()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(graceful):
		server.Stop()
	}
}

// listenOnce serves until ctx ends or the socket is gone from its place.
func listenOnce(ctx context.Context, path string, server *grpc.Server, up func()) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watch.Close()
	if err := watch.Add(filepath.Dir(path)); err != nil { // first, so that nothing is missed
		return err
	}
	listener, own, err := socket(path)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	up()
	defer func() {
		if at, err := os.Lstat(path); err == nil && os.SameFile(own, at) {
			os.Remove(path) // what is left is replaced by the next process
		}
	}()
	for {
		select {
		case <-ctx.Done():
			listener.Close()
			<-served
			return nil
		case err := <-served:
			return err
		case <-watch.Errors: // events may have been lost
		case <-watch.Events:
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			listener.Close()
			<-served
			return nil
		}
	}
}

// socket makes a socket, in the place of what an earlier process has left.
func socket(path string) (*net.UnixListener, os.FileInfo, error) {
	if longest := len(unix.RawSockaddrUnix{}.Path) - 1; len(path) > longest {
		return nil, nil, fmt.Errorf("the path has %d bytes, and that of a socket has %d at most; give the kubelet a shorter directory", len(path), longest)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	listener.SetUnlinkOnClose(false) // it may be another's by then
	own, err := os.Lstat(path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return listener, own, nil
}
