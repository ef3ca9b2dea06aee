"""A script: become a user other than root, arrange to end with the parent, and execute another program.

Between fork and exec hardly any call is safe in a program with threads; this script works after an exec, and
keeps the process id. It imports little, because every start of the server waits for it.
"""

import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000  # of <linux/sched.h>
PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>


def main(parent: str, ends_by: str, kind: str, uid: str, gid: str, *command: str) -> None:
    """Run `command` as the given identity; without a command only test whether the identity is permitted."""
    if kind == "namespace":
        enter_namespace(int(uid), int(gid))
    elif kind == "user":
        become(int(uid), int(gid))
    # After the change of identity, which would clear it.
    if sys.platform == "linux":
        libc("prctl", PR_SET_PDEATHSIG, int(ends_by))
    if os.getppid() != int(parent):
        sys.exit("the parent ended before its child began")
    if command:
        os.execv(command[0], command)  # noqa: S606  # the very purpose


def enter_namespace(uid: int, gid: int) -> None:
    """Keep the rights of the present user under another number."""
    outer_uid, outer_gid = os.geteuid(), os.getegid()
    libc("unshare", CLONE_NEWUSER)
    write("setgroups", "deny")
    write("uid_map", f"{uid} {outer_uid} 1")
    write("gid_map", f"{gid} {outer_gid} 1")


def become(uid: int, gid: int) -> None:
    """Give up the rights of root."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def write(name: str, text: str) -> None:
    """Set one property of this process."""
    with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123  # pathlib costs 10 ms
        file.write(text)


def libc(function: str, *arguments: int) -> None:
    """Call a function of the C library that Python 3.11 lacks."""
    if ctypes.CDLL(None, use_errno=True)[function](*map(ctypes.c_ulong, arguments)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{function}: {os.strerror(error)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
