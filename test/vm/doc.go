// Package vm starts machines for tests: a whole Linux in QEMU, with NVMe, SCSI
// and virtio disks, for what the kernel of the machine that runs the tests
// cannot show (LVM, md, thin pools, identities of real disks) and for what only
// a whole machine can: a power cut, a pulled disk, a reboot after which the
// disks have other names.
//
// A machine is a process and open files. It has no file, socket or device that
// has a name, so nothing of it is left wherever the test ends. It is emulated
// and needs no KVM: work in it takes about ten times as long, and a limit in
// seconds says nothing.
//
// Its disks are modelled on real ones: what was written and not flushed is in
// the disk's volatile cache, and when the power is cut each page in there is
// kept or lost by itself, see [Machine.CutPower]; NVMe disks alone keep it all. A
// discard that promises nothing does nothing.
//
// There are two ways to use it, both with the build tag "vm":
//
//   - A test in any other package runs inside a machine that cmd/vmexec starts,
//     with the disks that the command lists:
//     go test -tags vm -exec 'go run github.com/berth-storage/berth/test/vm/cmd/vmexec' ./internal/disk
//   - A test in here, or beneath, runs on the host and drives machines. What it
//     does inside is in its own binary, see [Options.Files].
//
// Root is needed once, to make the root filesystem; it is cached in
// ~/.cache/berth. The machines know nothing of Kubernetes.
package vm
