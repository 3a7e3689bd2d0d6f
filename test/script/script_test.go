//go:build script

package script

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// version is what the programs under test were told at link time.
const version = "v0.0.0-script"

var bin string // the directory of the built programs

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "berth-script-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, "go", "build", "-ldflags", "-X main.version="+version, "-o", dir+"/", "../../cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.WaitDelay = 5 * time.Second
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the commands: %v\n%s", err, out)
		return 1
	}
	bin = dir
	return m.Run()
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("VERSION", version)
			env.Setenv("BERTH", filepath.Join(bin, "berth"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"refused": refused,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

// refused runs a command that must end with status 1, print nothing on stdout,
// and leave every file of the work directory as it was. Its stderr can be
// looked at by the script's next line.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: refused command [argument...]")
	}
	before, err := snapshot(ts.MkAbs("."))
	ts.Check(err)
	var exit *exec.ExitError
	if err := ts.Exec(args[0], args[1:]...); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		ts.Fatalf("%v ended with %v, want status 1", args, err)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("%v was refused, but printed on stdout: %s", args, out)
	}
	if ts.ReadFile("stderr") == "" {
		ts.Fatalf("%v was refused without a word", args)
	}
	after, err := snapshot(ts.MkAbs("."))
	ts.Check(err)
	for name := range after {
		if before[name] != after[name] {
			ts.Fatalf("%v was refused, but changed %s", args, name)
		}
	}
	if len(before) != len(after) {
		ts.Fatalf("%v was refused, but %d files became %d", args, len(before), len(after))
	}
}

// snapshot is what tells one state of a directory from another: modes and contents.
func snapshot(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files[path] += fmt.Sprintf(" %x", sha256.Sum256(data))
		}
		return nil
	})
	return files, err
}
