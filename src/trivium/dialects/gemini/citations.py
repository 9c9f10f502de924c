"""Citations: grounding and citation metadata of an answer, both ways. Gemini counts in bytes, we in characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from trivium.dialects.common import Json
from trivium.dialects.request import given
from trivium.dialects.said import Said
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
    """The text that an answer said last; offsets can only be told in it."""

    def __init__(self) -> None:
        self.block = 0
        self.said = Said()

    def add(self, text: str | bytes, block: int) -> None:
        """More of that text, or the beginning of the next; bytes are the inside of a JSON string."""
        if block != self.block:
            self.block = block
            self.said = Said()
        self.said.add(text)


def citations_of(grounding: WireGrounding | None, quoted: WireCitations | None, said: Said) -> Iterator[Citation]:
    """One for each source of each segment of the text, and for each source that no segment names."""
    chunks = (grounding and grounding.grounding_chunks) or []
    sources = [chunk.web or chunk.retrieved_context or chunk.maps or _Source() for chunk in chunks]
    unnamed = dict(enumerate(sources))
    for support in (grounding and grounding.grounding_supports) or ():
        for number in support.grounding_chunk_indices:
            if 0 <= number < len(sources):
                unnamed.pop(number, None)
                yield _citation(sources[number], said, support.segment)
    for source in unnamed.values():
        yield _citation(source, said, _Segment())
    for source in (quoted and (quoted.citation_sources or quoted.citations)) or ():
        yield _citation(source, said, source)


def _citation(source: _Source, said: Said, span: _Segment | _Quoted) -> Citation:
    start = end = None
    if span.end_index is not None:
        start, end = said.character(span.start_index), said.character(span.end_index)
    name = source.uri or source.title or ""
    return Citation(source=name, title=source.title, quote=source.text, start=start, end=end)


def wire_grounding(texts: Iterable[tuple[Said, Iterable[Citation]]]) -> Json | None:
    """`groundingMetadata` of texts with their citations; None where there are none."""
    chunks: list[Json] = []
    supports: list[Json] = []
    for said, citations in texts:
        for citation in citations:
            start, end = citation.start, citation.end
            if start is not None and end is not None:
                segment = {"startIndex": said.byte(start), "endIndex": said.byte(end), "text": said.part(start, end)}
                supports.append({"segment": segment, "groundingChunkIndices": [len(chunks)]})
            source = given(uri=citation.source, title=citation.title, text=citation.quote)
            chunks.append({"web" if citation.quote is None else "retrievedContext": source})
    return given(groundingChunks=chunks, groundingSupports=supports or None) if chunks else None
