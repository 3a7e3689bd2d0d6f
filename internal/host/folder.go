package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A Folder is a directory of Berth's own, held open: what is in it was made by
// Berth, and a tenant cannot change it. Names are relative to it and may have
// directories in them; what a link names is reached only inside. What a method
// has changed survives a loss of power once it has returned, but for Allocate's
// and Mkdir's: Rename puts such things where they count.
type Folder struct {
	root *os.Root
	path string
}

// OpenFolder opens the directory at path, which must not be a link. Before it
// returns, it calls check with the open descriptor, to prove that this is the
// one that the caller means; when check fails, so does OpenFolder.
func OpenFolder(path string, check func(fd int) error) (*Folder, error) {
	if info, err := os.Lstat(path); err != nil {
		return nil, fmt.Errorf("opening directory %q: %w", path, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("opening directory %q: %w", path, unix.ENOTDIR)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening directory %q: %w", path, err)
	}
	f := &Folder{root: root, path: path}
	if err := f.With(".", check); err != nil {
		root.Close()
		return nil, fmt.Errorf("checking directory %q, nothing was written: %w", path, err)
	}
	return f, nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Path is the path of name, or of the folder for ".", as it was when the folder
// was opened.
func (f *Folder) Path(name string) string { return filepath.Join(f.path, name) }

// With calls use with a descriptor of an entry, opened for reading.
func (f *Folder) With(name string, use func(fd int) error) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return use(int(file.Fd()))
}

// Names lists a directory, sorted. One that is not there has none.
func (f *Folder) Names(dir string) ([]string, error) {
	d, err := f.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Mkdir makes a directory; one that is there is no error.
func (f *Folder) Mkdir(name string, mode fs.FileMode) error {
	if err := f.root.Mkdir(name, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.root.Chmod(name, mode) // whatever the umask is
}

// ReadFile reads a whole file.
func (f *Folder) ReadFile(name string) ([]byte, error) { return f.root.ReadFile(name) }

// WriteFile replaces or makes a file.
func (f *Folder) WriteFile(name string, data []byte) error {
	temp := name + ".tmp"
	file, err := f.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, f.root.Remove(temp))
	}
	return f.Rename(temp, name)
}

// Allocate makes a file of that many bytes, or makes one larger, with all its
// blocks allocated. What was not there before reads as zeroes. One that is that
// large already is left as it is.
func (f *Folder) Allocate(name string, bytes int64) (err error) {
	file, err := f.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	before := info.Size()
	if before >= bytes {
		return nil
	}
	if err := unix.Fallocate(int(file.Fd()), 0, before, bytes-before); err != nil {
		// Some filesystems keep what they got before they ran out.
		return errors.Join(&fs.PathError{Op: "fallocate", Path: f.Path(name), Err: err}, file.Truncate(before))
	}
	return file.Sync()
}

// Rename moves an entry, over a file that has the new name, after what the entry
// itself holds is on disk.
func (f *Folder) Rename(from, to string) error {
	if err := f.With(from, unix.Fsync); err != nil {
		return err
	}
	if err := f.root.Rename(from, to); err != nil {
		return err
	}
	if d := path.Dir(from); d != path.Dir(to) {
		if err := f.With(d, unix.Fsync); err != nil {
			return err
		}
	}
	return f.With(path.Dir(to), unix.Fsync)
}

// Remove removes a file or an empty directory; one that is not there is no
// error.
func (f *Folder) Remove(name string) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.With(path.Dir(name), unix.Fsync)
}
