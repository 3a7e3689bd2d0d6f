package shelf

import (
	"context"
	"errors"

	"github.com/berth-storage/berth/internal/disk"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/wipe"
)

// NewMode is the mode of a new volume's directory, as `mkdir` gives it to root.
const NewMode = 0o755

// Empty removes all that a tenant has put into a directory, and makes it root's
// again. One that is not there is fs.ErrNotExist.
func Empty(ctx context.Context, f *host.Folder, name string) error {
	t, err := host.OpenTree(f.Path(name), func(int) error { return nil })
	if err != nil {
		return err
	}
	_, err = wipe.Contents(ctx, t, wipe.ContentsOptions{Owner: disk.Owner{Mode: NewMode}})
	return errors.Join(err, t.Shut())
}
