from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from engines_help import Site, nothing, serve, sha256
from trivium.engines import download
from trivium.engines.download import Item, WrongContent, fetch, request
from trivium.errors import Unavailable, UpstreamAuthError, UpstreamNotFound, UpstreamUnreachable
from trivium.types.secret import Secret

DATA = bytes(range(256)) * 4000
TOKEN = Secret("Bearer canary")


@pytest.fixture
def site():
    with serve() as made:
        made.files["/f"] = DATA
        made.headers["/f"] = {"etag": '"one"'}
        yield made


@pytest.fixture
def client():
    with httpx2.Client() as made:
        yield made


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def item(site: Site, *, digest: str | None = f"sha256:{sha256(DATA)}", size: int | None = len(DATA)) -> Item:
    return Item(url=f"{site.url}/f", digest=digest, size=size, authorization=TOKEN)


def no_sleep(_: float) -> None:
    pass


def test_a_file_comes_whole_and_progress_is_told(site: Site, client: httpx2.Client, part: Path) -> None:
    told: list[tuple[int, int | None]] = []
    digest = fetch(client, item(site), part, progress=lambda done, total: told.append((done, total)))
    assert digest == f"sha256:{sha256(DATA)}"
    assert part.read_bytes() == DATA
    assert told[0] == (0, len(DATA))
    assert told[-1] == (len(DATA), len(DATA))


def test_a_cut_transfer_goes_on_where_it_stopped(site: Site, client: httpx2.Client, part: Path) -> None:
    site.cut_after = [1000, 500_000]
    fetch(client, item(site), part, progress=nothing, sleep=no_sleep)
    assert part.read_bytes() == DATA
    asked = [(headers.get("range"), headers.get("if-range")) for headers in site.seen("GET", "/f")]
    assert asked == [(None, None), ("bytes=1000-", '"one"'), ("bytes=501000-", '"one"')]


def test_a_second_process_goes_on_with_the_part_of_the_first(site: Site, client: httpx2.Client, part: Path) -> None:
    site.cut_after = [1000] + [0] * 10
    with pytest.raises(UpstreamUnreachable, match="stopped") as caught:
        fetch(client, item(site), part, progress=nothing, sleep=no_sleep)
    assert "resumes" in caught.value.remedy
    assert part.stat().st_size == 1000
    site.cut_after, site.requests = [], []
    fetch(client, item(site), part, progress=nothing)
    assert [headers["range"] for headers in site.seen("GET", "/f")] == ["bytes=1000-"]
    assert part.read_bytes() == DATA


def test_a_file_that_changed_meanwhile_begins_again(site: Site, client: httpx2.Client, part: Path) -> None:
    site.cut_after = [1000] + [0] * 10
    with pytest.raises(UpstreamUnreachable):
        fetch(client, item(site, digest=None, size=None), part, progress=nothing, sleep=no_sleep)
    site.cut_after = []
    site.files["/f"], site.headers["/f"] = DATA[::-1], {"etag": '"two"'}
    fetch(client, item(site, digest=None, size=None), part, progress=nothing)
    assert part.read_bytes() == DATA[::-1]


def test_a_server_without_ranges_begins_again(site: Site, client: httpx2.Client, part: Path) -> None:
    site.ranges, site.cut_after = False, [700_000]
    fetch(client, item(site), part, progress=nothing, sleep=no_sleep)
    assert part.read_bytes() == DATA


def test_a_wrong_digest_leaves_nothing(site: Site, client: httpx2.Client, part: Path) -> None:
    with pytest.raises(WrongContent, match="not the file"):
        fetch(client, item(site, digest="sha256:" + "0" * 64), part, progress=nothing)
    assert list(part.parent.iterdir()) == []


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_a_wrong_size_is_noticed_before_the_body(site: Site, client: httpx2.Client, part: Path, size: int) -> None:
    with pytest.raises(WrongContent, match="expected"):
        fetch(client, item(site, size=size), part, progress=nothing)
    assert not part.exists()


def test_ctrl_c_leaves_the_part(site: Site, client: httpx2.Client, part: Path) -> None:
    def press(done: int, _total: int | None) -> None:
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(client, item(site), part, progress=press)
    assert 0 < part.stat().st_size < len(DATA)
    fetch(client, item(site), part, progress=nothing)
    assert "range" in site.seen("GET", "/f")[-1]


@pytest.mark.parametrize(
    ("status", "error"), [(404, UpstreamNotFound), (401, UpstreamAuthError), (403, UpstreamAuthError)]
)
def test_a_refusal_is_told_and_not_tried_again(
    site: Site, client: httpx2.Client, part: Path, status: int, error: type[Exception]
) -> None:
    site.status["/f"] = status
    with pytest.raises(error):
        fetch(client, item(site), part, progress=nothing)
    assert len(site.requests) == 1


def test_a_server_error_is_tried_again_a_few_times(site: Site, client: httpx2.Client, part: Path) -> None:
    site.status["/f"] = 503
    with pytest.raises(UpstreamUnreachable, match="503"):
        fetch(client, item(site), part, progress=nothing, sleep=no_sleep)
    assert len(site.requests) == 5


def test_a_redirect_is_followed_without_the_credential(site: Site, client: httpx2.Client, part: Path) -> None:
    with serve() as other:
        other.files["/data"] = DATA
        site.redirects["/f"] = f"{other.url}/data"
        fetch(client, item(site), part, progress=nothing)
        assert site.seen("GET", "/f")[0]["authorization"] == "Bearer canary"
        assert "authorization" not in other.seen("GET", "/data")[0]
    assert part.read_bytes() == DATA


def test_a_redirect_within_the_origin_keeps_the_credential(site: Site, client: httpx2.Client, part: Path) -> None:
    site.files["/g"] = DATA
    site.redirects["/f"] = "/g"
    fetch(client, item(site), part, progress=nothing)
    assert site.seen("GET", "/g")[0]["authorization"] == "Bearer canary"


@pytest.mark.parametrize(
    "target", ["http://example.com/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "https://user:pass@example.com/x"]
)
def test_an_unsafe_redirect_is_refused(site: Site, client: httpx2.Client, target: str) -> None:
    site.redirects["/f"] = target
    with pytest.raises(WrongContent, match="not safe") as caught, request(client, "GET", f"{site.url}/f"):
        pass
    assert "pass@" not in str(caught.value)


def test_redirects_without_end_are_left(site: Site, client: httpx2.Client) -> None:
    site.redirects["/f"] = "/f"
    with pytest.raises(WrongContent, match="without end"), request(client, "GET", f"{site.url}/f"):
        pass
    assert len(site.requests) == 8


def test_nobody_there_is_told_with_a_remedy(client: httpx2.Client, part: Path) -> None:
    with serve() as gone:
        url = gone.url
    with pytest.raises(UpstreamUnreachable, match="cannot be reached") as caught:
        fetch(client, Item(url=url, digest=None, size=None), part, progress=nothing, sleep=no_sleep)
    assert caught.value.remedy


def test_a_full_disk_is_told_with_both_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
    download.need_space(tmp_path, 5 << 20)
    with pytest.raises(Unavailable, match="5 MiB are free, 7 MiB are needed"):
        download.need_space(tmp_path, 7 << 20)


def test_a_url_for_people_has_no_credentials() -> None:
    assert download.shown("https://u:p@h.example:8443/a?token=x#y") == "https://h.example:8443/a"
