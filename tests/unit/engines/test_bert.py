"""BERT models made into GGUF files: what the header says, what becomes of the numbers, what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engines_help import bert_config, bert_words, safetensors, tiny_bert
from trivium.engines import bert, gguf


def made(folder: Path, weights: bytes, words: bytes = b"", config: bytes = b"") -> bytes:
    (folder / "in").write_bytes(weights)
    bert.convert(folder / "in", words or bert_words(), config or bert_config(), folder / "out", name="Tiny")
    return (folder / "out").read_bytes()


def tensors_of(data: bytes) -> dict[str, tuple[list[int], int, bytes]]:
    """By name: shape, type and the bytes that follow where its data begins."""
    cursor = gguf._Cursor(data, 8)
    tensors, pairs = cursor.integer("<Q"), cursor.integer("<Q")
    for _ in range(pairs):
        cursor.text()
        cursor.value()
    found: dict[str, tuple[list[int], int, int]] = {}
    for _ in range(tensors):
        name, dimensions = cursor.text(), cursor.integer("<I")
        shape = [cursor.integer("<Q") for _ in range(dimensions)]
        found[name] = (shape, cursor.integer("<I"), cursor.integer("<Q"))
    start = -(-cursor.at // 32) * 32
    return {name: (shape, kind, data[start + offset :]) for name, (shape, kind, offset) in found.items()}


def test_the_header_says_what_the_loader_asks(tmp_path: Path) -> None:
    made(tmp_path, tiny_bert())
    facts = gguf.read(tmp_path / "out")
    assert (facts.architecture, facts.name, facts.context, facts.layers) == ("bert", "Tiny", 16, 2)
    assert (facts.embedding, facts.heads, facts.pooling, facts.operation) == (32, 4, 1, "embed")


def test_words_are_spelled_as_the_loader_spells_them(tmp_path: Path) -> None:
    data = made(tmp_path, tiny_bert())
    for token in ("[CLS]", "▁cat", "s"):
        encoded = token.encode()
        assert struct.pack("<Q", len(encoded)) + encoded in data
    assert b"##s" not in data
    for name, number in (("cls", 2), ("seperator", 3), ("unknown", 1), ("padding", 0), ("mask", 4)):
        key = f"tokenizer.ggml.{name}_token_id".encode()
        assert key + struct.pack("<II", 4, number) in data


def test_matrices_become_halves_and_everything_else_stays(tmp_path: Path) -> None:
    found = tensors_of(made(tmp_path, tiny_bert()))
    assert set(found) == {
        *(f"{name}.weight" for name in ("token_embd", "position_embd", "token_types", "token_embd_norm")),
        "token_embd_norm.bias",
        *(
            f"blk.{layer}.{part}.{kind}"
            for layer in (0, 1)
            for part in ("attn_q", "attn_k", "attn_v", "attn_output", "attn_output_norm")
            for kind in ("weight", "bias")
        ),
        *(
            f"blk.{layer}.{part}.{kind}"
            for layer in (0, 1)
            for part in ("ffn_up", "ffn_down", "layer_output_norm")
            for kind in ("weight", "bias")
        ),
    }
    shape, kind, data = found["blk.1.ffn_up.weight"]
    assert (shape, kind) == ([32, 64], 1)
    assert struct.unpack_from("<4e", data) == (0.0, 0.25, 0.5, 0.75)
    for name in ("position_embd.weight", "token_types.weight", "blk.0.attn_q.bias"):
        shape, kind, data = found[name]
        assert kind == 0
        assert struct.unpack_from("<4f", data) == (0.0, 0.25, 0.5, 0.75)


def test_the_same_in_gives_the_same_out(tmp_path: Path) -> None:
    first = made(tmp_path, tiny_bert())
    assert made(tmp_path, tiny_bert(backwards=True)) == first


def changed(**tensors: Any) -> bytes:
    """The tiny model with tensors changed or, where None, without them."""
    return tiny_bert({name.replace("__", "."): value for name, value in tensors.items()})


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\xff" * 8,
        struct.pack("<Q", 4) + b"[1]]",
        struct.pack("<Q", 2) + b"{}",
        tiny_bert()[:-8],
        safetensors({"a": ("F32", (1,), b"\0" * 4)}),
        changed(embeddings__position_embeddings__weight=None),
        changed(embeddings__position_embeddings__weight=("F32", (512,), b"\0" * 2048)),
        changed(embeddings__word_embeddings__weight=("F16", (2, 2), b"\0" * 8)),
    ],
)
def test_what_is_no_such_model_is_refused(tmp_path: Path, weights: bytes) -> None:
    with pytest.raises(ValueError):
        made(tmp_path, weights)


@pytest.mark.parametrize("words", [b"cat\n", b"\xff\xfe"])
def test_a_vocabulary_without_its_marks_is_refused(tmp_path: Path, words: bytes) -> None:
    with pytest.raises(ValueError):
        made(tmp_path, tiny_bert(), words)


@pytest.mark.parametrize("config", [b"{", b"{}", json.dumps({"num_attention_heads": "4"}).encode()])
def test_a_configuration_that_says_nothing_is_refused(tmp_path: Path, config: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        made(tmp_path, tiny_bert(), config=config)
