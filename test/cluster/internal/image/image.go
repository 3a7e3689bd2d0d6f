// Package image assembles container images out of files, without a container
// engine and without a registry, and writes them as archives that containerd
// imports. The same files give the same image.
//
// It runs nothing but mmdebstrap, and loads nothing anywhere.
package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is what an archive is made of.
type Image struct {
	Name string // localhost/…:tag
	// Layers are tar archives, the lowest first. Unpacked they are stacked as
	// they are; they are not compressed, as they never travel.
	Layers []Layer
	Config v1.Config
}

// Layer opens a tar archive, as often as needed.
type Layer func() (io.ReadCloser, error)

// FileLayer is the tar archive in a file.
func FileLayer(path string) Layer {
	return func() (io.ReadCloser, error) { return os.Open(path) }
}

// Entry is one file of a layer: a directory if Data and Link are empty and the
// name ends in a slash.
type Entry struct {
	Name string
	Mode int64
	Data []byte
	Link string
}

// EntryLayer is a layer of the entries, all owned by root and of no age.
func EntryLayer(entries []Entry) (Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range entries {
		h := &tar.Header{Name: e.Name, Mode: e.Mode, Size: int64(len(e.Data)), Typeflag: tar.TypeReg}
		switch {
		case e.Link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
		case e.Name[len(e.Name)-1] == '/':
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("making a layer: %w", err)
		}
		if _, err := w.Write(e.Data); err != nil {
			return nil, fmt.Errorf("making a layer: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	return func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(buf.Bytes())), nil
	}, nil
}

// Write writes the image as an archive to path, which is replaced as a whole,
// and returns its digest.
func (i Image) Write(path string) (digest string, err error) {
	img, err := i.build()
	if err != nil {
		return "", fmt.Errorf("assembling image %s: %w", i.Name, err)
	}
	sum, err := img.ConfigName()
	if err != nil {
		return "", fmt.Errorf("assembling image %s: %w", i.Name, err)
	}
	tag, err := name.NewTag(i.Name)
	if err != nil {
		return "", fmt.Errorf("assembling image %s: %w", i.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("writing image %s: %w", i.Name, err)
	}
	if err := tarball.WriteToFile(path+".new", tag, img); err != nil {
		return "", fmt.Errorf("writing image %s: %w", i.Name, err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return "", fmt.Errorf("writing image %s: %w", i.Name, err)
	}
	return sum.String(), nil
}

func (i Image) build() (v1.Image, error) {
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: architecture, OS: "linux", Config: i.Config,
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for _, l := range i.Layers {
		layer, err := tarball.LayerFromOpener(tarball.Opener(l),
			tarball.WithCompression(compression.None), tarball.WithMediaType(types.DockerUncompressedLayer))
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	return img, nil
}
