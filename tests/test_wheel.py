"""The wheel: what is in it, that it can be built again bit for bit, and that it works in an environment of its own.

Built by hatchling from this environment, without isolation and so without a network.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

import trivium

ROOT = Path(__file__).parents[1]
SIZE_LIMIT = 30 * 1024 * 1024
SOURCES = ("src", "tests", "pyproject.toml", "README.md", "LICENSE", "NOTICE", ".gitignore")
GENERATED = shutil.ignore_patterns("__pycache__", "*.pyc")
SUFFIXES = {".py", ".typed", ".toml", ".json", ".sql"}
"""What the package is made of; a new kind of file is added here on purpose."""


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copied_tree(to: Path) -> Path:
    """The files that a wheel is made from, with new time stamps."""
    to.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=GENERATED, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(ROOT / name, to / name)
    return to


def build(tree: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"],
        cwd=tree,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_tree(tmp_path_factory.mktemp("wheel") / "tree")


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build(tree)


@pytest.fixture(scope="module")
def fresh_bin(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment that has the wheel and nothing else."""
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, with_pip=False)
    scripts = home / ("Scripts" if os.name == "nt" else "bin")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", scripts / "python")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return scripts


def locked_dependencies() -> dict[str, str]:
    """The libraries of this environment by path: no `.pth` file is read there, so this checkout stays out of sight."""
    return {"PYTHONPATH": sysconfig.get_path("purelib")}


def test_wheel_holds_the_package_and_nothing_else(tree: Path, wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    package = {name for name in names if name.startswith("trivium/")}
    files = {path.relative_to(tree / "src").as_posix() for path in (tree / "src").rglob("*") if path.is_file()}
    assert package == files
    assert {Path(name).suffix for name in package} <= SUFFIXES
    assert {name.partition("/")[0] for name in names} == {"trivium", f"trivium-{trivium.__version__}.dist-info"}
    assert {"trivium/py.typed", "trivium/catalog/providers.toml", "trivium/catalog/prices.json"} <= package
    assert any(name.startswith("trivium/ledger/migrations/") and name.endswith(".sql") for name in package)
    assert wheel.stat().st_size < SIZE_LIMIT


def test_wheel_carries_its_licence(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_wheel_is_reproducible(wheel: Path, tmp_path: Path) -> None:
    again = build(copied_tree(tmp_path / "tree"))
    assert sha256(again.read_bytes()).digest() == sha256(wheel.read_bytes()).digest()


@pytest.mark.parametrize(
    "environment", [{"PYTHONPATH": ""}, locked_dependencies()], ids=["alone", "with its libraries"]
)
def test_wheel_imports_in_a_fresh_environment(fresh_bin: Path, environment: dict[str, str]) -> None:
    where = run(fresh_bin / "python", "-c", "import trivium; print(trivium.__file__)", **environment)
    assert Path(where.strip()).is_relative_to(fresh_bin.parent)


def test_command_runs_in_a_fresh_environment(fresh_bin: Path, tmp_path: Path) -> None:
    environment = locked_dependencies() | {"TRIVIUM_HOME": str(tmp_path / "home")}
    assert "serve" in run(fresh_bin / "trivium", "--help", **environment)
    assert list(tmp_path.iterdir()) == [], "asking for help writes nothing"
