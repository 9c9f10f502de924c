"""`trivium config`: nothing secret is shown, trust is given and taken back, a running server reads anew."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

import support
from cli_help import said_error, trivium
from trivium.catalog.rows import Provider
from trivium.cli.config import redacted
from trivium.cli.providers import facts_of
from trivium.config.schema import BoundProvider, Config
from trivium.types.secret import Secret

ROW = Provider(id="lab", base_url="https://lab.example/v1", headers={"x-lab": "hush-header"})


def test_what_is_shown_holds_no_secret() -> None:
    bound = BoundProvider(row=ROW, credential=Secret("hush-key"), credential_from="LAB_KEY")
    said = msgspec.json.encode(redacted(Config(home=Path("/home"), providers={"lab": bound})))
    assert b"hush" not in said
    assert b"LAB_KEY" in said


def test_facts_of_a_provider_hide_the_values_of_headers() -> None:
    facts = facts_of(ROW)
    assert facts["headers"] == {"x-lab": "hidden"}
    assert facts["region"] is None


FOUND = '[[providers]]\nid = "lab"\nbase_url = "http://127.0.0.1:9/v1"\n'


def providers(home: Path) -> list[str]:
    return list(json.loads(trivium(home, "config", "--json").stdout)["providers"])


def test_a_found_file_counts_while_it_is_trusted_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "trivium.toml"
    file.write_text(FOUND)
    assert "lab" not in providers(tmp_path)
    done = trivium(tmp_path, "config", "trust", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["file"], said["trusted"], len(said["sha256"])) == (str(file), True, 64)
    assert "lab" in providers(tmp_path)
    file.write_text(FOUND + "# changed")
    assert "lab" not in providers(tmp_path)
    assert "is trusted as it is now" in trivium(tmp_path, "config", "trust", "trivium.toml").stdout
    assert "lab" in providers(tmp_path)
    taken = json.loads(trivium(tmp_path, "config", "distrust", "--json").stdout)
    assert taken == {"file": str(file), "trusted": False, "was_trusted": True}
    assert "lab" not in providers(tmp_path)
    assert "is not trusted" in trivium(tmp_path, "config", "distrust").stdout


def test_what_is_not_there_cannot_be_trusted(tmp_path: Path) -> None:
    done = trivium(tmp_path, "config", "trust", "--json")
    assert (done.returncode, said_error(done)["kind"]) == (2, "usage")


def test_reload_needs_a_server_and_says_what_is_wrong(tmp_path: Path) -> None:
    nobody = trivium(tmp_path, "config", "reload", "--json")
    assert (nobody.returncode, said_error(nobody)["kind"]) == (69, "temporarily_unavailable")
    with support.serve(support.config([]), home=tmp_path) as served:
        # Without `--config`: the command's own configuration says only which home is meant.
        done = trivium(tmp_path, "config", "reload", "--json")
        assert (done.returncode, json.loads(done.stdout)) == (0, {"reloaded": True}), done.stderr
        assert trivium(tmp_path, "config", "reload").stdout == "The configuration was read anew.\n"
        served.config_file.write_text(served.config_file.read_text() + "\n[servr]\n")
        broken = trivium(tmp_path, "config", "reload", "--json")
        assert (broken.returncode, said_error(broken)["kind"]) == (78, "configuration")
        assert "servr" in said_error(broken)["message"]
        assert support._status(served.port, "/health") == 200


def test_a_check_reads_a_file_as_a_trusted_one(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(FOUND)
    assert json.loads(trivium(tmp_path, "config", "check", "other.toml", "--json").stdout)["trusted"] is True
    assert trivium(tmp_path, "config", "check", "other.toml").stdout == f"{file}: nothing is wrong.\n"
    file.write_text("[servr]\n")
    assert trivium(tmp_path, "config", "check", "other.toml").returncode == 78
    found = file.rename(tmp_path / "trivium.toml")
    done = trivium(tmp_path, "config", "check", "--json")
    assert (done.returncode, said_error(done)["line"]) == (78, 1)
    found.write_text(FOUND)
    done = trivium(tmp_path, "config", "check")
    assert "ignored in it: providers" in done.stdout
    assert done.stdout.endswith(f"{found}: nothing is wrong.\n")
    found.write_text('[[engines]]\nid = "own"\nmodel = "./own.gguf"\n')
    done = trivium(tmp_path, "config", "check", "--json")
    assert (done.returncode, said_error(done)["line"]) == (78, 3)
    (tmp_path / "own.gguf").touch()
    assert trivium(tmp_path, "config", "check").returncode == 0
