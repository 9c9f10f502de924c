import subprocess
import sys
from pathlib import Path

import pytest

from trivium.config.secret import derive, root_secret
from trivium.errors import ConfigError


def test_the_secret_is_made_once_and_kept_private(tmp_path: Path):
    first = root_secret(tmp_path, {})
    assert root_secret(tmp_path, {}) == first
    assert len(first) == 64
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_the_environment_comes_first_and_leaves_no_file(tmp_path: Path):
    assert root_secret(tmp_path, {"TRIVIUM_SECRET": " 0123456789abcdef\n"}) == b"0123456789abcdef"
    assert list(tmp_path.iterdir()) == []


def test_a_short_secret_is_refused_without_being_repeated(tmp_path: Path):
    with pytest.raises(ConfigError, match="shorter than 16") as caught:
        root_secret(tmp_path, {"TRIVIUM_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)
    (tmp_path / "secret").write_bytes(b"")
    with pytest.raises(ConfigError, match="shorter than 16"):
        root_secret(tmp_path, {})


def test_purposes_have_unrelated_keys():
    keys = {derive(b"r" * 32, "virtual-keys"), derive(b"r" * 32, "engine"), derive(b"s" * 32, "virtual-keys")}
    assert len(keys) == 3
    assert {len(key) for key in keys} == {32}


def test_racing_processes_agree_on_one_secret(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from trivium.config.secret import root_secret;"
        "sys.stdout.write(root_secret(Path(sys.argv[1]), {}).decode())"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    secrets = {racer.communicate(timeout=60)[0] for racer in racers}
    assert secrets == {(tmp_path / "secret").read_text()}
