package supervisor

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"github.com/berth-storage/berth/test/cluster/internal/state"
)

// PauseImage holds the namespaces of a pod.
const PauseImage = "localhost/pause:1"

// importPatience is how long an import may take; the disk may be slow.
const importPatience = 5 * time.Minute

// loadImage gives an image to every node that runs, and remembers it for those
// that start later. One that the nodes have already is not imported again.
func (s *Supervisor) loadImage(image state.Image) error {
	known := false
	if err := s.record(func(st *state.State) {
		for i := range st.Images {
			if st.Images[i].Name == image.Name {
				known = st.Images[i].Digest == image.Digest
				st.Images[i] = image
				return
			}
		}
		st.Images = append(st.Images, image)
	}); err != nil || known {
		return err
	}
	s.mu.Lock()
	lives := make(map[string]*life, len(s.lives))
	for name, l := range s.lives {
		lives[name] = l
	}
	s.mu.Unlock()
	errs := make(chan error, len(lives))
	for name, l := range lives {
		go func() {
			err := s.importImage(l, image)
			if err != nil {
				err = fmt.Errorf("on node %s: %w", name, err)
			}
			errs <- err
		}()
	}
	var first error
	for range lives {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		// A later load must try again.
		_ = s.record(func(st *state.State) {
			for i := range st.Images {
				if st.Images[i].Name == image.Name {
					st.Images[i].Digest = ""
				}
			}
		})
	}
	return first
}

// importImage gives an image to one node. Layers that it has are skipped.
func (s *Supervisor) importImage(l *life, i state.Image) error {
	ctx, cancel := context.WithTimeout(context.Background(), importPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.state.Programs["ctr"],
		"--address", l.containerd(), "--namespace", "k8s.io", "images", "import", i.File)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("importing image %s: %w: %s", i.Name, err, out)
	}
	return nil
}
