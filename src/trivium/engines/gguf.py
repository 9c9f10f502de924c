"""What the header of a GGUF file says: the facts that a store, a supervisor and a person want to know.

An own reader, because a file may be hostile or cut and an engine only says "failed": everything is bounded by the
bytes read (at most 32 MiB), nothing is allocated by a count that the file states, arrays are stepped over.
Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from pathlib import Path

import msgspec

from trivium.types.request import Operation

Value = int | float | bool | str

_HEADER_MAX_BYTES = 32 << 20
_FIRST_READ_BYTES = 4 << 20
_TEXT_MAX_BYTES = 1 << 20
_ARRAY_KEPT_ITEMS = 1024
_PAIRS_MAX = 1 << 16
_DIMENSIONS_MAX = 4
RANKS = 4
"""The pooling of models that make one number of a query and a document."""
_ELEMENTS_MAX = 1 << 60

_STRING, _ARRAY = 8, 9
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}

# ggml type → (elements a block, bytes a block); a type that is not here counts as zero bytes, never as an error.
_BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1),
    25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
    39: (32, 17),
}  # fmt: skip


class GGUFError(ValueError):
    """The file is not a GGUF file, is damaged or is cut; the message says which, for people."""


class Facts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Facts of a model file. Sizes are bytes, context is tokens; None: the file does not say."""

    architecture: str = ""
    name: str = ""
    licence: str = ""
    params: int = 0
    tensor_bytes: int = 0
    context: int | None = None
    layers: int | None = None
    embedding: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    """Key-value heads a layer; the largest where layers differ."""
    head_dim: int | None = None
    chat_template: bool = False
    pooling: int = 0
    """How the vectors of a text's tokens become one, by llama.cpp's number; 0: they do not, it makes no vectors."""

    @property
    def operation(self) -> Operation:
        """What it is for: to continue texts, to make vectors of them, or to rank them."""
        return "rerank" if self.pooling == RANKS else "embed" if self.pooling else "chat"


class _Short(Exception):
    """The header goes on beyond the bytes at hand."""


class _Cursor(msgspec.Struct):
    """Reads little-endian values out of `data`, from `at` on."""

    data: bytes
    at: int = 0

    def skip(self, size: int) -> int:
        start, end = self.at, self.at + size
        if end > len(self.data):
            raise _Short
        self.at = end
        return start

    def number(self, form: str) -> int | float | bool:
        return struct.unpack_from(form, self.data, self.skip(struct.calcsize(form)))[0]

    def integer(self, form: str) -> int:
        return int(self.number(form))

    def text(self) -> str:
        size = self.integer("<Q")
        start = self.skip(size)
        return self.data[start : start + min(size, _TEXT_MAX_BYTES)].decode("utf-8", "replace")

    def value(self) -> Value | None:
        """The next typed value; of an array its largest number, if it is a short one of numbers, else None."""
        kind = self.integer("<I")
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY:
            return self._array()
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        raise GGUFError(f"a value has the unknown type {kind}")

    def _array(self) -> Value | None:
        kind, count = self.integer("<I"), self.integer("<Q")
        if kind == _STRING:
            for _ in range(count):  # ends at the end of the data, whatever the count says
                self.skip(self.integer("<Q"))
            return None
        if kind not in _SCALARS:
            raise GGUFError(f"an array has elements of the unsupported type {kind}")
        form = _SCALARS[kind]
        start = self.skip(count * struct.calcsize(form))
        if not 0 < count <= _ARRAY_KEPT_ITEMS:
            return None
        return max(struct.unpack_from(f"<{count}{form[1]}", self.data, start))


def read(path: Path) -> Facts:
    """The facts in the header of `path`.

    Raises GGUFError for a file that is not GGUF, is damaged, or ends before its last tensor does; OSError.
    """
    size, data = path.stat().st_size, b""
    with path.open("rb") as file:
        for most in (_FIRST_READ_BYTES, _HEADER_MAX_BYTES):
            data += file.read(most - len(data))
            try:
                return _parse(data, size)
            except _Short:
                continue
    if size > len(data):
        raise GGUFError(f"the header is longer than {_HEADER_MAX_BYTES} bytes")
    raise GGUFError(f"the file is cut: it has {size} bytes and ends inside its header")


def _parse(data: bytes, file_size: int) -> Facts:
    cursor = _Cursor(data)
    if data[:4] != b"GGUF":
        raise GGUFError("this is not a GGUF file")
    cursor.skip(4)
    version = cursor.integer("<I")
    if version not in (2, 3):
        raise GGUFError(f"GGUF version {version} is not supported")
    tensors, pairs = cursor.integer("<Q"), cursor.integer("<Q")
    if pairs > _PAIRS_MAX:
        raise GGUFError(f"its header has {pairs} entries")
    values: dict[str, Value | None] = {}
    for _ in range(pairs):
        key = cursor.text()
        values[key] = cursor.value()
    params, tensor_bytes, end = _tensors(cursor, tensors)
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise GGUFError("its alignment makes no sense")
    needed = -(-cursor.at // alignment) * alignment + end
    if needed > file_size:
        raise GGUFError(f"the file is cut: its last tensor ends at byte {needed}, the file has {file_size}")
    return _facts(values, params, tensor_bytes)


def _tensors(cursor: _Cursor, count: int) -> tuple[int, int, int]:
    """Elements and bytes of all tensors, and where the last one ends, counted from the first."""
    params = total = end = 0
    for _ in range(count):
        cursor.text()
        dimensions = cursor.integer("<I")
        if dimensions > _DIMENSIONS_MAX:
            raise GGUFError(f"a tensor has {dimensions} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= cursor.integer("<Q")
        if elements > _ELEMENTS_MAX:
            raise GGUFError("a tensor is larger than any machine")
        kind, offset = cursor.integer("<I"), cursor.integer("<Q")
        per_block, block_bytes = _BLOCKS.get(kind, (1, 0))
        size = -(-elements // per_block) * block_bytes
        params += elements
        total += size
        end = max(end, offset + size)
    return params, total, end


def _facts(values: dict[str, Value | None], params: int, tensor_bytes: int) -> Facts:
    def text(key: str) -> str:
        value = values.get(key)
        return value if isinstance(value, str) else ""

    def count(key: str) -> int | None:
        value = values.get(f"{architecture}.{key}")
        return value if isinstance(value, int) and value > 0 else None

    architecture = text("general.architecture")
    embedding, heads = count("embedding_length"), count("attention.head_count")
    return Facts(
        architecture=architecture,
        name=text("general.name"),
        licence=text("general.license"),
        params=params,
        tensor_bytes=tensor_bytes,
        context=count("context_length"),
        layers=count("block_count"),
        embedding=embedding,
        heads=heads,
        kv_heads=count("attention.head_count_kv") or heads,
        head_dim=count("attention.key_length") or (embedding // heads if embedding and heads else None),
        chat_template=bool(text("tokenizer.chat_template")),
        pooling=count("pooling_type") or 0,
    )
