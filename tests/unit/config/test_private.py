from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trivium.config.private import write, write_once


def test_a_file_is_replaced_whole_and_readable_by_its_owner_only(tmp_path: Path):
    file = tmp_path / "new" / "x"
    write(file, b"one")
    write(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_the_first_of_many_writers_wins_and_all_agree(tmp_path: Path):
    file = tmp_path / "x"
    with ThreadPoolExecutor(16) as pool:
        seen = set(pool.map(lambda n: write_once(file, b"%d" % n), range(64)))
    assert seen == {file.read_bytes()}
    assert list(tmp_path.iterdir()) == [file]


def test_a_write_that_fails_leaves_no_copy_behind(tmp_path: Path):
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError):
        write(tmp_path / "x", b"secret")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
