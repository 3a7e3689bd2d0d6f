//go:build vm

package vm_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-storage/berth/test/vm"
)

// hold boots a machine, says so, and keeps it until it is killed.
func hold([]string) error {
	if _, err := vm.Boot(context.Background(), vm.Options{Disks: []vm.Disk{{Serial: "HELD", Bytes: mib}}}); err != nil {
		return err
	}
	fmt.Println("up")
	select {}
}

// TestVMNothingOutlivesTheTest: a test that is killed leaves no process and no
// file.
func TestVMNothingOutlivesTheTest(t *testing.T) {
	temp := t.TempDir()
	cmd := exec.Command("/proc/self/exe", "hold")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var machines []string
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", cmd.Process.Pid))
	for _, file := range tasks {
		data, _ := os.ReadFile(file)
		machines = append(machines, strings.Fields(string(data))...)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if line != "up\n" || len(machines) != 1 {
		t.Fatalf("no machine: %q, %v, processes %q", line, err, machines)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		state, err := os.ReadFile("/proc/" + machines[0] + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			break // gone, or waiting for the first process to take note
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s is still there: %s", machines[0], state)
		}
	}
	if files, err := os.ReadDir(temp); err != nil || len(files) > 0 {
		t.Errorf("files are left: %v, %v", files, err)
	}
}
