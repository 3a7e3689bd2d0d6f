package standin

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-storage/berth/internal/config"
)

// DefaultDir is where the established provisioner's manifests mount its ConfigMap.
const DefaultDir = "/etc/provisioner/config"

// Dir is a configuration of the established provisioner: a directory with a
// file for each key, as a ConfigMap is mounted.
type Dir struct{ Path string }

func (d Dir) String() string { return d.Path }

// Load reads and translates the directory. The notes are those of the translation.
func (d Dir) Load() (*config.Agent, []string, error) {
	data, err := d.Read()
	if err != nil {
		return nil, nil, err
	}
	t, err := Translate(data)
	if err != nil {
		return nil, nil, err
	}
	var notes []string
	for _, n := range t.Notes {
		notes = append(notes, n.String())
	}
	return t.Agent, notes, nil
}

// Read returns the text of each key. Keys that mean nothing are there, without
// their text. Directories, and what begins with "..", are Kubernetes' own.
func (d Dir) Read() (map[string]string, error) {
	dir := d.Path
	// All files of one state of a ConfigMap lie in the directory that the link
	// ..data leads to: read there, they are not of two states.
	if state, err := filepath.EvalSymlinks(filepath.Join(dir, "..data")); err == nil {
		dir = state
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	data := map[string]string{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		file := filepath.Join(dir, e.Name())
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("reading configuration: %w", err)
		}
		if info.IsDir() {
			continue
		}
		var text []byte
		if _, known := keysForm.field(e.Name()); known && info.Mode().IsRegular() {
			if text, err = os.ReadFile(file); err != nil {
				return nil, fmt.Errorf("reading configuration: %w", err)
			}
		}
		data[e.Name()] = string(text)
	}
	return data, nil
}

// Watch calls changed as config.Watch does, for the directory's contents.
func (d Dir) Watch(ctx context.Context, changed func()) error {
	return config.Watch(ctx, d.Path, d.state, changed)
}

// state is the same for the same contents, and "" while they cannot be read.
func (d Dir) state() string {
	data, err := d.Read()
	if err != nil {
		return ""
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(data)) {
		fmt.Fprintf(h, "%q %q\n", name, data[name])
	}
	return string(h.Sum(nil))
}
