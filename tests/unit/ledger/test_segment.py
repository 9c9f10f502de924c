from __future__ import annotations

from pathlib import Path
from zlib import crc32

import msgspec
import pytest

from ledger_help import closed, id_of, reserved, settled
from trivium.errors import LedgerUnavailable
from trivium.ledger.record import FIGURE_MAX, Closed, Record
from trivium.ledger.segment import FORMAT, FRAME, HEADER, RECORD_MAX_BYTES, check_header, frame, parse


def back(*records: Record) -> list[Record]:
    """What a reader finds of them."""
    stretch = parse(frame(records))
    assert not stretch.damaged
    return stretch.records


RECORDS: list[Record] = [reserved(id_of(1)), settled(id_of(1)), closed(id_of(1), dropped=("seed",), tags=("a", "b"))]


def test_records_come_back() -> None:
    data = frame(RECORDS[:2]) + frame(RECORDS[2:])
    assert parse(data) == (RECORDS, len(data), False)


def test_cut_anywhere_gives_the_whole_records_before_the_cut() -> None:
    frames = [frame([record]) for record in RECORDS]
    data = b"".join(frames)
    ends = [len(b"".join(frames[:count])) for count in range(4)]
    for cut in range(len(data) + 1):
        count = max(i for i, end in enumerate(ends) if end <= cut)
        assert parse(data[:cut]) == (RECORDS[:count], ends[count], False)


def test_no_flipped_byte_of_a_payload_passes() -> None:
    first, second = frame(RECORDS[:1]), frame(RECORDS[1:2])
    for at in range(FRAME.size, len(second)):
        broken = bytearray(second)
        broken[at] ^= 0x10
        assert parse(first + bytes(broken)) == (RECORDS[:1], len(first), True)


def test_zeros_are_no_records() -> None:
    assert parse(bytes(64)) == ([], 0, True)


def test_a_payload_that_is_no_record_is_damage() -> None:
    data = msgspec.msgpack.encode(["?", 1])
    assert parse(FRAME.pack(len(data), crc32(data)) + data) == ([], 0, True)


@pytest.mark.parametrize("figure", [FIGURE_MAX + 1, 2**63, 2**64 - 1, 10**40])
def test_figures_are_cut_to_what_a_database_can_sum(figure: int) -> None:
    records = back(closed("b"), settled("a", output_tokens=figure, cost_nanos=-figure))
    assert records[0] == closed("b")
    assert records[1] == settled("a", output_tokens=FIGURE_MAX, cost_nanos=-1)


def test_texts_that_others_choose_are_shortened() -> None:
    first, record = back(settled("a"), closed("a", requested_model="m" * 10**6, dropped=("d",) * 10**5))
    assert first == settled("a")
    assert isinstance(record, Closed)
    assert record.requested_model == "m" * 1000
    assert record.dropped == ("d",) * 100


def test_an_ordinary_long_name_is_kept() -> None:
    record = closed("a", requested_model="m" * (RECORD_MAX_BYTES // 2))
    assert back(record) == [record]


def test_a_lone_surrogate_does_not_stop_the_record() -> None:
    assert back(closed("a"), settled("a", upstream_id="\ud800!")) == [closed("a"), settled("a", upstream_id="?!")]


def test_another_format_is_refused_by_name() -> None:
    path = Path("x.journal")
    assert check_header(HEADER, path)
    assert not any(check_header(HEADER[:length], path) for length in range(len(HEADER)))
    with pytest.raises(
        LedgerUnavailable, match=rf"another version of Trivium \(journal format {FORMAT + 1}; this one reads {FORMAT}\)"
    ):
        check_header(HEADER[:-1] + bytes([FORMAT + 1]), path)
    with pytest.raises(LedgerUnavailable, match="no journal"):
        check_header(b"PK\3\4abcd", path)
