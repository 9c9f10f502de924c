from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines_help import METADATA, gguf_bytes, sha256, write
from trivium.engines import store as store_module
from trivium.engines.gguf import GGUFError
from trivium.engines.store import Store, checked_name, digest_of, name_for
from trivium.errors import EngineUnavailable, InvalidRequest, NotFound, UsageError

DATA = gguf_bytes()
DIGEST = f"sha256:{sha256(DATA)}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "home" / "models")
    made.prepare()
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "My Model.Q4_1.gguf", DATA)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "/etc/passwd",
        "a..b",
        "A",
        "ä",
        "a b",
        "-a",
        ".a",
        "a.",
        "a\n",
        "a\0",
        "x" * 200,
    ],
)
def test_names_that_could_leave_the_store_are_refused(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)
    assert store.find(name) is None


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:" + "g" * 64, "sha256:../" + "a" * 61, "md5:" + "a" * 32, "a" * 64]
)
def test_digests_that_are_none_are_refused(store: Store, digest: str) -> None:
    with pytest.raises(InvalidRequest):
        store.blob(digest)


@given(st.text(max_size=300))
def test_every_file_name_gives_a_name_that_may_be_used(file_name: str) -> None:
    assert checked_name(name_for(file_name))


def test_a_local_file_is_linked_and_found(store: Store, file: Path) -> None:
    manifest = store.add_file(file)
    assert manifest.name == "my-model.q4_1"
    assert manifest.weights.digest == DIGEST
    assert manifest.licence == "apache-2.0"
    assert store.weights(manifest).stat().st_ino == file.stat().st_ino
    assert store.list() == [manifest]
    assert Store(store.root).find("my-model.q4_1") == manifest


def test_a_known_file_is_not_hashed_again(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = store.add_file(file)
    monkeypatch.setattr(store_module, "digest_of", lambda *_: pytest.fail("hashed again"))
    assert store.add_file(file) == manifest


def test_a_file_that_cannot_be_linked_is_referred_to(store: Store, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(18, "another file system")

    monkeypatch.setattr(os, "link", no_links)
    manifest = store.add_file(file)
    assert manifest.weights.path == str(file)
    assert store.weights(manifest) == file
    assert store.remove(manifest.name) == 0
    assert file.exists()


def test_a_symbolic_link_is_resolved_at_import(store: Store, file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(file)
    manifest = store.add_file(link)
    assert manifest.source == f"file:{file}"
    assert not store.blob(DIGEST).is_symlink()


def test_two_different_files_of_one_name_do_not_overwrite_each_other(store: Store, tmp_path: Path) -> None:
    first = store.add_file(write(tmp_path / "a" / "m.gguf", DATA))
    second = store.add_file(write(tmp_path / "b" / "m.gguf", gguf_bytes(METADATA | {"general.name": "Other"})))
    assert first.name == "m"
    assert second.name == f"m-{second.weights.digest[7:15]}"
    assert len(store.list()) == 2


def test_a_file_that_is_only_named_by_its_path_comes_last(store: Store, file: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "a.gguf", gguf_bytes(METADATA | {"general.name": "Other"}))
    assert store.add_file(other, by_path=True).by_path
    kept = store.add_file(file, name="z")
    assert [manifest.name for manifest in store.list()] == ["z", "a"]
    assert store.add_file(file, name="z", by_path=True) == kept
    file.touch()
    assert not store.add_file(file, name="z", by_path=True).by_path
    assert not store.add_file(other).by_path
    assert [manifest.name for manifest in store.list()] == ["a", "z"]


def test_what_is_no_model_is_not_added(store: Store, tmp_path: Path) -> None:
    with pytest.raises(GGUFError):
        store.add_file(write(tmp_path / "m.gguf", DATA[:-10]))
    with pytest.raises(UsageError):
        store.add_file(tmp_path)
    assert store.list() == []
    assert list(store.blobs.iterdir()) == []


def test_a_blob_goes_with_its_last_name(store: Store, file: Path) -> None:
    store.add_file(file, name="one")
    store.add("two", DIGEST)
    assert store.remove("one") == 0
    assert store.blob(DIGEST).exists()
    file.unlink()
    assert store.remove("two") == len(DATA)
    assert not store.blob(DIGEST).exists()
    again = store.add_file(write(file, DATA), name="one")
    assert store.remove(again.name) == 0  # the file at its own place has the bytes still
    with pytest.raises(NotFound):
        store.remove("two")


def test_a_file_that_changed_is_not_used(store: Store, file: Path) -> None:
    manifest = store.add_file(file)
    os.utime(file)  # touched, same bytes: hashed again and fine
    assert store.weights(manifest)
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"\xfe")
    os.utime(file, ns=(1, 1))
    with pytest.raises(EngineUnavailable, match="changed") as caught:
        store.weights(manifest)
    assert "trivium models" in caught.value.remedy
    assert digest_of(store.blob(DIGEST)) != DIGEST


def test_a_file_that_is_gone_is_said_to_be(store: Store, file: Path) -> None:
    manifest = store.add_file(file)
    store.blob(DIGEST).unlink()
    with pytest.raises(EngineUnavailable, match="cannot be read"):
        store.weights(manifest)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"weights": {"digest": "sha256:../../../../etc/passwd", "size": 1, "mtime_ns": 1}},
        {"weights": None},
    ],
)
def test_a_tampered_manifest_does_not_count(store: Store, file: Path, change: dict[str, object]) -> None:
    manifest = store.add_file(file, name="m")
    write(store.manifests / "m.json", msgspec.json.encode(msgspec.to_builtins(manifest) | change))
    assert store.find("m") is None
    assert store.list() == []
