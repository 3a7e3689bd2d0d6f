package hand

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// worker is the serving side.
type worker struct {
	Place
	mounted map[string]bool
	agent   *agent
	placer  *agent // the controller
	pooled  bool
}

// Serve answers requests until the input ends, then takes away all that was
// made.
func Serve(p Place, in io.Reader, out io.Writer) error {
	w := &worker{Place: p, mounted: map[string]bool{}}
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r Request
		if err := requests.Decode(&r); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return errors.Join(err, w.clean())
		}
		var a Answer
		if err := w.do(r, &a); err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return errors.Join(err, w.clean())
		}
	}
}

func (w *worker) do(r Request, a *Answer) (err error) {
	switch r.Op {
	case Mount:
		return each(r.Names, func(name string) error {
			at, err := w.mount(name)
			a.Moments = append(a.Moments, at)
			return err
		})
	case Unmount:
		return each(r.Names, w.unmount)
	case Fill:
		return each(r.Names, w.fill)
	case Full:
		return each(r.Names, func(name string) error {
			entries, err := os.ReadDir(w.contents(name))
			if len(entries) > 0 {
				a.Names = append(a.Names, name)
			}
			return err
		})
	case Start:
		at, err := w.start(r.Args)
		a.Moments = []time.Time{at}
		return err
	case Restart:
		if err := w.end(); err != nil {
			return err
		}
		at, err := w.launchAgent(r.Args)
		a.Moments = []time.Time{at}
		return err
	case Ready:
		at, err := w.ready(r.Args[0])
		a.Moments = []time.Time{at}
		return err
	case Stop:
		return w.stop()
	case Pool:
		return w.pool(r.Bytes, r.InMemory)
	case Unpool:
		return w.unpool()
	case Carve:
		a.Took, err = carve(w.PoolDir(), r.Count)
		return err
	case Placer:
		w.placer, _, err = launch(r.Args, w.PlacerLog())
		return err
	case Command:
		return run(r.Args, a)
	case Usage:
		if w.agent == nil {
			return errors.New("reading the agent's usage: it does not run")
		}
		a.Usage, err = w.agent.usage()
		return err
	}
	return fmt.Errorf("no such operation: %q", r.Op)
}

func each(names []string, do func(string) error) error {
	for _, n := range names {
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}

// mount makes the mount point and the mount in one go, as a person's mkdir and
// mount do.
func (w *worker) mount(name string) (at time.Time, err error) {
	if err := os.MkdirAll(w.contents(name), 0o755); err != nil {
		return at, fmt.Errorf("mounting %s: %w", name, err)
	}
	if err := os.MkdirAll(w.point(name), 0o755); err != nil {
		return at, fmt.Errorf("mounting %s: %w", name, err)
	}
	w.mounted[name] = true
	at = time.Now()
	if err := unix.Mount(w.contents(name), w.point(name), "", unix.MS_BIND, ""); err != nil {
		return at, fmt.Errorf("mounting %s: %w", name, err)
	}
	return at, nil
}

func (w *worker) unmount(name string) error {
	if !w.mounted[name] {
		return nil
	}
	if err := unix.Unmount(w.point(name), unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmounting %s: %w", name, err)
	}
	if err := os.Remove(w.point(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unmounting %s: %w", name, err)
	}
	delete(w.mounted, name)
	if err := os.RemoveAll(w.contents(name)); err != nil {
		return fmt.Errorf("unmounting %s: %w", name, err)
	}
	return nil
}

// fill writes through the mount, as a pod would.
func (w *worker) fill(name string) error {
	for d := range fillDirs {
		dir := filepath.Join(w.point(name), "dir-"+strconv.Itoa(d))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("filling %s: %w", name, err)
		}
		for f := range fillFiles {
			path := filepath.Join(dir, "file-"+strconv.Itoa(f))
			if err := os.WriteFile(path, make([]byte, fillFileBytes), 0o644); err != nil {
				return fmt.Errorf("filling %s: %w", name, err)
			}
		}
	}
	return nil
}

// clean takes away all that was made but the files that the benchmark brought.
func (w *worker) clean() error {
	err := w.stop()
	for name := range w.mounted {
		err = errors.Join(err, w.unmount(name))
	}
	return errors.Join(err, w.unpool())
}
