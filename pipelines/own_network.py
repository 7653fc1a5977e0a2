"""A network of its own for the process, in which no other user of the machine reaches the embedded engine. Linux only.

The engine listens on the loopback interface and asks nobody who they are. In a network namespace of its own the process has
a loopback interface that nobody else can see, and no other interface.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_FLAGS, _UP, _RUNNING = 0x8914, 0x1, 0x40


def take_own_network() -> None:
    """Move the process into a network namespace of its own. Nothing but itself and its children is reachable from then on.

    Root needs nothing for that. Another account gets a user namespace too, in which it stays who it is; for that the process
    must have started no thread yet. Raises OSError where the system does not allow it.
    """
    if sys.platform != "linux":
        raise OSError(f"not on {sys.platform}")
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        _unshare(_NEW_NETWORK)
    else:
        _unshare(_NEW_USER | _NEW_NETWORK)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path("/proc/self", name).write_bytes(text.encode())
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH22x", b"lo", _UP | _RUNNING))


def _unshare(what: int) -> None:
    system = ctypes.CDLL(None, use_errno=True)
    if system.unshare(what) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
