from pathlib import Path

import pytest

from trivium.config.home import Paths, config_folder, home_of, make_private, user_path
from trivium.errors import ConfigError


@pytest.mark.parametrize(
    ("env", "home", "config"),
    [
        ({"HOME": "/u"}, "/u/.local/share/trivium", "/u/.config/trivium"),
        ({"HOME": "/u", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}, "/d/trivium", "/c/trivium"),
        ({"HOME": "/u", "XDG_DATA_HOME": "d", "XDG_CONFIG_HOME": ""}, "/u/.local/share/trivium", "/u/.config/trivium"),
        ({"HOME": "/u", "TRIVIUM_HOME": "/t"}, "/t", "/u/.config/trivium"),
    ],
)
def test_homes_follow_the_environment(env: dict[str, str], home: str, config: str):
    assert (home_of(env), config_folder(env)) == (Path(home), Path(config))


def test_everything_of_a_home_is_under_it():
    for place in vars(Paths(Path("/h"))):
        assert getattr(Paths(Path("/h")), place).is_relative_to("/h")


def test_folders_are_made_for_their_owner_only(tmp_path: Path):
    folder = make_private(tmp_path / "a" / "b")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert make_private(folder) == folder


def test_folders_around_a_new_one_are_private_too(tmp_path: Path):
    make_private(tmp_path / "a" / "b" / "c")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")} == {0o700}


def test_a_tilde_of_nobody_is_a_name(tmp_path: Path):
    assert user_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    assert user_path("~") == Path.home()
    assert home_of({"TRIVIUM_HOME": "~nobody-of-that-name"}) == Path.cwd() / "~nobody-of-that-name"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(ConfigError, match="TRIVIUM_HOME and XDG_DATA_HOME"):
        home_of({})
