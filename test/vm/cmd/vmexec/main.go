// Command vmexec runs a test binary in a machine, for `go test -exec`:
//
//	go test -tags vm -exec 'go run github.com/berth-storage/berth/test/vm/cmd/vmexec' ./internal/disk
//
// The machine has the package's testdata directory, the environment variables
// whose names begin with BERTH_, and these disks, all empty:
//
//	BERTH-NVME-1 … 3  NVMe, 64 MiB
//	BERTH-NVME-4      NVMe, 16 MiB
//	BERTH-SCSI-1      SCSI with a world wide name, 16 MiB
//	BERTH-VIRTIO-1    virtio with a serial number, 16 MiB
//
// It ends with the binary's exit status, or with 125 when there was no machine.
// A package below test/vm drives machines itself, so its tests run right here.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berth-storage/berth/test/vm"
)

const mib = 1 << 20

var disks = []vm.Disk{
	{Serial: "BERTH-NVME-1", Bytes: 64 * mib, Kind: vm.NVMe},
	{Serial: "BERTH-NVME-2", Bytes: 64 * mib, Kind: vm.NVMe},
	{Serial: "BERTH-NVME-3", Bytes: 64 * mib, Kind: vm.NVMe},
	{Serial: "BERTH-NVME-4", Bytes: 16 * mib, Kind: vm.NVMe},
	{Serial: "BERTH-SCSI-1", Bytes: 16 * mib, Kind: vm.SCSI, WWN: 0x5000c500a1b2c3d4},
	{Serial: "BERTH-VIRTIO-1", Bytes: 16 * mib, Kind: vm.Virtio},
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: vmexec BINARY ARGUMENT...\nThe machine's disks:")
		for _, d := range disks {
			fmt.Fprintf(os.Stderr, "  %-14s %-6s %d MiB\n", d.Serial, d.Kind, d.Bytes/mib)
		}
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status, err := run(ctx, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "vmexec:", err)
		status = 125
	}
	os.Exit(status)
}

func run(ctx context.Context, args []string) (status int, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	if strings.Contains(dir+"/", "/test/vm/") {
		return 0, syscall.Exec(args[0], args, os.Environ())
	}
	files := map[string]string{"test": args[0]}
	if _, err := os.Stat("testdata"); err == nil {
		files["testdata"] = filepath.Join(dir, "testdata")
	}
	m, err := vm.Boot(ctx, vm.Options{Disks: disks, Files: files})
	if err != nil {
		return 0, err
	}
	defer m.Close()
	var env []string
	for _, e := range os.Environ() {
		if strings.HasPrefix(e, "BERTH_") {
			env = append(env, e)
		}
	}
	return m.Run(ctx, vm.Command{
		Args: append([]string{"/host/test"}, args[1:]...), Env: env, Dir: "/host", Stdout: os.Stdout, Stderr: os.Stderr,
	})
}
