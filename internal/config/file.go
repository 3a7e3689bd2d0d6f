package config

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
)

// File is a configuration in one file.
type File struct {
	Path string
	// AllowedDirs are the directories that classes' must be at or beneath;
	// empty for any.
	AllowedDirs []string
}

func (f File) String() string { return f.Path }

// Load reads the file. It has no notes.
func (f File) Load() (*Agent, []string, error) {
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading configuration: %w", err)
	}
	agent, err := Decode(f.Path, data, f.AllowedDirs)
	return agent, nil, err
}

// Watch calls changed as the function Watch does, for the file's content.
func (f File) Watch(ctx context.Context, changed func()) error {
	return Watch(ctx, filepath.Dir(f.Path), f.state, changed)
}

// state is the same for the same content, and "" while the file cannot be read.
func (f File) state() string {
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(data)
	return string(sum[:])
}
