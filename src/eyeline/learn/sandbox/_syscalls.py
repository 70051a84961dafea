"""What Linux offers a process to give up rights, by number: neither Python nor libc names them.

Landlock (kernel 5.13) forbids writing to files; seccomp forbids system calls; a mount namespace can
be made read-only. All of it is for good: what has been given up cannot be taken back.
"""

import ctypes
import errno
import os
import platform
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SECCOMP_MODE_FILTER = 2
_MOUNT_SETATTR, _AT_RECURSIVE, _MOUNT_ATTR_RDONLY = 442, 0x8000, 1
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446

# rights of Landlock that change files, by the version of its interface that brought them
_WRITE_FILE, _REMOVE_AND_MAKE, _REFER, _TRUNCATE = 1 << 1, 0x1FF << 4, 1 << 13, 1 << 14

# (start a process, run a program, signal another process, open a socket): EPERM
_FORBIDDEN = {
    "x86_64": (57, 58, 59, 322, 62, 200, 424, 41),
    "aarch64": (221, 281, 129, 130, 424, 198),
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE3, _CLONE_THREAD = 435, 0x10000


class Refused(OSError):
    """The system does not have it, or does not grant it."""


def die_with_parent() -> None:
    """Be killed when the process that started this one ends, however it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def no_new_privileges() -> None:
    """No program that is run can have more rights than this process."""
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def read_only_files(writable: str, hidden: list[str], size: int) -> None:
    """Everything read-only but `writable`, a folder in memory of `size` bytes; `hidden` are empty.

    Only in a mount namespace of one's own.
    """
    _check(_LIBC.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    for folder in hidden:
        _check(_LIBC.mount(b"none", os.fsencode(folder), b"tmpfs", 0, b"size=4k"))
    attributes = struct.pack("QQQQ", _MOUNT_ATTR_RDONLY, 0, 0, 0)
    _check(_LIBC.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, 32))
    _check(_LIBC.mount(b"none", os.fsencode(writable), b"tmpfs", 0, f"size={size}".encode()))
    os.chdir(writable)  # the folder that was there before lies underneath


def write_only_beneath(folder: str) -> None:
    """Landlock: files can be made, changed and removed beneath `folder` only."""
    version = _LIBC.syscall(_LANDLOCK_CREATE, None, 0, 1)
    _check(version)
    rights = _WRITE_FILE | _REMOVE_AND_MAKE
    rights |= _REFER if version >= 2 else 0
    rights |= _TRUNCATE if version >= 3 else 0
    rules = _LIBC.syscall(_LANDLOCK_CREATE, struct.pack("Q", rights), 8, 0)
    _check(rules)
    for path, allowed in ((folder, rights), ("/dev/null", rights & (_WRITE_FILE | _TRUNCATE))):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        beneath = struct.pack("=Qi", allowed, opened)
        _check(_LIBC.syscall(_LANDLOCK_ADD, rules, 1, beneath, 0))
        os.close(opened)
    _check(_LIBC.syscall(_LANDLOCK_RESTRICT, rules, 0))
    os.close(rules)


def no_processes_no_network() -> None:
    """Seccomp: no new process, no other program, no signal to others, no socket. Threads may be."""
    machine = platform.machine()
    if machine not in _CLONE:
        raise Refused(errno.ENOSYS, f"no filter for {machine}")
    load_arch, load_number, load_flags = 4, 0, 16
    deny = 0x00050000 | errno.EPERM
    program = [(0x20, 0, 0, load_arch), (0x15, 1, 0, _AUDIT_ARCH[machine]), (0x06, 0, 0, deny)]
    program += [(0x20, 0, 0, load_number)]
    if machine == "x86_64":  # the x32 numbering would go round the filter
        program += [(0x35, 0, 1, 0x40000000), (0x06, 0, 0, deny)]
    # libc takes clone3's ENOSYS for an old kernel and calls clone, whose flags can be seen
    program += [(0x15, 0, 1, _CLONE3), (0x06, 0, 0, 0x00050000 | errno.ENOSYS)]
    for number in _FORBIDDEN[machine]:
        program += [(0x15, 0, 1, number), (0x06, 0, 0, deny)]
    program += [
        (0x15, 0, 3, _CLONE[machine]),
        (0x20, 0, 0, load_flags),
        (0x45, 1, 0, _CLONE_THREAD),
        (0x06, 0, 0, deny),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    wanted = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    _check(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, wanted, 0, 0))


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise Refused(code, os.strerror(code))
