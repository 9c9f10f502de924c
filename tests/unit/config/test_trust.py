from pathlib import Path

from trivium.config.trust import distrust, is_trusted, trust


def test_trust_holds_for_one_path_and_one_content(tmp_path: Path):
    home, file, copy = tmp_path / "home", tmp_path / "a.toml", tmp_path / "b.toml"
    file.write_bytes(b"x")
    copy.write_bytes(b"x")
    assert not is_trusted(home, file, b"x")
    trust(home, file)
    assert is_trusted(home, file, b"x")
    assert not is_trusted(home, file, b"x ")
    assert not is_trusted(home, copy, b"x")
    assert (home / "trusted.json").stat().st_mode & 0o777 == 0o600


def test_a_link_is_judged_by_what_it_names(tmp_path: Path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    trust(tmp_path / "home", tmp_path / "link")
    assert is_trusted(tmp_path / "home", tmp_path / "real", b"x")


def test_trust_can_be_taken_back_and_a_broken_list_allows_nothing(tmp_path: Path):
    file = tmp_path / "f"
    file.write_bytes(b"x")
    assert not distrust(tmp_path, file)
    trust(tmp_path, file)
    assert distrust(tmp_path, file)
    assert not is_trusted(tmp_path, file, b"x")
    (tmp_path / "trusted.json").write_text("{")
    assert not is_trusted(tmp_path, file, b"x")
