package host

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Project quotas: include/uapi/linux/quota.h, dqblk_xfs.h, fs.h.
const (
	projectQuota   = 2          // PRJQUOTA
	quotaGet       = 0x800007   // Q_GETQUOTA
	quotaSet       = 0x800008   // Q_SETQUOTA
	quotaState     = 0x5805     // Q_XGETQSTAT: XQM_CMD(5)
	quotaLimits    = 1          // QIF_BLIMITS
	quotaBlock     = 1024       // QIF_DQBLKSIZE: what limits are counted in
	quotaCounts    = 1 << 4     // FS_QUOTA_PDQ_ACCT
	quotaEnforces  = 1 << 5     // FS_QUOTA_PDQ_ENFD
	fsGetAttribute = 0x801c581f // FS_IOC_FSGETXATTR
	fsSetAttribute = 0x401c5820 // FS_IOC_FSSETXATTR
	fsInherit      = 0x200      // FS_XFLAG_PROJINHERIT
)

// A Project is the number that a filesystem counts the space of a directory
// under, with all that is made in it. 0 is that of all else.
type Project uint32

type fsAttribute struct {
	flags, extent, extents uint32
	project                Project
	copyExtent             uint32
	_                      [8]byte
}

type quotaRecord struct {
	hard, soft, used               uint64 // limits in blocks of quotaBlock, used in bytes
	inodesHard, inodesSoft, inodes uint64
	blockTime, inodeTime           uint64
	valid                          uint32
	_                              uint32
}

func quotaCall(fd int, command uint, id Project, arg unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), uintptr(command<<8|projectQuota), uintptr(id), uintptr(arg), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// EnforcesProjects reports whether the folder's filesystem holds projects to
// their limits.
func (f *Folder) EnforcesProjects() (bool, error) {
	var state struct {
		version int8
		_       int8
		flags   uint16
		_       [76]byte // struct fs_quota_stat has 80 bytes
	}
	state.version = 1 // FS_QSTAT_VERSION
	err := f.With(".", func(fd int) error { return quotaCall(fd, quotaState, 0, unsafe.Pointer(&state)) })
	switch {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP):
		return false, nil // the kernel or the filesystem has none, or they are off
	case err != nil:
		return false, fmt.Errorf("reading the quota state of %q: %w", f.path, err)
	}
	const both = quotaCounts | quotaEnforces
	return state.flags&both == both, nil
}

// ProjectOf is the project of an entry.
func (f *Folder) ProjectOf(name string) (Project, error) {
	var a fsAttribute
	err := f.With(name, func(fd int) error { return fsAttributeCall(fd, fsGetAttribute, &a) })
	if err != nil {
		return 0, fmt.Errorf("reading the project of %q: %w", f.Path(name), err)
	}
	return a.project, nil
}

// SetProject gives an empty directory, and what will be made in it, a project.
func (f *Folder) SetProject(name string, p Project) error {
	var a fsAttribute
	err := f.With(name, func(fd int) error {
		if err := fsAttributeCall(fd, fsGetAttribute, &a); err != nil {
			return err
		}
		a.project, a.flags = p, a.flags|fsInherit
		return fsAttributeCall(fd, fsSetAttribute, &a)
	})
	if err != nil {
		return fmt.Errorf("giving %q the project %d: %w", f.Path(name), p, err)
	}
	return nil
}

func fsAttributeCall(fd int, call uint, a *fsAttribute) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(call), uintptr(unsafe.Pointer(a))); errno != 0 {
		return errno
	}
	return nil
}

// LimitProject sets how many bytes a project can hold; 0 is no limit.
func (f *Folder) LimitProject(p Project, bytes int64) error {
	blocks := uint64(bytes) / quotaBlock
	q := quotaRecord{hard: blocks, soft: blocks, valid: quotaLimits}
	if err := f.With(".", func(fd int) error { return quotaCall(fd, quotaSet, p, unsafe.Pointer(&q)) }); err != nil {
		return fmt.Errorf("limiting project %d of %q: %w", p, f.path, err)
	}
	return nil
}

// ProjectFree reports whether a project has neither files nor a limit.
func (f *Folder) ProjectFree(p Project) (bool, error) {
	var q quotaRecord
	err := f.With(".", func(fd int) error { return quotaCall(fd, quotaGet, p, unsafe.Pointer(&q)) })
	if errors.Is(err, unix.ENOENT) { // it was never counted
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading project %d of %q: %w", p, f.path, err)
	}
	return q.hard == 0 && q.used == 0 && q.inodes == 0, nil
}

// UsedByProject is what a project holds, in bytes and in inodes.
func (f *Folder) UsedByProject(p Project) (bytes, inodes int64, err error) {
	var q quotaRecord
	if err := f.With(".", func(fd int) error { return quotaCall(fd, quotaGet, p, unsafe.Pointer(&q)) }); err != nil {
		return 0, 0, fmt.Errorf("reading project %d of %q: %w", p, f.path, err)
	}
	return int64(q.used), int64(q.inodes), nil
}
