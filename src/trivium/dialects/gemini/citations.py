"""Citations: grounding and citation metadata of an answer, both ways. Gemini counts in bytes, we in characters."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

import msgspec
from msgspec.json import decode

from trivium.dialects.common import Json
from trivium.dialects.request import given
from trivium.types.message import Citation


class _Source(msgspec.Struct):
    uri: str | None = None
    title: str | None = None
    text: str | None = None


class _Chunk(msgspec.Struct, rename="camel"):
    """A source of one of several kinds."""

    web: _Source | None = None
    retrieved_context: _Source | None = None
    maps: _Source | None = None


class _Segment(msgspec.Struct, rename="camel", frozen=True):
    start_index: int = 0
    end_index: int | None = None


class _Support(msgspec.Struct, rename="camel"):
    segment: _Segment = _Segment()
    grounding_chunk_indices: list[int] = []


class WireGrounding(msgspec.Struct, rename="camel"):
    grounding_chunks: list[_Chunk] | None = None
    grounding_supports: list[_Support] | None = None


class _Quoted(_Source, rename="camel"):
    start_index: int = 0
    end_index: int | None = None


class WireCitations(msgspec.Struct, rename="camel"):
    """Texts that the answer repeats; Google's two platforms name them differently."""

    citation_sources: list[_Quoted] | None = None
    citations: list[_Quoted] | None = None


class Heard:
    """A text of an answer so far; offsets can only be told in it."""

    def __init__(self) -> None:
        self._pieces: list[str | bytes] = []
        self.block = 0

    def add(self, text: str | bytes, block: int) -> None:
        """More of a text, or the beginning of the next; bytes are the inside of a JSON string."""
        if block != self.block:
            self._pieces, self.block = [], block
        self._pieces.append(text)

    @property
    def text(self) -> str:
        return "".join(piece if isinstance(piece, str) else decode(b'"%b"' % piece) for piece in self._pieces)


class _Offsets:
    """Between the characters of a text and its bytes, which have the same numbers in plain ones."""

    def __init__(self, text: str) -> None:
        self._same = text.isascii()
        sizes = () if self._same else (len(character.encode("utf-8", "replace")) for character in text)
        self._starts = list(accumulate(sizes, initial=0))

    def byte(self, character: int) -> int:
        return character if self._same else self._starts[min(max(0, character), len(self._starts) - 1)]

    def character(self, byte: int) -> int:
        return byte if self._same else bisect_left(self._starts, byte)


def citations_of(grounding: WireGrounding | None, quoted: WireCitations | None, text: str) -> Iterator[Citation]:
    """One for each source of each segment of the text, and for each source that no segment names."""
    offsets = _Offsets(text)
    chunks = (grounding and grounding.grounding_chunks) or []
    sources = [chunk.web or chunk.retrieved_context or chunk.maps or _Source() for chunk in chunks]
    unnamed = dict(enumerate(sources))
    for support in (grounding and grounding.grounding_supports) or ():
        for number in support.grounding_chunk_indices:
            if 0 <= number < len(sources):
                unnamed.pop(number, None)
                yield _citation(sources[number], offsets, support.segment)
    for source in unnamed.values():
        yield _citation(source, offsets, _Segment())
    for source in (quoted and (quoted.citation_sources or quoted.citations)) or ():
        yield _citation(source, offsets, source)


def _citation(source: _Source, offsets: _Offsets, span: _Segment | _Quoted) -> Citation:
    start = end = None
    if span.end_index is not None:
        start, end = offsets.character(span.start_index), offsets.character(span.end_index)
    name = source.uri or source.title or ""
    return Citation(source=name, title=source.title, quote=source.text, start=start, end=end)


def wire_grounding(texts: Iterable[tuple[str, Iterable[Citation]]]) -> Json | None:
    """`groundingMetadata` of texts with their citations; None where there are none."""
    chunks: list[Json] = []
    supports: list[Json] = []
    for text, citations in texts:
        offsets = _Offsets(text)
        for citation in citations:
            start, end = citation.start, citation.end
            if start is not None and end is not None:
                segment = {"startIndex": offsets.byte(start), "endIndex": offsets.byte(end), "text": text[start:end]}
                supports.append({"segment": segment, "groundingChunkIndices": [len(chunks)]})
            source = given(uri=citation.source, title=citation.title, text=citation.quote)
            chunks.append({"web" if citation.quote is None else "retrievedContext": source})
    return given(groundingChunks=chunks, groundingSupports=supports or None) if chunks else None
