"""The guardian of one child process: the child never outlives its owner, not even an owner that was killed by SIGKILL.

Run as a script, `python -I -S guardian.py OWNER_PID CORES NICENESS -- COMMAND…` (CORES: `-` or core numbers separated by commas), so it
imports nothing of this project and starts in 30 ms; or forked with its child by a fork server (marquee/forkserver.py). It speaks JSON
lines on its stdout: first `{"pid", "started", "guardian"}` of the child and itself (`started` in clock ticks since boot, so that a
recycled pid is told from the child), at the end `{"status", "cpu_s", "max_rss_mb"}`.

- owner dies, or SIGTERM/SIGINT comes: the child gets SIGTERM (and SIGCONT, should it be stopped), after GRACE_S SIGKILL;
- the guardian itself is killed: the kernel kills the child (PR_SET_PDEATHSIG; the guardian has one thread, so it is meant exactly);
- the child ends: so does the guardian, with the child's status.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Final, NoReturn

GRACE_S: Final = 20.0
PR_SET_PDEATHSIG: Final = 1
GROUP: Final = Path("/proc/self/autogroup")
SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
"""The system call's number."""
KEEP_POLICY: Final = 0x08
PROMPT_SLICE_NS: Final = 100_000
"""The least that the kernel grants."""


def started_ticks(pid: int) -> int:
    """When a process started, clock ticks since boot (field 22 of proc(5) stat)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


class SchedAttr(ctypes.Structure):
    """struct sched_attr of sched_setattr(2), which libc does not have."""

    _fields_ = [
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    ]


def weigh(libc: ctypes.CDLL, niceness: int) -> None:
    """This process and those that it starts weigh less than others, or, below 0, more, and come in short turns: who wakes up with a shorter
    slice than who runs need not wait until that one's turn is over (EEVDF, Linux 6.12). More weight is for who may take it
    (CAP_SYS_NICE); for who may not it stays as it is.

    Where the kernel groups threads by session (sched(7), "The autogroup feature"), it is the group's niceness that counts between
    sessions, and each guardian leads one."""
    own = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness < 0 and (number := SCHED_SETATTR.get(os.uname().machine)) is not None:
        turn = SchedAttr(ctypes.sizeof(SchedAttr), 0, KEEP_POLICY, own, 0, PROMPT_SLICE_NS, 0, 0)
        libc.syscall(number, 0, ctypes.byref(turn), 0)  # where it fails turns stay as long as everybody's
    try:
        if niceness:
            os.setpriority(os.PRIO_PROCESS, 0, max(niceness, own) if niceness > 0 else niceness + own)
            if os.access(GROUP, os.W_OK) and os.getsid(0) == os.getpgrp():
                GROUP.write_text(str(niceness))
    except BlockingIOError:  # ten groups a second are moved, of all ordinary users together; it then weighs as much as the others
        os.write(2, b"its session keeps its weight: the kernel moves no more of them just now\n")
    except PermissionError:
        if niceness > 0:
            raise


def begin_as_child(libc: ctypes.CDLL, guardian: int, cores: str, niceness: int) -> None:
    """The child's side of the fork: dies with the guardian, runs on its cores, and weighs as it is to."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    if cores != "-":
        os.sched_setaffinity(0, {int(core) for core in cores.split(",")})
    weigh(libc, niceness)
    # The child's output goes to its log (stderr); stdout is the guardian's line to the owner.
    os.dup2(2, 1)


def run(command: list[str]) -> NoReturn:
    """The child becomes the command."""
    try:
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def say(**words: object) -> bool:
    """Whether somebody may hear it: the owner may be gone, or ask no more."""
    try:
        os.write(1, json.dumps(words).encode() + b"\n")
    except BrokenPipeError:
        return False
    return True


def watch(child: int, owner: int) -> int:
    """Waits for the child's end, or brings it about. Returns the child's exit code, negative for a signal's."""
    ends = select.poll()
    child_fd, wake_fd = os.pidfd_open(child), signal_pipe()
    for fd in (child_fd, owner, wake_fd):
        ends.register(fd, select.POLLIN)
    ready = {fd for fd, _ in ends.poll()}
    if child_fd not in ready:
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGCONT)
        ends.unregister(owner)
        ends.unregister(wake_fd)
        if not ends.poll(GRACE_S * 1000):
            os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    say(status=code, cpu_s=usage.ru_utime + usage.ru_stime, max_rss_mb=usage.ru_maxrss / 1024)
    return code


def signal_pipe() -> int:
    """A file descriptor that turns readable when SIGTERM or SIGINT comes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    return reader


def guard(owner: int, cores: str, niceness: int) -> None:
    """Forks and returns in the child alone, which lives as the module says; the guardian ends here, with it. owner: a pidfd."""
    # Until the child is watched a SIGTERM waits, else it would end the guardian without its child's end being told.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    # Loaded before the fork: between fork and exec as little as possible happens.
    libc = ctypes.CDLL(None)
    guardian = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(owner)
        begin_as_child(libc, guardian, cores, niceness)
        return
    if not say(pid=child, started=started_ticks(child), guardian={"pid": guardian, "started": started_ticks(guardian)}):
        os.kill(child, signal.SIGKILL)  # its owner has given up waiting for it
    code = watch(child, owner)
    os._exit(code if code >= 0 else 128 - code)


def main() -> None:
    owner_pid, cores, niceness, command = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[5:]
    owner = os.pidfd_open(owner_pid)
    if os.getppid() != owner_pid:
        sys.exit("the owner is gone")
    guard(owner, cores, niceness)
    run(command)


if __name__ == "__main__":
    main()
