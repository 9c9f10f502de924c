import pytest

from trivium.config.listen import refusal, split_address


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:3333", ("127.0.0.1", 3333)), ("[::1]:1", ("::1", 1)), (":80", ("", 80)), ("host:0", ("host", 0))],
)
def test_addresses(text: str, expected: tuple[str, int]):
    assert split_address(text) == expected


@pytest.mark.parametrize("text", ["3333", "host", "::1:3333", "host:99999", "host:", "a b:1", "http://x:1"])
def test_what_is_no_address_is_refused(text: str):
    with pytest.raises(ValueError, match="is no address: write"):
        split_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0:1", ":1", "[::]:1", "10.0.0.1:1", "example.com:1"])
def test_beyond_loopback_only_behind_keys(text: str):
    assert refusal(text, guarded=False) is not None
    assert refusal(text, guarded=True) is None


@pytest.mark.parametrize("text", ["127.0.0.1:1", "localhost:1", "[::1]:1"])
def test_loopback_is_open(text: str):
    assert refusal(text, guarded=False) is None
