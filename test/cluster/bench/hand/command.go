package hand

import (
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// run runs a command in the node.
func run(args []string, a *Answer) error {
	begun := time.Now()
	out, err := exec.Command(args[0], args[1:]...).Output()
	a.Moments, a.Output = []time.Time{begun, time.Now()}, string(out)
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return fmt.Errorf("running %q: %w", args, err)
	}
	return nil
}
