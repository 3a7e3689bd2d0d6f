package host

import (
	"errors"
	"testing"
)

func TestHeldNames(t *testing.T) {
	if err := held(nil); err != nil {
		t.Error(err)
	}
	holders := []Holder{{7, "postgres", "0123456789ab", "/data/base"}, {8, "sh", "", "/data"}, {9, "a", "", "/"}, {10, "b", "", "/"}, {11, "c", "", "/"}}
	err := held(holders)
	const want = `is in use: process 7 (postgres) of container 0123456789ab has "/data/base" open, process 8 (sh) has "/data" open, process 9 (a) has "/" open, and 2 more do`
	if !errors.Is(err, ErrBusy) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	for cgroup, want := range map[string]string{
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope\n": "0123456789ab",
		"0::/user.slice/user-0.slice\n": "",
	} {
		got := ""
		if id := containerID.FindString(cgroup); id != "" {
			got = id[:12]
		}
		if got != want {
			t.Errorf("%s: %q, want %q", cgroup, got, want)
		}
	}
}
