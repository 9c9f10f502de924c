from __future__ import annotations

import errno
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger_help import closed, id_of, load, reserved, rows, settled, whole
from trivium.errors import LedgerUnavailable
from trivium.ledger import journal
from trivium.ledger.journal import JournalWriter
from trivium.ledger.record import Record
from trivium.ledger.segment import HEADER, frame, parse


def written(directory: Path) -> list[Record]:
    found: list[Record] = []
    for path in sorted(directory.glob("*.journal")):
        data = path.read_bytes()
        assert data.startswith(HEADER)
        stretch = parse(data[len(HEADER) :])
        assert not stretch.damaged
        found += stretch.records
    return found


def reserve_until_full(writer: JournalWriter) -> int:
    """How many reservations it took."""
    for number in range(10_000):
        try:
            writer.append(reserved(id_of(number)))
        except LedgerUnavailable:
            return number
        assert writer.flush()
    raise AssertionError("the journal has no bound")


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """The kernel writes no file beyond `size`: first a short write, then EFBIG, as a full disk does with ENOSPC."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_written_before_flush_and_all_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = JournalWriter(tmp_path / "j")
    assert not writer.pending
    assert writer.flush()
    for number in range(100):
        for record in whole(id_of(number)):
            writer.append(record)
    assert writer.pending
    assert not (tmp_path / "j").exists()
    sizes: list[int] = []
    write = os.write

    def counted(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(os, "write", counted)
    assert writer.flush()
    assert not writer.pending
    assert len(sizes) == 1
    assert written(tmp_path / "j") == [record for number in range(100) for record in whole(id_of(number))]
    writer.close()


def test_only_the_owner_may_read(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "j")
    writer.append(reserved("a"))
    writer.flush()
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "j").iterdir()} == {0o600}
    writer.close()


def test_segments_rotate(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, segment_bytes=1_000)
    for number in range(50):
        writer.append(settled(id_of(number)))
        assert writer.flush()
    segments = sorted(tmp_path.glob("*.journal"))
    assert len(segments) > 4
    assert all(1_000 <= path.stat().st_size < 1_200 for path in segments[:-1])
    assert written(tmp_path) == [settled(id_of(number)) for number in range(50)]
    writer.close()


def test_two_writers_of_one_directory_do_not_meet(tmp_path: Path) -> None:
    one, two = JournalWriter(tmp_path), JournalWriter(tmp_path)
    one.append(reserved("a"))
    two.append(reserved("b"))
    one.flush()
    two.flush()
    assert len(list(tmp_path.glob("*.journal"))) == 2
    one.close()
    two.close()


def test_a_full_journal_refuses_reservations_takes_settlements_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_RETRY_S", 0.0)
    journals = tmp_path / "journal"
    writer = JournalWriter(journals, max_bytes=100_000)
    count = reserve_until_full(writer)
    assert 85_000 < sum(path.stat().st_size for path in journals.iterdir()) < 95_000
    segments = len(list(journals.glob("*.journal")))
    for number in range(count):
        writer.append(settled(id_of(number)))
        assert writer.flush()
    assert writer.refused == 0
    assert len(list(journals.glob("*.journal"))) < segments + 30
    load(tmp_path)
    writer.append(reserved(id_of(count)))
    assert writer.flush()
    writer.close()
    load(tmp_path)
    assert rows(tmp_path, "SELECT outcome, count(*) FROM attempt GROUP BY outcome") == [("ok", count), ("unknown", 1)]


def test_another_writer_fills_the_directory(tmp_path: Path) -> None:
    other = JournalWriter(tmp_path, max_bytes=1 << 20)
    writer = JournalWriter(tmp_path, max_bytes=100_000)
    for number in range(1_000):
        other.append(settled(id_of(number)))
    other.flush()
    assert reserve_until_full(writer) < 400
    writer.close()
    other.close()


def test_a_full_disk_loses_nothing_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "_RETRY_S", 0.0)
    writer = JournalWriter(tmp_path)
    writer.append(reserved("a"))
    assert writer.flush()
    with files_end_at(sum(path.stat().st_size for path in tmp_path.iterdir()) + 50):
        writer.append(settled("a"))
        assert not writer.flush()
        assert writer.pending
        with pytest.raises(LedgerUnavailable, match=os.strerror(errno.EFBIG)):
            writer.append(reserved("b"))
        writer.append(closed("a"))
        assert not writer.flush()
    assert caplog.text.count("New requests are refused") == 1
    writer.append(reserved("c"))
    assert writer.flush()
    assert written(tmp_path) == [reserved("a"), settled("a"), closed("a"), reserved("c")]
    writer.close()


def test_what_finds_no_room_in_memory_is_counted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal, "KEPT_MAX_BYTES", 1_000)
    writer = JournalWriter(tmp_path)
    with files_end_at(0):
        for number in range(100):
            writer.append(settled(id_of(number)))
            assert not writer.flush()
    assert caplog.text.count("further ones are lost") == 1
    assert writer.flush()
    assert 0 < writer.refused < 100
    assert len(written(tmp_path)) == 100 - writer.refused
    writer.close()
    assert caplog.text.count(f"{writer.refused} records were lost") == 1


def test_a_directory_that_cannot_be_made_refuses_as_a_full_disk_does(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    writer = JournalWriter(tmp_path / "file" / "journal")
    writer.append(reserved("a"))
    assert not writer.flush()
    with pytest.raises(LedgerUnavailable):
        writer.append(reserved("b"))


FORKING = """
import os, sys
from pathlib import Path
from ledger_help import reserved, settled
from trivium.ledger.journal import JournalWriter

writer = JournalWriter(Path(sys.argv[1]))
writer.append(reserved("parent"))
writer.flush()
writer.append(settled("parent"))
if (child := os.fork()) == 0:
    writer.append(reserved("child"))
    os._exit(0 if writer.flush() else 1)
assert os.waitpid(child, 0)[1] == 0
assert len(list(Path(sys.argv[1]).glob("*.journal"))) == 2
writer.flush()
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_begins_its_own_series(tmp_path: Path) -> None:
    tests = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path / "journal")],
        env=os.environ | {"PYTHONPATH": str(tests)},
        check=False,
        timeout=30,
    )
    assert done.returncode == -9
    series = [[type(r).__name__ + r.id for r in records_of(path)] for path in (tmp_path / "journal").glob("*.journal")]
    assert sorted(series) == [["Reservedchild"], ["Reservedparent", "Settledparent"]]
    load(tmp_path)
    assert rows(tmp_path, "SELECT id, outcome FROM attempt ORDER BY id") == [("child", "unknown"), ("parent", "ok")]
    assert list((tmp_path / "journal").iterdir()) == []


def records_of(path: Path) -> list[Record]:
    return parse(path.read_bytes()[len(HEADER) :]).records


def test_records_stay_small() -> None:
    # A gigabyte of journal is some three million requests.
    assert len(frame(whole(id_of(1)))) < 400
