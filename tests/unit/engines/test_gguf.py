from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines_help import METADATA, gguf_bytes, pair, text, write
from trivium.engines.gguf import Facts, GGUFError, read


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "m.gguf"


def test_the_facts_of_a_small_file(file: Path) -> None:
    facts = read(write(file, gguf_bytes()))
    assert facts == Facts(
        architecture="llama",
        name="Tiny",
        licence="apache-2.0",
        params=64 * 32,
        tensor_bytes=64 * 32 * 4,
        context=2048,
        layers=2,
        embedding=64,
        heads=4,
        kv_heads=2,
        head_dim=16,
        chat_template=True,
    )


def test_the_facts_of_the_demo_model(model_blob: Path) -> None:
    facts = read(model_blob)
    assert (facts.architecture, facts.params, facts.layers, facts.heads, facts.kv_heads, facts.head_dim) == (
        "llama",
        134_515_008,
        30,
        9,
        3,
        64,
    )
    assert (facts.context, facts.chat_template, facts.licence) == (8192, True, "apache-2.0")


def test_kv_heads_that_differ_by_layer_count_as_the_largest(file: Path) -> None:
    assert read(write(file, gguf_bytes(METADATA | {"llama.attention.head_count_kv": [1, 3, 2]}))).kv_heads == 3


def test_a_model_without_metadata_has_no_facts(file: Path) -> None:
    facts = read(write(file, gguf_bytes({})))
    assert (facts.context, facts.kv_heads, facts.head_dim, facts.chat_template) == (None, None, None, False)


@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_a_cut_file_is_named_as_such_with_its_sizes(file: Path, kept: float) -> None:
    whole = gguf_bytes()
    cut = whole[: int(len(whole) * kept)]
    with pytest.raises(GGUFError, match=rf"cut: .*{len(whole)}.*{len(cut)}"):
        read(write(file, cut))


def test_a_file_that_ends_in_its_header_is_cut(file: Path) -> None:
    with pytest.raises(GGUFError, match="ends inside its header"):
        read(write(file, gguf_bytes()[:100]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a GGUF"),
        (b"PK\x03\x04" + b"\0" * 100, "not a GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 40), "entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "ends inside"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", (1 << 63) + 5), "ends inside"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 1 << 62), "ends inside"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 10, 1 << 62), "ends inside"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 9, 1), "unsupported type 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 99), "unknown type 99"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<I", 5), "5 dimensions"),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + text("t") + struct.pack("<IQQ", 2, 1 << 63, 1 << 63) + b"\0" * 12,
            "larger than any",
        ),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + pair("general.alignment", 0), "alignment"),
    ],
)
def test_hostile_headers_are_refused(file: Path, data: bytes, words: str) -> None:
    with pytest.raises(GGUFError, match=words):
        read(write(file, data))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damage_is_refused_or_read_but_never_worse(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(gguf_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(4, 420))
        whole[at : at + 8] = data.draw(st.binary(min_size=1, max_size=8))
    path = write(tmp_path_factory.getbasetemp() / "damaged.gguf", bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    try:
        facts = read(path)
    except GGUFError:
        return
    assert facts.params >= 0
