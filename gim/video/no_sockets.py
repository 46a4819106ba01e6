"""Takes the network away from a process for good, by the kernel: whatever a decoder is made to do, it opens no socket.

Linux on x86-64 and ARM64, by a seccomp filter (man 2 seccomp): `socket` fails with EPERM, and so does `io_uring_setup`,
which has a way of its own to sockets. Open files, pipes included, are left as they are.
"""

import ctypes
import errno
import platform
from dataclasses import dataclass

_SET_MODE_FILTER, _ALL_THREADS = 1, 1
_LOAD_WORD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of classic BPF
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
_OTHER_NUMBERS = 0x40000000  # x32's system calls, and beyond any of the others'


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of the kernel's interface."""

    architecture: int  # AUDIT_ARCH_*
    seccomp: int
    socket: int
    io_uring_setup: int = 425


_MACHINES = {
    "x86_64": _Machine(0xC000003E, seccomp=317, socket=41),
    "aarch64": _Machine(0xC00000B7, seccomp=277, socket=198),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def forbid_sockets() -> bool:
    """Let no thread of this process, and no process it starts, open a socket any more.

    The process must have given up new privileges (PR_SET_NO_NEW_PRIVS).

    Returns:
        Whether the kernel took it: not on other machines, nor where it has no seccomp.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return False
    steps = [
        _Instruction(_LOAD_WORD, 0, 0, _ARCHITECTURE_AT),
        _Instruction(_JUMP_IF_EQUAL, 0, 5, machine.architecture),  # another: 32-bit numbers mean other calls
        _Instruction(_LOAD_WORD, 0, 0, _NUMBER_AT),
        _Instruction(_JUMP_IF_AT_LEAST, 3, 0, _OTHER_NUMBERS),
        _Instruction(_JUMP_IF_EQUAL, 2, 0, machine.socket),
        _Instruction(_JUMP_IF_EQUAL, 1, 0, machine.io_uring_setup),
        _Instruction(_RETURN, 0, 0, _ALLOW),
        _Instruction(_RETURN, 0, 0, _REFUSE),
    ]
    program = _Program(len(steps), (_Instruction * len(steps))(*steps))
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.syscall(machine.seccomp, _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program))) == 0
