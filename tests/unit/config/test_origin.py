import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.config.origin import check_base_url, is_loopback, is_metadata, moved, origin_of, place_of
from trivium.types.origin import parse_origin


@pytest.mark.parametrize(
    "url", ["https://a.example/v1", "http://10.0.0.5:8000", "http://[::1]:1/x/y", "https://xn--bcher-kva.example"]
)
def test_servers_of_the_operator_are_meant(url: str):
    assert check_base_url(f" {url}/ ") == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must begin with"),
        ("a.example/v1", "must begin with"),
        ("file:///etc/passwd", "must begin with"),
        ("https://", "names no server"),
        ("https://a b/v1", "names no server"),
        ("https://a\\@b/v1", "user name"),
        ("https://a\n.example", "names no server"),
        ("https://me@a.example", "user name"),
        ("https://:pw@a.example", "user name"),
        ("https://a.example/v1?x=1", "query"),
        ("https://a.example/v1#x", "query"),
        ("https://a.example:99999", "is not a URL"),
        ("https://a.example:0", "names no server"),
        ("http://[::1", "is not a URL"),
        ("http://metadata.google.internal/v1", "metadata"),
        ("http://127.1:9/v1", "neither a name nor an IPv4 address"),
        ("https://ü.example/v1", "a form that is not allowed"),
        ("https://a.example/v1/../x", "dot or empty segments"),
        ("https://a..example/v1", "no host name"),
        ("https://a.example./v1", "neither a name nor"),
    ],
)
def test_what_no_base_url_may_be(url: str, words: str):
    with pytest.raises(ValueError, match=words):
        check_base_url(url)


@given(st.text("ahtps:/.@[]0123456789:x%?# ü\\-_", max_size=30), st.sampled_from(["", "http://", "https://a.b"]))
def test_what_is_accepted_names_one_server_to_every_reader(text: str, start: str):
    try:
        url = check_base_url(start + text)
    except ValueError:
        return
    origin = parse_origin(url)
    assert place_of(url) == (origin.scheme, origin.host, origin.port)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254", "169.254.1.1", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518",
        "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "fd00:0ec2:0:0::0254", "100.100.100.200",
        "METADATA.google.internal.", "metadata", "fd00:ec2::254%eth0", "fe80::a9fe:a9fe%eth0", "fd00:42::42",
        "metadata.tencentyun.com",
    ],
)  # fmt: skip
def test_metadata_services_are_known_in_every_spelling(host: str):
    assert is_metadata(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.5", "metadata.example.com", "fe80::1", "api.openai.com"])
def test_other_hosts_are_not(host: str):
    assert not is_metadata(host)


def test_an_origin_has_its_port_written():
    assert origin_of("https://A.example/v1") == "https://a.example:443"
    assert origin_of("http://[::1]:8000/v1") == "http://[::1]:8000"
    assert origin_of("http://a.example:80") == origin_of("http://a.example")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("gpu", "http://gpu:11434/v1"),
        ("gpu:9", "http://gpu:9/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("[::]:5", "http://[::1]:5/v1"),
        (":5", "http://127.0.0.1:5/v1"),
        ("https://gpu.example", "https://gpu.example:443/v1"),
        ("http://gpu:9/", "http://gpu:9/v1"),
        ("http://gpu:9/ollama", "http://gpu:9/ollama/v1"),
        ("http://gpu:9/v1", "http://gpu:9/v1"),
    ],
)
def test_the_environment_can_move_a_server(host: str, expected: str):
    assert moved("http://127.0.0.1:11434/v1", host) == expected


@pytest.mark.parametrize("host", ["ftp://x", "http://me:pw@x", "169.254.169.254", "x:port"])
def test_but_not_anywhere(host: str):
    with pytest.raises(ValueError):
        moved("http://127.0.0.1:11434/v1", host)


def test_loopback_is_known():
    assert [is_loopback(host) for host in ("localhost", "127.9.9.9", "::1", "0.0.0.0", "", "example.com")] == [
        True, True, True, False, False, False,
    ]  # fmt: skip
