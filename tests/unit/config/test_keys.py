import time
from pathlib import Path

import pytest

from trivium.config.load import load
from trivium.config.schema import Config
from trivium.errors import ConfigError


def configured(tmp_path: Path, text: str) -> Config:
    (tmp_path / "c.toml").write_text(text)
    return load(file="c.toml", env={"HOME": str(tmp_path)}, cwd=tmp_path, home=tmp_path / "home")


def test_a_hash_that_was_made_here_is_taken_as_it_is(tmp_path: Path):
    digest = configured(tmp_path, '[[keys]]\nname = "a"\nkey = "secret"\n').keys[0].digest
    again = configured(tmp_path, f'[[keys]]\nname = "a"\nhash = "{digest}"\n')
    assert again.keys[0].digest == digest
    assert again.notes == ()


def test_a_hash_of_another_root_secret_is_noted(tmp_path: Path):
    config = configured(tmp_path, f'[[keys]]\nname = "a"\nhash = "hmac-sha256:00000000:{"0" * 64}"\n')
    assert config.notes == ("the key `a` was hashed with another root secret, and matches nothing here",)


@pytest.fixture
def far_from_utc():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_utc")
@pytest.mark.parametrize(
    ("text", "expected"),
    [("2027-01-31", 1801353600.0), ("2027-01-31T12:00:00+02:00", 1801389600.0), ('"2027-01-31"', 1801353600.0)],
)
def test_expiry_is_unix_seconds_in_utc_unless_it_says_otherwise(text: str, expected: float, tmp_path: Path):
    assert configured(tmp_path, f'[[keys]]\nname = "a"\nkey = "s"\nexpires = {text}\n').keys[0].expires_s == expected


@pytest.mark.parametrize("key", ["", "   ", "two words", "ü", r"a\u0007b"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_repeated(key: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="is empty, or has spaces"):
        configured(tmp_path, f'[[keys]]\nname = "a"\nkey = "{key}"\n')


@pytest.mark.parametrize("second", ['name = "a"\nkey = "t"', 'name = "b"\nkey = "s"', 'name = "b"\nkey = " s "'])
def test_two_keys_share_neither_name_nor_secret(second: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="is also that of the key in line 1"):
        configured(tmp_path, f'[[keys]]\nname = "a"\nkey = "s"\n[[keys]]\n{second}\n')


def test_a_key_and_a_hash_at_once_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="either `key` or `hash`, not both"):
        configured(tmp_path, '[[keys]]\nname = "a"\nkey = "s"\nhash = "x"\n')
