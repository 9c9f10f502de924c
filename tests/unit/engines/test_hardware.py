from __future__ import annotations

from pathlib import Path

import pytest

from engines_help import write
from trivium.engines import hardware

MIB = 1 << 20


def machine(root: Path, *, cpus: int, siblings: int = 1, **files: str) -> Path:
    for cpu in range(cpus):
        topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        write(topology / "physical_package_id", b"0\n")
        write(topology / "core_id", f"{cpu // siblings}\n".encode())
    write(root / "proc/meminfo", b"MemTotal: 9000 kB\nMemAvailable:   2048000 kB\n")
    write(root / "proc/self/cgroup", b"0::/box/inner\n")
    for name, content in files.items():
        write(root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", "."), content.encode())
    return root


@pytest.fixture(autouse=True)
def _four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})


def test_hyperthreads_of_one_core_count_once(tmp_path: Path) -> None:
    assert hardware.cores(machine(tmp_path, cpus=4, siblings=2)) == 2


def test_only_cpus_of_the_affinity_mask_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {3})
    assert hardware.cores(machine(tmp_path, cpus=4)) == 1


@pytest.mark.parametrize(("quota", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 4)])
def test_the_quota_of_the_container_bounds_the_cores(tmp_path: Path, quota: str, cores: int) -> None:
    assert hardware.cores(machine(tmp_path, cpus=4, box__cpu_dot_max=quota)) == cores


def test_the_quota_of_control_groups_version_1(tmp_path: Path) -> None:
    root = machine(tmp_path, cpus=4)
    write(root / "proc/self/cgroup", b"4:cpu,cpuacct:/docker/x\n")
    write(root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", b"300000\n")
    write(root / "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", b"100000\n")
    assert hardware.cores(root) == 3


def test_one_core_stays_free_and_engines_share_the_rest() -> None:
    assert [hardware.threads(used, available=8) for used in (0, 3, 7, 20)] == [7, 4, 1, 1]
    assert hardware.threads(available=1) == 1


def test_memory_is_the_smaller_of_system_and_container(tmp_path: Path) -> None:
    assert hardware.memory_available(machine(tmp_path / "a", cpus=1)) == 2000 * MIB
    inside = machine(
        tmp_path / "b",
        cpus=1,
        box__memory_dot_max=str(500 * MIB),
        box__memory_dot_current=str(300 * MIB),
        box__memory_dot_stat=f"anon 5\ninactive_file {100 * MIB}\n",
    )
    assert hardware.memory_available(inside) == 300 * MIB


def test_this_machine_has_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert hardware.cores() >= 1
    assert (hardware.memory_available() or 0) > 1 << 20
