from __future__ import annotations

import json
import socket
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import httpx2
import msgspec
import pytest

from engines_help import ROWS, Site, bert_config, bert_words, gguf_bytes, nothing, serve, sha256, tiny_bert, write
from trivium.catalog.rows import LocalModel
from trivium.engines import download
from trivium.engines.bert import convert
from trivium.engines.download import WrongContent
from trivium.engines.gguf import GGUFError
from trivium.engines.pull import Puller, describe, pull
from trivium.engines.store import Store
from trivium.errors import (
    ConfigError,
    NotFound,
    Unavailable,
    UpstreamAuthError,
    UpstreamNotFound,
    UpstreamUnreachable,
    UsageError,
)

DATA = gguf_bytes(rows=4096)
COMMIT = "c" * 40
WHEEL_NAME = "tiny_model-1.0-py3-none-any.whl"


def wheel(data: bytes = DATA) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_model/Tiny.gguf", data)
        archive.writestr("../../evil.txt", b"never written")
    return out.getvalue()


WHEEL = wheel()
ROW = LocalModel(
    name="tiny",
    source="pypi:tiny-model==1.0",
    licence="Apache-2.0",
    file="Tiny.gguf",
    size_bytes=len(DATA),
    sha256=sha256(DATA),
    archive=WHEEL_NAME,
    download_bytes=len(WHEEL),
    archive_sha256=sha256(WHEEL),
    member="tiny_model/Tiny.gguf",
    context=2048,
)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(download.fetch.__kwdefaults__, "sleep", lambda _seconds: None)


@pytest.fixture
def site():
    with serve() as made:
        yield made


def puller(tmp_path: Path, env: Mapping[str, str], *, offline: bool = False) -> Puller:
    """One whose machine has no configuration but `env`."""
    alone = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path),
        "PIP_CONFIG_FILE": "/dev/null",
        "UV_NO_CONFIG": "1",
    }
    return Puller(
        store=Store(tmp_path / "models"),
        connect=httpx2.Client,
        rows={"tiny": ROW},
        env={**alone, **env},
        offline=offline,
    )


def everything(store: Store) -> list[str]:
    """Files of the store that hold data."""
    folders = (store.blobs, store.partial)
    return sorted(path.name for folder in folders for path in folder.rglob("*") if path.is_file())


# pypi:


def json_page(site: Site, data: bytes = WHEEL, *, digest: str = ROW.archive_sha256, url: str = "") -> None:
    page = {
        "meta": {"api-version": "1.1"},
        "files": [
            {"filename": "tiny_model-1.0.tar.gz", "url": "x", "hashes": {}},
            {"filename": WHEEL_NAME, "url": url or f"../../files/{WHEEL_NAME}", "hashes": {"sha256": digest}},
        ],
    }
    site.files["/simple/tiny-model/"] = json.dumps(page).encode()
    site.headers["/simple/tiny-model/"] = {"content-type": "application/vnd.pypi.simple.v1+json"}
    site.files[f"/files/{WHEEL_NAME}"] = data


def html_page(site: Site) -> None:
    site.files["/simple/tiny-model/"] = (
        f'<html><body><a href="tiny_model-0.9.whl">no</a>'
        f'<a href="../../files/{WHEEL_NAME}#sha256={ROW.archive_sha256}">{WHEEL_NAME}</a></body></html>'
    ).encode()
    site.headers["/simple/tiny-model/"] = {"content-type": "text/html; charset=utf-8"}
    site.files[f"/files/{WHEEL_NAME}"] = WHEEL


@pytest.mark.parametrize("page", [json_page, html_page])
def test_a_model_comes_out_of_a_wheel_of_the_configured_index(tmp_path: Path, site: Site, page) -> None:
    page(site)
    by = puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple/"})
    manifest = pull(by, "tiny", progress=nothing)
    assert by.store.weights(manifest).read_bytes() == DATA
    assert (manifest.name, manifest.source, manifest.licence) == ("tiny", "pypi:tiny-model==1.0", "Apache-2.0")
    assert everything(by.store) == [f"sha256-{ROW.sha256}"]
    assert not list(tmp_path.rglob("evil.txt"))
    site.requests.clear()
    assert pull(by, "tiny", progress=nothing) == manifest
    assert site.requests == []


def test_the_first_index_that_has_the_file_wins(tmp_path: Path, site: Site) -> None:
    json_page(site)
    with serve() as empty, serve() as wrong:
        json_page(wrong, wheel(b"other"), digest=sha256(wheel(b"other")))
        env = {"PIP_INDEX_URL": f"{empty.url}/simple", "PIP_EXTRA_INDEX_URL": f"{wrong.url}/simple {site.url}/simple"}
        assert pull(puller(tmp_path, env), "tiny", progress=nothing)
        assert wrong.seen("GET", f"/files/{WHEEL_NAME}") == []


def test_credentials_of_an_index_go_to_it_alone_and_into_no_message(tmp_path: Path, site: Site) -> None:
    with serve() as files:
        files.files["/w"] = b"damaged"
        json_page(site, url=f"{files.url}/w")
        env = {"PIP_INDEX_URL": site.url.replace("//", "//user:canary@") + "/simple"}
        with pytest.raises(UpstreamUnreachable) as caught:
            pull(puller(tmp_path, env), "tiny", progress=nothing)
        assert site.seen("GET", "/simple/tiny-model/")[0]["authorization"].startswith("Basic ")
        assert "authorization" not in files.seen("GET", "/w")[0]
    assert "canary" not in str(caught.value)


def test_an_archive_with_the_wrong_bytes_is_never_opened(tmp_path: Path, site: Site) -> None:
    json_page(site, WHEEL[:-1] + b"\1")
    by = puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"})
    with pytest.raises(UpstreamUnreachable, match="expected sha256"):
        pull(by, "tiny", progress=nothing)
    assert everything(by.store) == []


def test_a_wheel_of_a_folder_is_read_in_place(tmp_path: Path) -> None:
    kept = write(tmp_path / "wheels" / WHEEL_NAME, WHEEL)
    by = puller(tmp_path, {"PIP_FIND_LINKS": str(kept.parent)}, offline=True)
    assert pull(by, "tiny", progress=nothing).name == "tiny"
    assert kept.read_bytes() == WHEEL
    assert everything(by.store) == [f"sha256-{ROW.sha256}"]


def test_a_file_index_is_read_without_a_socket(tmp_path: Path) -> None:
    write(tmp_path / "files" / WHEEL_NAME, WHEEL)
    page = f'<a href="../../files/{WHEEL_NAME}#sha256={ROW.archive_sha256}">x</a>'
    write(tmp_path / "simple" / "tiny-model" / "index.html", page.encode())
    by = puller(tmp_path, {"PIP_INDEX_URL": (tmp_path / "simple").as_uri()}, offline=True)
    assert pull(by, "tiny", progress=nothing).name == "tiny"


def test_an_installed_distribution_is_linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_packages = tmp_path / "site"
    member = write(site_packages / ROW.member, DATA)
    write(
        site_packages / "tiny_model-1.0.dist-info/METADATA", b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    )
    monkeypatch.syspath_prepend(str(site_packages))
    by = puller(tmp_path, {}, offline=True)
    assert by.store.weights(pull(by, "tiny", progress=nothing)).stat().st_ino == member.stat().st_ino


def test_an_unpinned_wheel_needs_the_hash_of_its_index(tmp_path: Path, site: Site) -> None:
    json_page(site)
    by = puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"})
    manifest = pull(by, "pypi:Tiny_Model==1.0#tiny_model/Tiny.gguf", progress=nothing)
    assert (manifest.name, manifest.weights.digest) == ("tiny", f"sha256:{ROW.sha256}")
    site.files["/simple/tiny-model/"] = b'{"files":[{"filename":"%s","url":"/x"}]}' % WHEEL_NAME.encode()
    other = puller(tmp_path / "other", {"PIP_INDEX_URL": f"{site.url}/simple"})
    with pytest.raises(UpstreamUnreachable, match="no hash"):
        pull(other, "pypi:tiny-model==1.0#tiny_model/Tiny.gguf", progress=nothing)


def test_a_member_that_is_missing_is_said_to_be(tmp_path: Path, site: Site) -> None:
    json_page(site)
    by = puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"})
    with pytest.raises(WrongContent, match="does not hold"):
        pull(by, "pypi:tiny-model==1.0#tiny_model/other.gguf", progress=nothing)


@pytest.mark.parametrize(("at", "byte"), [(8, 1), (10, 99)], ids=["encrypted", "of an unknown method"])
def test_a_member_that_cannot_be_read_is_said_to_be(tmp_path: Path, site: Site, at: int, byte: int) -> None:
    data = bytearray(WHEEL)
    for mark, place in ((b"PK\x01\x02", at), (b"PK\x03\x04", at - 2)):
        start = -1
        while (start := data.find(mark, start + 1)) >= 0:
            data[start + place] = byte
    json_page(site, bytes(data), digest=sha256(bytes(data)))
    by = puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"})
    with pytest.raises(WrongContent, match="does not hold"):
        pull(by, "pypi:tiny-model==1.0#tiny_model/Tiny.gguf", progress=nothing)
    assert not [name for name in everything(by.store) if name.endswith(".member")]


def test_private_places_are_contacted_only_if_the_machine_or_its_index_names_them(tmp_path: Path, site: Site) -> None:
    """Through the program's own client, which else contacts public addresses only."""
    with serve() as files, serve() as unnamed:
        files.files["/w"] = unnamed.files["/w"] = WHEEL
        json_page(site, url=f"{files.url}/w")
        by = msgspec.structs.replace(puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"}), connect=None)
        assert pull(by, "tiny", progress=nothing).name == "tiny"
        files.redirects["/w"] = f"{unnamed.url}/w"
        other = msgspec.structs.replace(by, store=Store(tmp_path / "other"))
        with pytest.raises(UpstreamUnreachable):
            pull(other, "tiny", progress=nothing)
        assert unnamed.requests == []


def test_the_proxy_and_the_certificates_of_pip_count(tmp_path: Path) -> None:
    index = {"PIP_INDEX_URL": "https://index.example/simple"}
    nobody = "http://127.0.0.1:9"  # the discard port
    with pytest.raises(UpstreamUnreachable, match="refused"):
        pull(
            msgspec.structs.replace(puller(tmp_path, index | {"PIP_PROXY": nobody}), connect=None),
            "tiny",
            progress=nothing,
        )
    missing = str(tmp_path / "none.pem")
    with pytest.raises(ConfigError, match=r"none\.pem"):
        pull(
            msgspec.structs.replace(puller(tmp_path, index | {"PIP_CERT": missing}), connect=None),
            "tiny",
            progress=nothing,
        )


# pypi:, a published model of which the file is made here


def published(weights: bytes | None = None, *, words: bool = True) -> tuple[bytes, LocalModel]:
    """A wheel with a model as it is published, and its row."""
    weights, out = tiny_bert() if weights is None else weights, BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny_model/model/model.safetensors", weights)
        archive.writestr("tiny_model/model/config.json", bert_config())
        if words:
            archive.writestr("tiny_model/model/vocab.txt", bert_words())
    changes = {"file": "Tiny.F16.gguf", "member": "tiny_model/model/model.safetensors", "operation": "embed"}
    pins = {"member_sha256": sha256(weights), "archive_sha256": sha256(out.getvalue())}
    return out.getvalue(), msgspec.structs.replace(ROW, **changes, **pins, download_bytes=len(out.getvalue()))


def made_of(tmp_path: Path) -> bytes:
    (tmp_path / "raw").write_bytes(tiny_bert())
    convert(tmp_path / "raw", bert_words(), bert_config(), tmp_path / "cooked", name="Tiny")
    return (tmp_path / "cooked").read_bytes()


def embedder(tmp_path: Path, site: Site, data: bytes, row: LocalModel) -> Puller:
    json_page(site, data, digest=row.archive_sha256)
    made = made_of(tmp_path)
    by = puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple/"})
    row = msgspec.structs.replace(row, sha256=sha256(made), size_bytes=len(made))
    return msgspec.structs.replace(by, rows={"tiny": row})


def test_a_published_model_is_made_into_a_file_here(tmp_path: Path, site: Site) -> None:
    by = embedder(tmp_path, site, *published())
    manifest = pull(by, "tiny", progress=nothing)
    assert by.store.weights(manifest).read_bytes() == made_of(tmp_path)
    assert (manifest.weights.digest, manifest.facts.operation) == (f"sha256:{by.rows['tiny'].sha256}", "embed")
    assert everything(by.store) == [f"sha256-{by.rows['tiny'].sha256}"]
    site.requests.clear()
    assert pull(by, "tiny", progress=nothing) == manifest
    assert site.requests == []


@pytest.mark.parametrize(
    ("weights", "more", "changes"),
    [
        (None, {}, {"member_sha256": "0" * 64}),
        (None, {"words": False}, {}),
        (tiny_bert({"embeddings.LayerNorm.bias": None}), {}, {}),
        (tiny_bert()[:-8], {}, {}),
        (b"no safetensors", {}, {}),
    ],
)
def test_nothing_is_kept_of_what_cannot_be_made(
    tmp_path: Path, site: Site, weights: bytes | None, more: dict[str, bool], changes: dict[str, str]
) -> None:
    data, row = published(weights, **more)
    by = embedder(tmp_path, site, data, msgspec.structs.replace(row, **changes))
    with pytest.raises(WrongContent):
        pull(by, "tiny", progress=nothing)
    assert [name for name in everything(by.store) if row.archive_sha256 not in name] == []
    assert by.store.list() == []


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("text/html", f'<a href="http://[/{WHEEL_NAME}">{WHEEL_NAME}</a>'.encode()),
        ("application/json", json.dumps({"files": [{"filename": WHEEL_NAME, "url": "http://[/x"}]}).encode()),
    ],
)
def test_an_index_that_lists_what_is_no_url_has_nothing(tmp_path: Path, site: Site, kind: str, page: bytes) -> None:
    site.files["/simple/tiny-model/"], site.headers["/simple/tiny-model/"] = page, {"content-type": kind}
    with pytest.raises(UpstreamUnreachable, match="Invalid"):
        pull(puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"}), "tiny", progress=nothing)


def test_an_index_in_a_broken_coding_has_nothing(tmp_path: Path, site: Site) -> None:
    site.files["/simple/tiny-model/"], site.headers["/simple/tiny-model/"] = b"no gzip", {"content-encoding": "gzip"}
    with pytest.raises(UpstreamUnreachable, match="cannot be reached"):
        pull(puller(tmp_path, {"PIP_INDEX_URL": f"{site.url}/simple"}), "tiny", progress=nothing)


# hf:


@pytest.mark.parametrize("token", ["hf_hush…", "hf_hush\nx"])
def test_a_token_that_no_header_can_carry_is_refused_unseen(tmp_path: Path, site: Site, token: str) -> None:
    with pytest.raises(UsageError, match="HF_TOKEN has characters") as refused:
        describe(puller(tmp_path, hub(site) | {"HF_TOKEN": token}), "hf:o/r/m.gguf")
    assert "hush" not in str(refused.value)


def test_a_hub_that_is_no_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="HF_ENDPOINT is no URL"):
        describe(puller(tmp_path, {"HF_ENDPOINT": "https://["}), "hf:o/r/m.gguf")


def hub(site: Site, data: bytes = DATA, *, digest: str = "", licence: str = "mit") -> dict[str, str]:
    """A fake hub with `o/r/m.gguf` on main, whose bytes lie at another origin; the environment that names it."""
    resolved = f"/o/r/resolve/{COMMIT}/m.gguf"
    linked = {
        "x-repo-commit": COMMIT,
        "x-linked-etag": f'"{digest or sha256(data)}"',
        "x-linked-size": str(len(data)),
    }
    site.files["/o/r/resolve/main/m.gguf"] = site.files[resolved] = data
    site.headers["/o/r/resolve/main/m.gguf"] = linked
    site.headers[resolved] = {"etag": '"e"'}
    site.files[f"/api/models/o/r/revision/{COMMIT}"] = json.dumps(
        {"gated": False, "cardData": {"license": licence}}
    ).encode()
    return {"HF_ENDPOINT": site.url, "HF_TOKEN": "hf_canary"}


def test_a_file_of_the_hub_is_described_and_pulled(tmp_path: Path, site: Site) -> None:
    by = puller(tmp_path, hub(site))
    offer = describe(by, "hf:o/r/m.gguf")
    assert (offer.name, offer.size, offer.licence, offer.source) == ("m", len(DATA), "mit", f"hf:o/r@{COMMIT}/m.gguf")
    assert not by.store.root.exists()
    manifest = pull(by, "hf:o/r/m.gguf", progress=nothing)
    assert by.store.weights(manifest).read_bytes() == DATA
    assert (manifest.source, manifest.licence) == (f"hf:o/r@{COMMIT}/m.gguf", "mit")
    assert everything(by.store) == [f"sha256-{sha256(DATA)}"]


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(tmp_path: Path, site: Site) -> None:
    env = hub(site)
    with serve() as store_of_weights:
        store_of_weights.files["/w"] = DATA
        site.redirects[f"/o/r/resolve/{COMMIT}/m.gguf"] = f"{store_of_weights.url}/w"
        pull(puller(tmp_path, env), "hf:o/r/m.gguf", progress=nothing)
        assert "authorization" not in store_of_weights.seen("GET", "/w")[0]
    assert all(headers["authorization"] == "Bearer hf_canary" for _, _, headers in site.requests)


def test_a_cut_download_resumes_in_another_call(tmp_path: Path, site: Site) -> None:
    by = puller(tmp_path, hub(site))
    site.cut_after = [200_000] + [0] * 10
    with pytest.raises(UpstreamUnreachable):
        pull(by, "hf:o/r/m.gguf", progress=nothing)
    assert (by.store.partial / f"sha256-{sha256(DATA)}").stat().st_size == 200_000
    site.cut_after = []
    assert by.store.weights(pull(by, "hf:o/r/m.gguf", progress=nothing)).read_bytes() == DATA
    assert site.seen("GET", f"/o/r/resolve/{COMMIT}/m.gguf")[-1]["range"] == "bytes=200000-"


def test_weights_with_another_digest_are_deleted(tmp_path: Path, site: Site) -> None:
    by = puller(tmp_path, hub(site, digest="0" * 64))
    with pytest.raises(WrongContent):
        pull(by, "hf:o/r/m.gguf", progress=nothing)
    assert everything(by.store) == []
    assert by.store.list() == []


def test_what_is_no_model_is_not_kept(tmp_path: Path, site: Site) -> None:
    by = puller(tmp_path, hub(site, DATA[:-100]))
    with pytest.raises(GGUFError, match="cut"):
        pull(by, "hf:o/r/m.gguf", progress=nothing)
    assert everything(by.store) == []


def test_missing_gated_and_unlabelled_files_are_told_apart(tmp_path: Path, site: Site) -> None:
    by = puller(tmp_path, hub(site))
    with pytest.raises(UpstreamNotFound) as raised:
        describe(by, "hf:o/r/other.gguf")
    site.headers["/o/r/resolve/main/m.gguf"] = {}
    assert raised.value.exit_code == 1
    with pytest.raises(WrongContent, match="does not say"):
        describe(by, "hf:o/r/m.gguf")
    site.status["/o/r/resolve/main/m.gguf"] = 403
    with pytest.raises(UpstreamAuthError) as caught:
        describe(by, "hf:o/r/m.gguf")
    assert "HF_TOKEN" in caught.value.remedy
    assert "hf_canary" not in str(caught.value)


def test_a_plain_hub_beyond_this_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="https"):
        describe(puller(tmp_path, {"HF_ENDPOINT": "http://hub.example"}), "hf:o/r/m.gguf")


def test_the_hubs_own_cache_is_linked_also_offline(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "models--o--r"
    write(folder / "refs" / "main", COMMIT.encode())
    kept = write(folder / "snapshots" / COMMIT / "m.gguf", DATA)
    by = puller(tmp_path, {"HF_HUB_CACHE": str(folder.parent)}, offline=True)
    assert describe(by, "hf:o/r/m.gguf").download_size == 0
    assert by.store.weights(pull(by, "hf:o/r/m.gguf", progress=nothing)).stat().st_ino == kept.stat().st_ino


# The rest


def test_a_plain_path_is_linked(tmp_path: Path) -> None:
    file = write(tmp_path / "My.gguf", DATA)
    by = puller(tmp_path, {})
    assert describe(by, str(file)).name == "my"
    assert pull(by, f"file:{file}", progress=nothing, name="mine").name == "mine"


@pytest.mark.parametrize(
    "reference",
    [
        "hf:o",
        "hf:../r/m.gguf",
        "hf:o/r/../m.gguf",
        "hf:o/r/m.bin",
        "hf:o/r@a/b@c.gguf/x",
        "pypi:x",
        "pypi:x==1",
        "pypi:x==1#../m.gguf",
    ],
)
def test_bad_references_are_refused(tmp_path: Path, reference: str) -> None:
    with pytest.raises(UsageError):
        pull(puller(tmp_path, {}, offline=True), reference, progress=nothing)


def test_an_unknown_name_says_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        describe(puller(tmp_path, {}), "nonsense")
    assert "tiny" in caught.value.remedy


@pytest.mark.parametrize("reference", ["tiny", "hf:o/r/m.gguf", "pypi:tiny-model==1.0#a/b.gguf"])
@pytest.mark.parametrize("env", [{}, {"HF_HUB_OFFLINE": "1"}, {"UV_OFFLINE": "1"}, {"TRIVIUM_OFFLINE": "1"}])
def test_offline_no_socket_is_opened(
    tmp_path: Path, reference: str, env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket was opened"))
    by = puller(tmp_path, env, offline=not env)
    with pytest.raises(Unavailable, match="offline") as caught:
        pull(by, reference, progress=nothing)
    assert "trivium models pull ./model.gguf" in caught.value.remedy


def test_the_demo_model_is_described_without_asking_anybody(tmp_path: Path) -> None:
    by = Puller(store=Store(tmp_path), connect=lambda: pytest.fail("asked"), rows=ROWS, env={})
    offer = describe(by, "smollm2-135m")
    assert (offer.size, offer.download_size, offer.licence) == (98_362_432, 92_871_040, "Apache-2.0")
