package cluster

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-storage/berth/test/cluster/internal/image"
	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// stockImages assembles the images that every cluster has.
func stockImages(ctx context.Context, dir string) ([]state.Image, error) {
	pause, err := image.Pause(PauseImage, filepath.Join(dir, "bin", "pause"))
	if err != nil {
		return nil, err
	}
	busybox, err := image.Busybox(ctx, BusyboxImage, "/bin/busybox")
	if err != nil {
		return nil, err
	}
	var all []state.Image
	for _, i := range []image.Image{pause, busybox} {
		record, err := writeImage(dir, i)
		if err != nil {
			return nil, err
		}
		all = append(all, record)
	}
	return all, nil
}

// writeImage assembles an image into the cluster's directory.
func writeImage(dir string, i image.Image) (state.Image, error) {
	path := imageFile(dir, i.Name)
	digest, err := i.Write(path)
	return state.Image{Name: i.Name, File: path, Digest: digest}, err
}

// adoptImage copies somebody's archive into the cluster's directory: nodes
// that start later need it too.
func adoptImage(dir, name, archive string) (state.Image, error) {
	path := imageFile(dir, name)
	if err := copyFile(archive, path+".new"); err != nil {
		return state.Image{}, err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return state.Image{}, fmt.Errorf("loading image %s: %w", name, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return state.Image{}, fmt.Errorf("loading image %s: %w", name, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return state.Image{}, fmt.Errorf("loading image %s: %w", name, err)
	}
	return state.Image{Name: name, File: path, Digest: fmt.Sprintf("sha256:%x", h.Sum(nil))}, nil
}

func imageFile(dir, name string) string {
	return filepath.Join(dir, "images", strings.NewReplacer("/", "_", ":", "_").Replace(name)+".tar")
}
