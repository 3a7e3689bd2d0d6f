package config

import (
	"slices"
	"testing"
)

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		wipe Wipe
		want []string
	}{
		{DefaultWipe, []string{"/usr/local/bin/berth", "clean", "erase"}},
		{Wipe{Method: WipeZero, Passes: 1}, []string{"/scripts/dd_zero.sh", "1"}},
		{Wipe{Method: WipeShred, Passes: 3}, []string{"/scripts/shred.sh", "3"}},
		{Wipe{Method: WipeNVMeFormat, Passes: 1}, []string{"/usr/local/bin/berth", "clean", "nvme-format"}},
		{Wipe{Method: WipeSignatures, Passes: 1}, []string{"/scripts/quick_reset.sh"}},
		{Wipe{Method: WipeCommand, Command: []string{"sh", "-c", "true"}}, []string{"sh", "-c", "true"}},
	} {
		if got := c.wipe.CommandLine(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %q, want %q", c.wipe, got, c.want)
		}
	}
}
