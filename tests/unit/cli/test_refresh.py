"""`trivium models refresh` against a fake provider: asked with its key, only when a person asks, kept in the home."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import support
from cli_help import configured, said_error, trivium
from engines_help import serve
from trivium.cli.call import call
from trivium.cli.refresh import _ids, read_list
from trivium.config.load import load
from trivium.errors import UpstreamProtocolError
from trivium.testing import FakeUpstream

KEY = "test-key-0123456789"


@pytest.mark.parametrize("dialect", support.DIALECTS)
def test_a_list_is_read_with_the_key_kept_and_shown(tmp_path: Path, dialect: support.Dialect) -> None:
    with FakeUpstream(key=KEY) as up:
        words = ("--json", "--config", configured(tmp_path, up, dialect=dialect, key=KEY))
        assert json.loads(trivium(tmp_path, "models", "--provider", "primary", *words).stdout) == {"rows": []}
        assert up.requests == []
        done = trivium(tmp_path, "models", "refresh", "primary", *words)
        assert done.returncode == 0, done.stderr
        assert [(seen.method, seen.path) for seen in up.requests] == [("GET", "/v1/models")]
        listed = json.loads(trivium(tmp_path, "models", "--provider", "primary", *words).stdout)["rows"]
        assert up.count() == 1
    models = [row["model"] for row in json.loads(done.stdout)["rows"]]
    assert "primary/echo" in models
    assert [row["model"] for row in listed] == models
    assert {row["price"] for row in listed} == {None}
    assert KEY not in done.stdout + done.stderr


def test_a_list_may_stand_beside_the_version_that_the_base_url_names(tmp_path: Path) -> None:
    with FakeUpstream(key=KEY) as up:
        path = "/../v1/models?page_size=1000"
        row = support.provider(f"{up.origin}/v2", dialect="cohere_v2", key=KEY, models_path=path)  # type: ignore[arg-type]
        (tmp_path / "test.toml").write_text(support.config([row]))
        done = trivium(tmp_path, "models", "refresh", "primary", "--config", "test.toml")
        assert [(seen.method, seen.path) for seen in up.requests] == [("GET", "/v1/models?page_size=1000")]
    assert done.returncode == 0, done.stderr
    assert "primary/echo" in done.stdout.split()


def test_names_of_models_are_what_a_request_would_say(tmp_path: Path) -> None:
    with FakeUpstream(key=KEY) as up:
        places = {"auth": "x-goog-api-key", "models_path": "/models?pageSize=1000"}
        row = support.provider(f"{up.origin}/v1beta", dialect="gemini", key=KEY, **places)  # type: ignore[arg-type]
        (tmp_path / "test.toml").write_text(support.config([row]))
        done = trivium(tmp_path, "models", "refresh", "primary", "--config", "test.toml")
        assert [(seen.method, seen.path) for seen in up.requests] == [("GET", "/v1beta/models?pageSize=1000")]
    assert done.returncode == 0, done.stderr
    assert "primary/echo" in done.stdout.split()


def test_a_key_that_is_refused_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with FakeUpstream(key="another") as up:
        done = trivium(tmp_path, "models", "refresh", "primary", "--json", "--config", configured(tmp_path, up))
    error = said_error(done)
    assert (done.returncode, done.stdout) == (69, "")
    assert "401" in error["message"]
    assert "trivium login primary" in error["remedy"]


def test_of_all_providers_one_that_fails_does_not_hide_the_others(tmp_path: Path) -> None:
    with FakeUpstream() as up, support.refused_port() as port:
        rows = [support.provider(f"http://127.0.0.1:{port}/v1"), support.provider(up, "second")]
        (tmp_path / "test.toml").write_text(support.config(rows))
        done = trivium(tmp_path, "models", "refresh", "--config", "test.toml")
    assert done.returncode == 0
    assert done.stderr.startswith("primary: ")
    assert "second/echo" in done.stdout.split()
    assert "primary/" not in done.stdout


def test_where_every_provider_fails_the_command_does_and_says_who(tmp_path: Path) -> None:
    with support.refused_port() as port:
        rows = [support.provider(f"http://127.0.0.1:{port}/v1", name) for name in ("primary", "second")]
        (tmp_path / "test.toml").write_text(support.config(rows))
        done = trivium(tmp_path, "models", "refresh", "--json", "--config", "test.toml")
    assert (done.returncode, done.stdout) == (69, "")
    assert all(f"{name}: http://127.0.0.1:{port} " in said_error(done)["message"] for name in ("primary", "second"))


def test_without_a_key_nothing_is_refreshed_which_is_said(tmp_path: Path) -> None:
    done = trivium(tmp_path, "models", "refresh")
    assert done.returncode == 0
    assert "No provider has a key" in done.stderr


@pytest.mark.parametrize("provider", ["nobody", "local"])
def test_who_has_no_list_is_not_asked(tmp_path: Path, provider: str) -> None:
    done = trivium(tmp_path, "models", "refresh", provider)
    assert done.returncode == 1
    assert "trivium providers" in done.stderr


def test_offline_nobody_is_asked(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        row = configured(tmp_path, up)
        file = Path(row)
        file.write_text(file.read_text().replace("127.0.0.1", "provider.example"))
        done = trivium(tmp_path, "models", "refresh", "primary", "--offline", "--config", row)
        assert up.connections == 0
    assert done.returncode == 69


@pytest.mark.parametrize(
    "body", [b"", b"[", b"{}", b'{"data": {}}', b'{"data": [{"id": 7}]}', b'{"data": ["gpt"]}', b'{"models": [{}]}']
)
def test_a_list_of_another_form_is_a_defect_of_the_provider(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        _ids("lab", body)


def test_all_forms_of_lists_are_read() -> None:
    assert _ids("lab", b'{"models": [{"name": "b", "endpoints": []}, {"name": "a"}], "next_page_token": ""}') == [
        "a",
        "b",
    ]
    assert _ids("lab", b'{"data": [{"id": "b", "more": 1}, {"id": "a"}], "more": 1}') == ["a", "b"]
    assert _ids("lab", b'[{"id": "b"}, {"id": "a"}]') == ["a", "b"]


def test_a_list_is_read_no_further_than_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivium.cli.call.ANSWER_BYTES_MAX", 1000)
    monkeypatch.setattr("trivium.cli.refresh.ANSWER_BYTES_MAX", 1000)
    with serve() as site:
        site.files["/v1/models"] = json.dumps({"data": [{"id": f"m-{n}"} for n in range(1000)]}).encode()
        file = configured(tmp_path, f"{site.url}/v1", key=KEY)
        config = load(file=file, env={}, cwd=tmp_path, home=tmp_path)
        status, body = call(config, config.providers["primary"], "/models", KEY)
        assert (status, len(body)) == (200, 1001)
        with pytest.raises(UpstreamProtocolError, match="longer than 1000 bytes"):
            read_list(config, config.providers["primary"])
