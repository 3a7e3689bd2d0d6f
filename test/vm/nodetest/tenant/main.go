// Command tenant is what uses the volumes in the machine: it writes secrets and
// looks for those that are there. It knows nothing of Kubernetes or of Berth.
//
//	tenant write PATH SECRET PIECES [sync]   writes the secret so often; into files if PATH is a directory
//	tenant look PATH...                      prints for each path and secret: PATH SECRET PIECES
//
// What else than secrets is in a directory counts as the secret "other".
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 4 && args[0] == "write":
		pieces, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return write(args[1], args[2], pieces, len(args) == 5)
	case len(args) >= 2 && args[0] == "look":
		for _, path := range args[1:] {
			if err := look(path); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("write or look?")
}

// write returns when the secret would survive a power cut, if sync is set.
func write(path, secret string, pieces int, sync bool) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return writeDevice(path, secret, pieces, sync)
	}
	for i := range pieces {
		dir := filepath.Join(path, "dir-"+strconv.Itoa(i%7), strconv.Itoa(i%5))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		text := bytes.Repeat([]byte(secret+"\n"), 1+i*7%100)
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), text, 0o600); err != nil {
			return err
		}
	}
	if !sync {
		return nil
	}
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}

// writeDevice spreads the pieces over the device.
func writeDevice(path, secret string, pieces int, sync bool) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	for i := range pieces {
		if _, err := f.WriteAt([]byte(secret+"\n"), size/int64(pieces)*int64(i)); err != nil {
			return err
		}
	}
	if sync {
		return f.Sync()
	}
	return nil
}

var secrets = regexp.MustCompile(`SECRET-[A-Z0-9-]+`)

func look(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	found := map[string]int{}
	if info.IsDir() {
		err = lookIn(path, found)
	} else {
		err = lookAt(path, found)
	}
	for _, secret := range slices.Sorted(maps.Keys(found)) {
		fmt.Println(path, secret, found[secret])
	}
	return err
}

func lookIn(root string, found map[string]int) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == root || path == filepath.Join(root, "lost+found"):
			return nil
		case entry.IsDir():
			found["other"]++
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if s := secrets.Find(data); s != nil {
			found[string(s)]++
		} else {
			found["other"]++ // the power went before its content was written
		}
		return nil
	})
}

// lookAt reads past the page cache.
func lookAt(path string, found map[string]int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil {
		return err
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	for _, s := range secrets.FindAll(data, -1) {
		found[string(s)]++
	}
	return nil
}
