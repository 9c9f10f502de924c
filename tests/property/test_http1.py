"""However an upstream's answer is sliced, its body is the same: also where a read looks like a chunk and is none."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from trivium.transport.http1 import UpstreamConnection
from trivium.transport.upstream import Fields

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
texts = st.binary(min_size=1, max_size=40) | st.sampled_from(
    [b"b\r\nhello world\r\n", b"\r\n", b"1\r\na\r\n", b"0\r\n\r\n", b"x" * 0x1B, b"y" * 0x10B]
)


class Nothing:
    """A transport and an owner that are not used."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_: 0


class Waiting:
    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.ended = 0

    def on_head(self, status: int, fields: Fields) -> None:
        assert (status, list(fields)) == (200, [b"transfer-encoding"])

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_end(self) -> None:
        self.ended += 1


def chunked(parts: list[bytes], *, upper: bool) -> bytes:
    line = b"%X\r\n%b\r\n" if upper else b"%x\r\n%b\r\n"
    return b"".join(line % (len(part), part) for part in parts)


def asked() -> tuple[Any, Waiting]:
    nothing: Any = Nothing()
    waiting: Any = Waiting()
    connection = UpstreamConnection(nothing, nothing)
    connection.connection_made(nothing)
    connection.send(waiting, b"")
    return connection, waiting


@given(st.lists(texts, max_size=6), st.booleans(), st.data())
def test_any_slices_give_one_body(parts: list[bytes], upper: bool, data: st.DataObject) -> None:
    wire = HEAD + chunked(parts, upper=upper) + b"0\r\n\r\n"
    ends = [len(HEAD) + len(chunked(parts[:count], upper=upper)) for count in range(len(parts) + 1)]
    near = st.sampled_from(ends).flatmap(lambda end: st.integers(max(0, end - 3), min(len(wire), end + 4)))
    cuts = sorted(data.draw(st.sets(near | st.integers(0, len(wire)), max_size=8)))
    connection, waiting = asked()
    for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        if end > start:
            connection.data_received(wire[start:end])
    assert b"".join(waiting.body) == b"".join(parts)
    assert waiting.ended == 1


@given(st.lists(texts, min_size=1, max_size=6))
def test_a_read_that_is_one_chunk_is_given_on_as_one(parts: list[bytes]) -> None:
    connection, waiting = asked()
    for read in [HEAD, *(chunked([part], upper=False) for part in parts), b"0\r\n\r\n"]:
        connection.data_received(read)
    assert waiting.body == parts
    assert waiting.ended == 1


def test_a_size_line_that_began_earlier_is_not_forgotten() -> None:
    text = b"hello world\r\n" + b"y" * 14
    connection, waiting = asked()
    assert chunked([text], upper=False).startswith(b"1b\r\nhello")
    for read in (HEAD + b"1\r\na\r\n", b"1\r\na\r\n1", b"b\r\nhello world\r\n", b"y" * 14 + b"\r\n0\r\n\r\n"):
        connection.data_received(read)
    assert b"".join(waiting.body) == b"aa" + text
    assert waiting.ended == 1


def test_what_nobody_reads_any_more_is_still_counted() -> None:
    connection, waiting = asked()
    connection.data_received(HEAD + chunked([b"a"], upper=False))
    connection.data_received(chunked([b"b"], upper=False))
    connection.detach()
    for _ in range(100):
        connection.data_received(chunked([b"x" * 1_000], upper=False))
    assert connection.closed
    assert waiting.body == [b"a", b"b"]
