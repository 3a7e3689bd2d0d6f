package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxRequest bounds the body of a request, in bytes.
const maxRequest = 64 << 10

// Listen makes the socket in the state directory anew, for this user alone.
// Closing the listener takes it away, unless another agent has made its own
// there since.
func Listen(stateDir string) (net.Listener, error) {
	path := SocketPath(stateDir)
	if old, err := os.Lstat(path); err == nil && old.Mode().Type() == os.ModeSocket {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listening for commands: %w", err)
		}
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening for commands: %w", err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listening for commands: %w", err)
	}
	own, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("listening for commands: %w", err)
	}
	return &listener{l, path, own}, nil
}

// listener accepts connections of this process's user only, whatever the mode
// of the socket.
type listener struct {
	*net.UnixListener
	path string
	own  os.FileInfo
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		if uid, err := peer(c); err == nil && uid == os.Geteuid() {
			return c, nil
		}
		c.Close()
	}
}

func (l *listener) Close() error {
	err := l.UnixListener.Close()
	if now, statErr := os.Lstat(l.path); statErr == nil && os.SameFile(now, l.own) {
		err = errors.Join(err, os.Remove(l.path))
	}
	return err
}

// peer is the user at the other end.
func peer(c syscall.Conn) (uid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if ctlErr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctlErr != nil {
		return 0, ctlErr
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Uid), nil
}

// Serve answers until ctx ends, and closes the listener then.
func Serve(ctx context.Context, l net.Listener, a Agent) error {
	server := &http.Server{Handler: handler(a), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	err := server.Serve(l)
	server.Close()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func handler(a Agent) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/volumes", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, a.Volumes(), nil)
	})
	mux.HandleFunc("GET /v1/volumes/{id}", func(w http.ResponseWriter, r *http.Request) {
		v, err := a.Volume(r.PathValue("id"))
		answer(w, v, err)
	})
	mux.HandleFunc("POST /v1/volumes/{id}", func(w http.ResponseWriter, r *http.Request) {
		var q Request
		d := json.NewDecoder(io.LimitReader(r.Body, maxRequest))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			http.Error(w, fmt.Sprintf("reading the command: %v", err), http.StatusBadRequest)
			return
		}
		v, err := a.Ask(r.Context(), r.PathValue("id"), q)
		answer(w, v, err)
	})
	return mux
}

// statuses are those of the errors, for both ends.
var statuses = map[error]int{ErrUnknown: http.StatusNotFound, ErrRefused: http.StatusConflict, ErrNotReady: http.StatusServiceUnavailable}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		status := http.StatusInternalServerError
		for known, s := range statuses {
			if errors.Is(err, known) {
				status = s
			}
		}
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the other end may have gone; it has got no answer then
}
