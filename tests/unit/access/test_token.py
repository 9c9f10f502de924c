"""A command's token: what it may print, and that it can neither hang, flood nor leak."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trivium.access import token
from trivium.config.schema import TokenCommand
from trivium.errors import UpstreamTokenError

NOW = 1_790_000_000.0
GOOD_S = 300.0


@pytest.mark.parametrize(
    ("said", "secret", "good_s"),
    [
        ("ya29.abc\n", "ya29.abc", GOOD_S),
        ("  tok \r\n", "tok", GOOD_S),
        ('{"token": "t"}', "t", GOOD_S),
        ('{"access_token": "t", "expires_in": 3599, "token_type": "Bearer"}', "t", 3599.0),
        ('{"access_token": "t", "expires_in": "60"}', "t", 60.0),
        ('{"token": "t", "expiry": "2026-09-21T14:30:00Z"}', "t", 1000.0),
        ('{"token": "t", "expiry": "2026-09-21T16:30:00.5+02:00"}', "t", 1000.5),
        ('{"token": "t", "expiry": "2026-09-21T14:30:00"}', "t", 1000.0),
        ('{"accessToken": "t", "expires_on": 1790000100, "expiresOn": "2026-09-21 16:08:20"}', "t", 100.0),
        ('{"token": null, "access_token": "t", "expiry": null}', "t", GOOD_S),
    ],
)
def test_what_a_command_may_print(said: str, secret: str, good_s: float) -> None:
    found = token.read(said.encode(), GOOD_S, NOW)
    assert (found.secret.reveal(), found.good_s) == (secret, pytest.approx(good_s))


def test_a_time_without_a_zone_is_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = token.read(b'{"token": "t", "expiry": "2026-09-21T14:30:00"}', GOOD_S, NOW)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert found.good_s == 1000.0


@pytest.mark.parametrize(
    "said",
    [
        "", " \n", "two lines\nof text", "tok\ntok", "töken", "a\0b", "\x1b[31mred", "{", "{}", '{"token": 1}',
        '{"token": ""}', '{"token": "a b"}', '{"token": "a\\r\\nx: y"}', '{"token": "t", "expiry": "soon"}',
        '{"token": "t", "expiry": []}', '{"token": "t", "expiry": "2026-09-21T14:06:40Z"}',
        '{"token": "t", "expires_in": 0}', '{"token": "t", "expires_in": -5}',
    ],
)  # fmt: skip
def test_what_is_no_token(said: str) -> None:
    with pytest.raises(token._Unusable):
        token.read(said.encode(), GOOD_S, NOW)


def fetch(folder: Path, code: str, **more: object) -> token.Token:
    return token.fetch("acme", TokenCommand((sys.executable, "-c", code)), folder / "home", **more)  # type: ignore[arg-type]


def test_it_runs_in_the_home_without_a_shell_a_terminal_or_our_root_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVIUM_SECRET", "root")
    monkeypatch.setenv("CLOUDSDK_CONFIG", "kept")
    code = "import os, sys; print(os.getcwd(), os.environ.get('TRIVIUM_SECRET'), os.environ['CLOUDSDK_CONFIG'], "
    code += "sys.stdin.read() == '', os.getsid(0) == os.getpid(), *sys.argv[1:], sep='|')"
    command = TokenCommand((sys.executable, "-c", code, "$HOME", "a;b"))
    ours, typed = os.pipe()
    os.write(typed, b"typed")
    os.close(typed)
    before = os.dup(0)
    os.dup2(ours, 0)
    try:
        said = token.fetch("acme", command, tmp_path / "home").secret.reveal()
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(ours)
    assert said.split("|") == [str(tmp_path / "home"), "None", "kept", "True", "True", "$HOME", "a;b"]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; print('sesame-0123'); print('no log-in: sesame-0123', file=sys.stderr); sys.exit(3)", "status 3"),
        ("pass", "printed nothing that could be a token"),
        ("import os; os.kill(os.getpid(), 9)", "status -9"),
        ("while True: print('x' * 4096)", "printed more than"),
    ],
)
def test_a_failure_is_ours_and_only_the_log_has_what_it_complained_of(
    code: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(UpstreamTokenError, match=why) as caught:
        fetch(tmp_path, code)
    assert caught.value.status == 502
    assert "`acme`" in caught.value.message
    assert caught.value.remedy
    assert "no log-in" not in str(caught.value)
    assert ("no log-in: [its output]" in caplog.text) == ("no log-in" in code)
    assert "sesame" not in caplog.text + str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        '{"access_token": "ya29.sesame:0123", "expires_in": 0}',
        '{"token":"ya29.sesame:0123","expiry":"soon"}',
        '{"token": "ya29.sesame:0123"',
        "token=ya29.sesame:0123\nexpires: 1",
    ],
)
@pytest.mark.parametrize("words", ["got ya29.sesame:0123", "'ya29.sesame:0123'!", "x " * 2041 + "ya29.sesame:0123"])
def test_a_token_that_is_repeated_is_in_no_log(
    said: str, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(UpstreamTokenError) as caught:
        fetch(tmp_path, f"import sys; print({said!r}); print({words!r}, file=sys.stderr); sys.exit(3)")
    assert "ya29" not in caplog.text + str(caught.value)
    assert ("[its output]" in caplog.text) == (len(words) < 4096)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UpstreamTokenError, match="could not be started"):
        token.fetch("acme", TokenCommand(("there-is-no-such-program",)), tmp_path)
    with pytest.raises(UpstreamTokenError, match="could not be started"):
        token.fetch("acme", TokenCommand(("sh", "a\0b")), tmp_path)


def test_one_that_hangs_is_ended_with_what_it_has_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "RUN_S_MAX", 0.5)
    code = (
        "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); open('pid', 'w').write(str(p.pid)); p.wait()"
    )
    with pytest.raises(UpstreamTokenError, match=r"took longer than 0\.5 s"):
        fetch(tmp_path, code)
    child = int((tmp_path / "home/pid").read_text())
    end = time.monotonic() + 5
    while _lives(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _lives(child)


def test_one_that_leaves_something_behind_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "LAST_WORDS_S", 0.2)
    code = "import subprocess; p = subprocess.Popen(['sleep', '2'], start_new_session=True); print('tok', flush=True)"
    others = set(threading.enumerate())
    began = time.monotonic()
    assert fetch(tmp_path, code).secret.reveal() == "tok"
    assert time.monotonic() - began < 2
    for reader in set(threading.enumerate()) - others:
        reader.join(10)


def test_it_can_be_ended_from_outside(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(UpstreamTokenError, match="status -9"):
        fetch(tmp_path, "import time; time.sleep(600)", started=token.kill)
    assert time.monotonic() - began < token.RUN_S_MAX


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_interruption_ends_the_command_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    command = TokenCommand((sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setattr(subprocess.Popen, "wait", _interrupted_once(subprocess.Popen.wait))
    with pytest.raises(KeyboardInterrupt):
        token.fetch("p", command, tmp_path, started.append)
    assert started[0].returncode is not None


def _interrupted_once(wait: Callable[..., int]) -> Callable[..., int]:
    """Ctrl-C in the first wait."""
    left = [KeyboardInterrupt()]

    def waited(*given: Any, **more: Any) -> int:
        if left:
            raise left.pop()
        return wait(*given, **more)

    return waited
