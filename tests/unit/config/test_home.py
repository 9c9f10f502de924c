from pathlib import Path

import pytest

from trivium.config.home import Paths, config_folder, home_of, make_private


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
