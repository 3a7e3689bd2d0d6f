//go:build root

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-storage/berth/api"
	"github.com/berth-storage/berth/internal/host"
	"github.com/berth-storage/berth/internal/host/hosttest"
)

const loopBytes = 64 << 20

// berth runs the command line with an environment and returns what it prints.
func berth(t *testing.T, ctx context.Context, env map[string]string, args ...string) (string, error) {
	t.Helper()
	for _, name := range []string{api.EnvDevice, api.EnvFilesystem, api.EnvIdentity} {
		t.Setenv(name, env[name])
	}
	var out bytes.Buffer
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func tenantsLoop(t *testing.T) string {
	t.Helper()
	device := hosttest.NewLoop(t, loopBytes)
	if err := os.WriteFile(device, bytes.Repeat([]byte("secret--"), loopBytes/8), 0o600); err != nil {
		t.Fatal(err)
	}
	return device
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRootCleanDevice: each method, on a device and on a link to one.
func TestRootCleanDevice(t *testing.T) {
	for args, want := range map[string]string{
		"signatures": "32.0 MiB erased, 32.0 MiB read back", "quick-reset": "method signatures", "shred 2": "method shred: 192.0 MiB erased",
		"shred": "256.0 MiB erased", "zero": "method zero: 64.0 MiB erased", "zero 2": "128.0 MiB erased, 64.0 MiB read back", "erase": "64.0 MiB erased",
	} {
		t.Run(args, func(t *testing.T) {
			device := tenantsLoop(t)
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(device, link); err != nil {
				t.Fatal(err)
			}
			out, err := berth(t, t.Context(), map[string]string{api.EnvDevice: link}, append([]string{"clean"}, strings.Fields(args)...)...)
			if err != nil || !strings.Contains(out, want) || !strings.Contains(out, "erasing "+device+" (64.0 MiB)") {
				t.Errorf("%v, it said: %s", err, out)
			}
			data := read(t, device)
			if strings.Contains(out, "method signatures") {
				data = append(data[:16<<20], data[48<<20:]...)
			}
			if bytes.Contains(data, []byte("secret")) {
				t.Error("the tenant's bytes are still there")
			}
		})
	}
}

// TestRootCleanRefuses: what is in use or another device is not written to.
func TestRootCleanRefuses(t *testing.T) {
	device := tenantsLoop(t)
	backing := strings.TrimSpace(string(read(t, filepath.Join("/sys/block", filepath.Base(device), "loop/backing_file"))))
	refused := func(want string, env map[string]string) {
		t.Helper()
		out, err := berth(t, t.Context(), env, "clean", "zero")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), api.EnvDevice+"="+env[api.EnvDevice]) {
			t.Errorf("%v: %v, want %q; it said: %s", env, err, want, out)
		}
		if !bytes.Equal(read(t, device), bytes.Repeat([]byte("secret--"), loopBytes/8)) {
			t.Fatal("it was written to")
		}
	}
	refused("nothing was written: it is loop:"+backing+", not wwid:1", map[string]string{api.EnvDevice: device, api.EnvIdentity: "wwid:1"})
	refused("is not a block device", map[string]string{api.EnvDevice: "/dev/null"})
	b, err := host.OpenBlock(device, func(int) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	refused(host.ErrBusy.Error(), map[string]string{api.EnvDevice: device, api.EnvIdentity: "loop:" + backing})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = berth(t, ctx, map[string]string{api.EnvDevice: device}, "clean", "zero")
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "does not count as erased") {
		t.Errorf("cancelled: %v", err)
	}

	out, err := berth(t, t.Context(), map[string]string{api.EnvDevice: device, api.EnvIdentity: "weak:device:fast/d"}, "clean", "zero")
	if err != nil || !strings.Contains(out, "not compared") {
		t.Errorf("with a weak identity: %v, it said: %s", err, out)
	}
	out, err = berth(t, t.Context(), map[string]string{api.EnvDevice: device, api.EnvIdentity: "loop:" + backing}, "clean", "zero")
	if err != nil || strings.Contains(out, "not compared") {
		t.Errorf("with its own identity: %v, it said: %s", err, out)
	}
}

// TestRootCleanMounted: a mounted device keeps its filesystem.
func TestRootCleanMounted(t *testing.T) {
	device := hosttest.Format(t, "ext4", hosttest.NewLoop(t, loopBytes))
	hosttest.Mount(t, device, t.TempDir(), "ext4")
	for _, method := range []string{"signatures", "shred", "zero", "erase"} {
		if _, err := berth(t, t.Context(), map[string]string{api.EnvDevice: device}, "clean", method); !errors.Is(err, host.ErrBusy) {
			t.Errorf("%s of a mounted device: %v", method, err)
		}
	}
}

// TestRootCleanContents: the directory is empty and as it was; a link out of it,
// another mount in it and another filesystem's identity are respected.
func TestRootCleanContents(t *testing.T) {
	at := hosttest.NewFS(t, "ext4", loopBytes)
	outside := filepath.Join(t.TempDir(), "precious")
	file := filepath.Join(at, "a", "file")
	plant := func() {
		t.Helper()
		err := errors.Join(os.WriteFile(outside, nil, 0o600), os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("x"), 0o600),
			os.Chmod(at, 0o777|os.ModeSticky), os.Chown(at, 7, 8))
		if err == nil {
			err = os.Symlink(filepath.Dir(outside), filepath.Join(at, "link"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	plant()
	refused := func(want string, env map[string]string) {
		t.Helper()
		if out, err := berth(t, t.Context(), env, "clean", "contents"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q; it said: %s", env, err, want, out)
		}
		read(t, file)
	}
	link := filepath.Join(t.TempDir(), "volume")
	if err := os.Symlink(at, link); err != nil {
		t.Fatal(err)
	}
	refused("is not a mount point", map[string]string{api.EnvFilesystem: link})
	refused("is not a mount point", map[string]string{api.EnvFilesystem: filepath.Dir(file)})
	refused("nothing was written: it is fs:", map[string]string{api.EnvFilesystem: at, api.EnvIdentity: "fs:another:/"})
	nested := filepath.Join(at, "a", "nested")
	if err := errors.Join(os.Mkdir(nested, 0o755), unix.Mount("berth-test", nested, "tmpfs", 0, "size=1m")); err != nil {
		t.Fatal(err)
	}
	refused(host.ErrNestedMount.Error(), map[string]string{api.EnvFilesystem: at})
	if err := unix.Unmount(nested, 0); err != nil {
		t.Fatal(err)
	}

	out, err := berth(t, t.Context(), map[string]string{api.EnvFilesystem: at}, "clean", "contents")
	if err != nil || !strings.Contains(out, "4 entries removed") {
		t.Errorf("%v, it said: %s", err, out)
	}
	left, err := os.ReadDir(at)
	if err != nil || len(left) != 1 || left[0].Name() != "lost+found" {
		t.Errorf("left: %v, %v", left, err)
	}
	read(t, outside)
	var st unix.Stat_t
	if err := unix.Stat(at, &st); err != nil || st.Mode&0o7777 != 0o1777 || st.Uid != 7 || st.Gid != 8 {
		t.Errorf("the directory has mode %o and owner %d:%d, %v", st.Mode&0o7777, st.Uid, st.Gid, err)
	}
}
