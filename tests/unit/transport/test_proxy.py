"""The environment's proxies, read as other programs read them; and what a proxy may answer."""

import base64

import pytest

from trivium.errors import ConfigError, UpstreamProtocolError, UpstreamUnreachable
from trivium.transport.proxy import HEAD_MAX_BYTES, Proxies, Proxy, connect_request, tunnel_stands
from trivium.types.origin import parse_origin
from trivium.types.secret import Secret

ORIGIN = parse_origin("https://api.example.com/v1")
PROXY = Proxy("proxy.corp", 3128, Secret(""))


def chosen(env: dict[str, str], url: str = "https://api.example.com/v1") -> str | None:
    proxy = Proxies.from_env(env).for_origin(parse_origin(url))
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("env", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://s:1"}, "s:1", None),
        ({"https_proxy": "http://s:1"}, "s:1", None),
        ({"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:2"}, "lower:2", None),
        ({"HTTPS_PROXY": "http://upper:1", "https_proxy": ""}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, None, "p:1"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, None, None),
        ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, None, "p:1"),
        ({"ALL_PROXY": "http://a:1"}, "a:1", "a:1"),
        ({"all_proxy": "a:1"}, "a:1", "a:1"),
        ({"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://s:1"}, "s:1", "a:1"),
        ({"HTTPS_PROXY": "http://s"}, "s:80", None),
        ({"HTTPS_PROXY": "http://[::1]:3128/"}, "::1:3128", None),
    ],
)
def test_which_variable_counts(env: dict[str, str], https: str | None, http: str | None):
    assert (chosen(env), chosen(env, "http://api.example.com/v1")) == (https, http)


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("*", "https://api.example.com", True),
        ("api.example.com", "https://api.example.com", True),
        ("API.Example.COM", "https://api.example.com", True),
        ("example.com", "https://api.example.com", True),
        (".example.com", "https://api.example.com", True),
        ("*.example.com", "https://api.example.com", True),
        (".corp", "https://llm.corp", True),
        ("ample.com", "https://api.example.com", False),
        ("api.example.com.evil", "https://api.example.com", False),
        ("other.com, api.example.com", "https://api.example.com", True),
        ("other.com api.example.com", "https://api.example.com", True),
        ("api.example.com:443", "https://api.example.com", True),
        ("api.example.com:8443", "https://api.example.com", False),
        ("8.8.8.8", "https://8.8.8.8", True),
        ("8.8.8.0/24", "https://8.8.8.8", True),
        ("8.8.9.0/24", "https://8.8.8.8", False),
        ("8.8.8.8/24:443", "https://8.8.8.8", True),
        ("2606:4700::/32", "https://[2606:4700::1]", True),
        ("[2606:4700::1]:443", "https://[2606:4700::1]", True),
        ("[2606:4700::1]:80", "https://[2606:4700::1]", False),
        ("", "https://api.example.com", False),
        ("", "http://localhost:8000", True),
        ("", "http://127.0.0.1:8000", True),
        ("", "http://10.1.2.3:8000", True),
        ("", "http://[fd00::1]:8000", True),
    ],
)
def test_no_proxy(no_proxy: str, url: str, direct: bool):
    assert (chosen({"ALL_PROXY": "http://p:1", "NO_PROXY": no_proxy}, url) is None) == direct
    assert chosen({"ALL_PROXY": "http://p:1", "NO_PROXY": "*", "no_proxy": no_proxy}, url) in (None, "p:1")


def test_lower_case_no_proxy_wins():
    assert chosen({"ALL_PROXY": "http://p:1", "NO_PROXY": "*", "no_proxy": ""}) == "p:1"


@pytest.mark.parametrize(
    "url", ["socks5://p:1", "https://p:1", "http://", "http://u:hunter2@/", "http://u:hunter2@p:x"]
)
def test_an_unusable_proxy_matters_only_when_it_is_asked_for(url: str):
    proxies = Proxies.from_env({"HTTPS_PROXY": url})
    assert proxies.for_origin(parse_origin("https://127.0.0.1")) is None
    with pytest.raises(ConfigError, match="HTTPS_PROXY") as caught:
        proxies.for_origin(ORIGIN)
    assert "hunter2" not in str(caught.value)


def test_credentials_are_sent_and_not_shown():
    proxy = Proxies.from_env({"HTTPS_PROXY": "http://us%40er:p%3A%20w@proxy.corp:3128"}).for_origin(ORIGIN)
    assert proxy is not None
    head = connect_request(ORIGIN, proxy)
    assert head.startswith(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"us@er:p: w") + b"\r\n\r\n" in head
    assert "p: w" not in repr(proxy) + str(proxy)


def test_an_ipv6_origin_is_bracketed():
    assert connect_request(parse_origin("https://[2606:4700::1]"), PROXY).startswith(b"CONNECT [2606:4700::1]:443 ")


def test_a_granted_tunnel_is_seen_at_the_last_byte():
    answer = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
    for cut in range(len(answer)):
        assert not tunnel_stands(answer[:cut], ORIGIN, PROXY)
    assert tunnel_stands(answer, ORIGIN, PROXY)


def test_a_tunnel_that_speaks_first_is_refused():
    with pytest.raises(UpstreamProtocolError, match="of its own"):
        tunnel_stands(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK", ORIGIN, PROXY)


def test_an_endless_head_is_refused():
    with pytest.raises(UpstreamProtocolError, match="endless"):
        tunnel_stands(b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_MAX_BYTES, ORIGIN, PROXY)


def test_another_protocol_is_refused():
    with pytest.raises(UpstreamProtocolError, match="HTTP"):
        tunnel_stands(b"SSH-2.0\r\n\r\n", ORIGIN, PROXY)


@pytest.mark.parametrize(("secret", "words"), [("", "wants a user"), ("Basic x", "does not accept")])
def test_407_says_what_the_proxy_wants(secret: str, words: str):
    head = b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: Basic realm=x\r\n\r\n"
    with pytest.raises(UpstreamUnreachable, match=words) as caught:
        tunnel_stands(head, ORIGIN, Proxy("p", 1, Secret(secret)))
    assert "`Negotiate`, `Basic`" in caught.value.message
    assert "HTTPS_PROXY" in caught.value.remedy


def test_another_refusal_names_host_and_status():
    with pytest.raises(
        UpstreamUnreachable, match=r"`proxy.corp:3128` does not lead to `api.example.com` \(status 403\)"
    ):
        tunnel_stands(b"HTTP/1.1 403 Forbidden\r\n\r\n", ORIGIN, PROXY)
