"""A BERT model as published (weights, vocabulary, configuration), made into the one GGUF file that llama.cpp reads.

Deterministic: the same bytes in give the same bytes out on every machine. Matrices become 16-bit floats, as most
converted models have them; everything else stays as it is.
Formats: https://huggingface.co/docs/safetensors, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

_HEADER_MAX_BYTES = 1 << 20
_CHUNK = 1 << 16
_ALIGNMENT = 32
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_FLOAT32, _FLOAT16 = 0, 1
_NORMAL, _CONTROL = 1, 3
_MEAN = 1
"""Of the vectors of a text's tokens, as llama.cpp numbers what can be made of them."""
_SPECIAL = {
    "bos": "[CLS]",
    "cls": "[CLS]",
    "seperator": "[SEP]",
    "unknown": "[UNK]",
    "padding": "[PAD]",
    "mask": "[MASK]",
}
"""By llama.cpp's names, its spelling included."""
_LAYER = "encoder.layer."
_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""Tensors that make a vector; what a file has beside them (a pooler) does not."""
_WHOLE = ("position_embd.weight", "token_types.weight")
"""Matrices that stay 32-bit floats: they are added up with such."""


class _Tensor(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


class _Config(msgspec.Struct, frozen=True):
    num_attention_heads: int
    layer_norm_eps: float


def convert(weights: Path, vocabulary: bytes, config: bytes, target: Path, *, name: str) -> None:
    """Write the GGUF file of a model with mean pooling. Raises ValueError for what is no such model, OSError."""
    more = msgspec.json.decode(config, type=_Config)
    with weights.open("rb") as source, target.open("wb") as file:
        size = int.from_bytes(source.read(8), "little")
        if size > _HEADER_MAX_BYTES:
            raise ValueError("the header of the weights is too long")
        stated = msgspec.json.decode(source.read(size), type=dict[str, msgspec.Raw])
        stated.pop("__metadata__", None)
        found = {key: msgspec.json.decode(value, type=_Tensor) for key, value in stated.items()}
        tensors = {ours: found[key] for key in sorted(found) if (ours := _renamed(key))}
        facts = _facts(tensors, more) | {"general.name": name}
        file.write(_header(facts, vocabulary.decode().removesuffix("\n").split("\n"), tensors))
        for ours, tensor in tensors.items():
            source.seek(8 + size + tensor.data_offsets[0])
            _copy(source, file, tensor, half=_is_half(ours, tensor))


def _renamed(key: str) -> str:
    """A tensor's name in the file; empty for one that is not needed."""
    stem, _, kind = key.rpartition(".")
    if not stem.startswith(_LAYER):
        return f"{_NAMES[stem]}.{kind}" if stem in _NAMES else ""
    number, _, rest = stem.removeprefix(_LAYER).partition(".")
    return f"blk.{number}.{_NAMES[rest]}.{kind}" if rest in _NAMES else ""


def _is_half(name: str, tensor: _Tensor) -> bool:
    return len(tensor.shape) > 1 and name not in _WHOLE


def _facts(tensors: dict[str, _Tensor], config: _Config) -> dict[str, object]:
    """What the loader wants to know, seen in the shapes. Raises ValueError."""
    if any(tensor.dtype != "F32" for tensor in tensors.values()):
        raise ValueError("its weights are not 32-bit floats")
    try:
        layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blk."))
        context, width = tensors["position_embd.weight"].shape
        inner, types = tensors["blk.0.ffn_up.weight"].shape[0], tensors["token_types.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise ValueError(f"its weights are no BERT model: {error} is missing") from error
    return {
        "general.architecture": "bert",
        "general.file_type": _FLOAT16,
        "bert.block_count": layers,
        "bert.context_length": context,
        "bert.embedding_length": width,
        "bert.feed_forward_length": inner,
        "bert.attention.head_count": config.num_attention_heads,
        "bert.attention.layer_norm_epsilon": config.layer_norm_eps,
        "bert.attention.causal": False,
        "bert.pooling_type": _MEAN,
        "tokenizer.ggml.model": "bert",
        "tokenizer.ggml.token_type_count": types,
    }


def _header(facts: dict[str, object], words: list[str], tensors: dict[str, _Tensor]) -> bytes:
    """Everything before the first tensor. llama.cpp marks where a word begins, BERT where it goes on."""
    special = set(_SPECIAL.values())
    shown = [word if word in special else word[2:] if word.startswith("##") else f"\u2581{word}" for word in words]
    kinds = [_CONTROL if word in special else _NORMAL for word in words]
    ids = {f"tokenizer.ggml.{ours}_token_id": words.index(word) for ours, word in _SPECIAL.items()}
    values = [_text(key) + _value(value) for key, value in (facts | ids).items()]
    values.append(_text("tokenizer.ggml.tokens") + _array(_STRING, map(_text, shown), len(shown)))
    values.append(_text("tokenizer.ggml.token_type") + _array(_I32, (struct.pack("<i", k) for k in kinds), len(kinds)))
    places, offset = list[bytes](), 0
    for name, tensor in tensors.items():
        half = _is_half(name, tensor)
        shape = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *reversed(tensor.shape))
        places.append(_text(name) + shape + struct.pack("<IQ", _FLOAT16 if half else _FLOAT32, offset))
        offset += _padded(_bytes_of(tensor) // (2 if half else 1))
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values)) + b"".join(values) + b"".join(places)
    return head.ljust(_padded(len(head)), b"\0")


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _U32, value)
        case float():
            return struct.pack("<If", _F32, value)
        case _:
            return struct.pack("<I", _STRING) + _text(str(value))


def _array(kind: int, items: Iterable[bytes], count: int) -> bytes:
    return struct.pack("<IIQ", _ARRAY, kind, count) + b"".join(items)


def _bytes_of(tensor: _Tensor) -> int:
    return tensor.data_offsets[1] - tensor.data_offsets[0]


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _copy(source: BinaryIO, file: BinaryIO, tensor: _Tensor, *, half: bool) -> None:
    """The numbers of one tensor, a piece at a time."""
    left, written = _bytes_of(tensor), 0
    while left:
        data = source.read(min(left, 4 * _CHUNK))
        if not data:
            raise ValueError("the weights are cut")
        left -= len(data)
        count = len(data) // 4
        written += file.write(struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", data)) if half else data)
    file.write(b"\0" * (_padded(written) - written))
