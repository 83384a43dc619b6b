"""Become another program that dies with its parent: `python launch.py OPTIONS -- PROGRAM ARGUMENTS…`.

Run by path with `python -I -S` (about 20 ms, standard library only) and then replaced by the program, so the
process id stays. Doing this here and not in a `preexec_fn` keeps the parent free to use threads.

On Linux the kernel sends the death signal (PR_SET_PDEATHSIG). It does so when the *thread* that forked ends, so
children are started from a thread that lives as long as they do. Elsewhere a small watcher holds the other end
of a pipe: it reads end-of-file when the parent is gone, and one byte when the parent has seen the program end.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def _die_with_parent(parent: int, death_signal: int) -> None:
    """Ask the kernel for the signal; must come after a change of user, which clears it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it went while we were starting: nobody will send the signal any more
        os._exit(1)


def _watch_parent(pipe: int, death_signal: int) -> None:
    """Leave a grandchild behind that signals this process when the pipe's other end closes."""
    target = os.getpid()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os.close(pipe)
        return
    if os.fork():
        os._exit(0)
    # Any other descriptor kept open here (the data folder's lock) would outlive the program.
    os.dup2(pipe, 0)
    os.closerange(1, 256)
    if os.read(0, 1) == b"":
        try:
            os.kill(target, death_signal)
        except ProcessLookupError:
            os._exit(0)
    os._exit(0)


def _become(uid: int | None, gid: int | None) -> None:
    if uid is None or gid is None:
        return
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(argv: list[str]) -> None:
    """Prepare this process as the options say and replace it by the program after `--`."""
    split = argv.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--death-signal", type=int, required=True)
    parser.add_argument("--watch-fd", type=int, help="read end of the parent's pipe, where the kernel cannot watch")
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    options = parser.parse_args(argv[:split])
    program = argv[split + 1 :]
    os.nice(options.nice)
    _become(options.uid, options.gid)
    if options.watch_fd is not None:
        _watch_parent(options.watch_fd, options.death_signal)
    elif sys.platform == "linux":
        _die_with_parent(options.parent, options.death_signal)
    try:
        os.execvp(program[0], program)  # noqa: S606 - an argv list, no shell
    except OSError as exc:
        sys.exit(f"cannot run {program[0]}: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
