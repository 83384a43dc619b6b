"""Processor time of processes and their children: on a shared machine it says more than rates do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_UTIME, _CSTIME = 11, 14  # fields behind the name: utime, stime, and the same of children that have ended


def seconds(roots: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds so far, by name; of each process, its children and those that have ended."""
    return {name: _tree(pid) for name, pid in roots.items()}


def _tree(pid: int) -> float:
    try:
        processes = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(map(_of, processes)) / _TICKS


def _of(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[_UTIME : _CSTIME + 1]))


def per_share(before: Mapping[str, float], after: Mapping[str, float], shares: int) -> dict[str, float]:
    """Milliseconds a share by name, and all together."""
    each = {name: (after[name] - before[name]) * 1000 / shares for name in before}
    return {name: round(ms, 2) for name, ms in each.items()} | {"all": round(sum(each.values()), 2)}


def machine() -> float:
    """Processor seconds that everybody together has used, without this process: it only watches."""
    times, ours = psutil.cpu_times(), psutil.Process().cpu_times()
    everybody = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
    return float(everybody - ours.user - ours.system)


def part(used: float, passed: float) -> float:
    """Of all the machine's processors, in so many seconds."""
    return round(max(0.0, used) / passed / (os.cpu_count() or 1), 2)
