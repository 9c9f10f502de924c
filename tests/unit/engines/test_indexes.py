from __future__ import annotations

import base64
from pathlib import Path

import pytest

from engines_help import write
from trivium.engines.indexes import PUBLIC_INDEX, Configured, configured
from trivium.errors import UsageError


def read(root: Path, env: dict[str, str] | None = None) -> Configured:
    """What a machine with only the files under `root` is configured with."""
    return configured({"HOME": str(root / "home"), **(env or {})}, prefix=root / "venv", root=root)


def places(found: Configured) -> list[str]:
    return [source.location for source in found.sources]


def test_a_machine_without_configuration_uses_the_public_index(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert places(found) == [PUBLIC_INDEX]
    assert not found.offline


@pytest.mark.parametrize(
    "file",
    ["etc/pip.conf", "etc/xdg/pip/pip.conf", "home/.pip/pip.conf", "home/.config/pip/pip.conf", "venv/pip.conf"],
)
def test_each_of_pips_files_counts(tmp_path: Path, file: str) -> None:
    write(tmp_path / file, b"[global]\nindex-url = https://mirror.example/simple\n")
    assert places(read(tmp_path)) == ["https://mirror.example/simple"]


def test_pips_files_and_variables_override_each_other_in_pips_order(tmp_path: Path) -> None:
    write(tmp_path / "etc/pip.conf", b"[global]\nindex-url = https://system.example/\n")
    write(tmp_path / "home/.config/pip/pip.conf", b"[install]\nindex_url = https://user.example/\n")
    assert places(read(tmp_path)) == ["https://user.example/"]
    named = write(tmp_path / "named.conf", b"[global]\nindex-url = https://named.example/\n")
    assert places(read(tmp_path, {"PIP_CONFIG_FILE": str(named)})) == ["https://named.example/"]
    assert places(read(tmp_path, {"PIP_INDEX_URL": "https://env.example/"})) == ["https://env.example/"]
    assert places(read(tmp_path, {"PIP_CONFIG_FILE": "/dev/null"})) == [PUBLIC_INDEX]


def test_further_indexes_and_links_come_beside_the_default(tmp_path: Path) -> None:
    write(
        tmp_path / "etc/pip.conf",
        b"[global]\nfind-links = /wheels\n    /more\nextra-index-url =\n  file:///a/simple\n  https://b.example/simple\n",
    )
    found = read(tmp_path)
    assert places(found) == ["/wheels", "/more", PUBLIC_INDEX, "file:///a/simple", "https://b.example/simple"]
    assert [source.index for source in found.sources] == [False, False, True, True, True]


def test_no_index_leaves_only_links_and_means_offline(tmp_path: Path) -> None:
    found = read(tmp_path, {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels https://links.example/page.html"})
    assert places(found) == ["/wheels", "https://links.example/page.html"]
    assert found.offline


def test_uvs_file_counts(tmp_path: Path) -> None:
    write(
        tmp_path / "home/.config/uv/uv.toml",
        b'find-links = ["/wheels"]\n[[index]]\nurl = "https://a.example/"\n'
        b'[[index]]\nname = "d"\nurl = "https://d.example/"\ndefault = true\n[pip]\nextra-index-url = ["https://p.example/"]\n',
    )
    assert places(read(tmp_path)) == ["/wheels", "https://d.example/", "https://a.example/", "https://p.example/"]
    assert places(read(tmp_path, {"UV_NO_CONFIG": "1"})) == [PUBLIC_INDEX]


def test_uvs_variables_count(tmp_path: Path) -> None:
    env = {"UV_DEFAULT_INDEX": "https://d.example/", "UV_INDEX": "lab=https://lab.example/ https://e.example/"}
    assert places(read(tmp_path, env)) == ["https://d.example/", "https://lab.example/", "https://e.example/"]
    assert read(tmp_path, {"UV_OFFLINE": "true"}).offline


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"no section", b"[global\n", b"[[index]]\nurl = 5\n", b"index = 3"])
def test_files_that_cannot_be_read_are_left_out(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "etc/pip.conf", content)
    write(tmp_path / "etc/uv/uv.toml", content)
    assert places(read(tmp_path)) == [PUBLIC_INDEX]


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_credentials_never_stay_in_a_location(tmp_path: Path) -> None:
    write(tmp_path / "home/.netrc", b"machine netrc.example login me password hidden\n").chmod(0o600)
    found = read(
        tmp_path,
        {
            "PIP_INDEX_URL": "https://us%40er:pa:ss@url.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://netrc.example/simple",
            "UV_INDEX": "my-lab=https://uv.example/",
            "UV_INDEX_MY_LAB_USERNAME": "u",
            "UV_INDEX_MY_LAB_PASSWORD": "p",
        },
    )
    told = {
        source.location: source.authorization.reveal() if source.authorization else None for source in found.sources
    }
    assert told == {
        "https://url.example/simple": basic("us@er:pa:ss"),
        "https://netrc.example/simple": basic("me:hidden"),
        "https://uv.example/": basic("u:p"),
    }
    for secret in ("pa:ss", "hidden", basic("u:p")):
        assert secret not in repr(found)


def test_a_password_of_the_environment_is_no_part_of_the_address(tmp_path: Path) -> None:
    login = {"UV_INDEX_OWN_USERNAME": "u", "UV_INDEX_OWN_PASSWORD": "p/a@s%41"}
    source = read(tmp_path, {"UV_INDEX": "own=https://i.example/simple", **login}).sources[-1]
    assert source.location == "https://i.example/simple"
    assert source.authorization is not None
    assert base64.b64decode(source.authorization.reveal().removeprefix("Basic ")) == b"u:p/a@s%41"


@pytest.mark.parametrize("url", ["https://u:hush@[/simple", "https://u:hush@h:port/simple", "https://h:99999/"])
def test_an_address_that_is_no_url_is_refused_unseen(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="no URL") as refused:
        read(tmp_path, {"PIP_INDEX_URL": url})
    assert "hush" not in str(refused.value)
