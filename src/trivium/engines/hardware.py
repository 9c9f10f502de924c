"""What this machine gives to an engine: cores and memory, as the container and the affinity mask leave them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 1 << 60  # cgroup v1 writes a huge number where there is no limit
_SLASH = Path("/")


def cores(root: Path = _SLASH) -> int:
    """Physical cores that this process may use: the smallest of topology, affinity mask and container quota."""
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else set(range(os.cpu_count() or 1))
    quota = _cpu_quota(root)
    physical = _physical(root, allowed)
    return max(1, physical if quota is None else min(physical, math.floor(quota)))


def threads(in_use: int = 0, *, available: int | None = None) -> int:
    """Threads for one more engine when those awake use `in_use`.

    One core stays free for the gateway: spinning threads without a core of their own made the engine ten times
    slower, so the sum never exceeds cores - 1 (but is at least one an engine).
    """
    return max(1, (cores() if available is None else available) - 1 - in_use)


def memory_available(root: Path = _SLASH) -> int | None:
    """Bytes that can be taken without swapping: the smaller of system and container; None where nobody says."""
    found = [room for room in (_system_memory(root), *_container_rooms(root)) if room is not None]
    return min(found, default=None)


def _physical(root: Path, allowed: set[int]) -> int:
    seen: set[tuple[str, str]] = set()
    for cpu in allowed:
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        package, core = _text(topology / "physical_package_id"), _text(topology / "core_id")
        seen.add((package, core) if core else ("", str(cpu)))
    return len(seen)


def _cpu_quota(root: Path) -> float | None:
    """Cores that the container's quota amounts to; None: no quota."""
    found: list[float] = []
    for group in _groups(root, "cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _container_rooms(root: Path) -> Iterator[int | None]:
    for group in _groups(root, "memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most, now = _text(group / limit), _text(group / used)
            if most.isdecimal() and now.isdecimal() and int(most) < _UNLIMITED:
                yield max(0, int(most) - int(now) + _reclaimable(group))


def _reclaimable(group: Path) -> int:
    """Cached file pages: counted as used, given back on demand."""
    for line in _text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of our control group and its parents, version 2 and version 1."""
    base = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = base / controllers if controllers else base
        group = mount / path.strip("/")
        # Inside a container the path may be the host's: then only the mount itself is there.
        while True:
            yield group
            if group == mount or mount not in group.parents:
                break
            group = group.parent


def _system_memory(root: Path) -> int | None:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
