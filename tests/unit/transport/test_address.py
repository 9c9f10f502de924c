"""Base URLs are read strictly, and no spelling of a forbidden address gets through."""

# ruff: noqa: SIM905  # a corpus reads best as words

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.errors import ConfigError
from trivium.transport.address import is_local, refused, refused_name
from trivium.types.origin import Origin, parse_origin

LOOPBACK_SPELLINGS = """
http://127.0.0.1/ http://127.1/ http://127.0.1/ http://0177.0.0.1/ http://0177.0.0.01/ http://017700000001/
http://0x7f.0.0.1/ http://0x7f.0x0.0x0.0x1/ http://0x7f000001/ http://0X7F000001/ http://2130706433/ http://0/ http://0.0.0.0/
http://127.0.0.1./ http://127.0.0.1.:80/ http://00000127.0.0.1/ http://127.0.0.1.:8000/v1 http://127.000.000.001/
http://127.0.0.256/ http://127.0.0.1.1/ http://1.1/ http://0x/ http://0x.0x.0x/ http://256/ http://4294967297/
http://[::1]/ http://[::]/ http://[0:0:0:0:0:0:0:1]/ http://[::127.0.0.1]/ http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/ http://[0:0:0:0:0:ffff:7f00:0001]/ http://[::ffff:0:127.0.0.1]/ http://[64:ff9b::7f00:1]/
http://[64:ff9b::127.0.0.1]/ http://[64:ff9b:1::7f00:1]/ http://[2002:7f00:1::]/ http://[2002:7f00:0001::1]/
http://[2001:0:7f00:1::]/ http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/ http://[fe80::1]/ http://[fe80::1%25eth0]/
http://[::1%25lo]/ http://[::1%lo]/ http://[::1/ http://::1/ http://[::1]]/ http://[[::1]]/ http://[127.0.0.1]/
http://localhost/ http://LOCALHOST/ http://localhost./ http://a.localhost/ http://printer.local/ http://nas.lan/
http://metadata/ http://db.internal/ http://intranet/ http://x.home.arpa/
https://localhost/ https://intranet/ https://a.localhost/ https://db.internal/ https://127.0.0.1/ https://[::1]/
""".split()

PRIVATE_AND_METADATA = """
https://10.0.0.1/ https://172.16.0.1/ https://172.31.255.255/ https://192.168.1.1/ https://100.64.0.1/
https://100.127.255.254/ https://169.254.1.1/ https://169.254.169.254/latest/meta-data/ https://169.254.170.2/
https://100.100.100.200/ https://168.63.129.16/ https://192.0.0.192/ https://192.0.0.8/ https://192.88.99.1/
https://192.0.2.1/ https://198.51.100.7/ https://203.0.113.9/ https://198.18.0.1/ https://224.0.0.1/ https://239.1.2.3/
https://240.0.0.1/ https://255.255.255.255/ https://0.1.2.3/ https://2852039166/ https://0xa9fea9fe/
https://0251.0376.0251.0376/ https://0xa9.0xfe.0xa9.0xfe/ https://169.254.43518/ https://169.16689662/
https://[::ffff:169.254.169.254]/ https://[::ffff:a9fe:a9fe]/ https://[64:ff9b::a9fe:a9fe]/ https://[2002:a9fe:a9fe::]/
https://[64:ff9b:1:a9fe:a9:fe00::]/ https://[::a9fe:a9fe]/ https://[fd00:ec2::254]/ https://[fd20:ce::254]/
https://[fe80::a9fe:a9fe]/ https://[fe80::5efe:a9fe:a9fe]/ https://[2001:0:a9fe:a9fe::]/ https://[::ffff:10.0.0.1]/
https://[64:ff9b::10.0.0.1]/ https://[2002:a00:1::]/ https://[2002:c0a8:101::1]/ https://[fec0::1]/ https://[fc00::1]/
https://[fd12:3456::1]/ https://[ff02::1]/ https://[2001:db8::1]/ https://[3fff::1]/ https://[100::1]/ https://[4000::1]/
https://[::ffff:100.64.0.1]/ https://[64:ff9b::6440:1]/ https://metadata.google.internal/
""".split()

AMBIGUOUS = [
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com:443@127.0.0.1/",
    "https://example.com%40127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\@127.0.0.1/",
    "https:\\\\example.com/",
    "https:/example.com/",
    "https:example.com",
    "//example.com/",
    "example.com",
    "https://",
    "https:///path",
    "https://example.com?x=1",
    "https://example.com/?x=1",
    "https://example.com/#f",
    "https://example.com#@127.0.0.1/",
    "https://example.com/v1?",
    "https://exa mple.com/",
    " https://example.com/",
    "https://example.com/ ",
    "https://example.com/\n",
    "https://example.com\r\nHost: evil/",
    "https://exam\tple.com/",
    "https://example.com\x00.evil/",
    "https://example.com/\x7f",
    "https://１２７.0.0.1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://127。0。0。1/",
    "https://ｌｏｃａｌｈｏｓｔ/",
    "https://bücher.example/",
    "https://example.com\u200b/",
    "https://exam\u00adple.com/",
    "https://xn--.example-/",
    "https://%6c%6f%63alhost/",
    "https://example..com/",
    "https://.example.com/",
    "https://example.com./",
    "https://-example.com/",
    "https://example-.com/",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:/",
    "https://example.com:+80/",
    "https://example.com:٨٠/",
    "https://example.com:80:80/",
    "https://example.com/a/../b",
    "https://example.com/./v1",
    "https://example.com/%2e%2e/v1",
    "https://example.com/a%2fb",
    "https://example.com//evil",
    "https://1.2.3.4.5/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "unix:///run/x.sock",
    "gopher://127.0.0.1:6379/_",
    "javascript:alert(1)",
    "",
]


def refusal(url: str, *, trusted: bool) -> str | None:
    """What stops a connection to `url`, whose name (if it is one) resolves to a good address."""
    try:
        origin = parse_origin(url)
    except ConfigError as error:
        return str(error)
    return refused_name(origin, trusted_origin=trusted, offline=False)


def test_the_corpus_is_as_large_as_it_says():
    assert len({*LOOPBACK_SPELLINGS, *PRIVATE_AND_METADATA, *AMBIGUOUS}) >= 120


@pytest.mark.parametrize("url", [*LOOPBACK_SPELLINGS, *PRIVATE_AND_METADATA, *AMBIGUOUS])
def test_untrusted_url_is_refused(url: str):
    assert refusal(url, trusted=False)


@pytest.mark.parametrize("url", AMBIGUOUS)
def test_ambiguous_url_is_refused_even_in_a_trusted_file(url: str):
    with pytest.raises(ConfigError, match="base_url"):
        parse_origin(url)


@pytest.mark.parametrize(
    "address",
    """169.254.169.254 169.254.170.2 169.254.170.23 100.100.100.200 168.63.129.16 192.0.0.192 ::ffff:169.254.169.254
    ::ffff:a9fe:a9fe 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 ::a9fe:a9fe ::ffff:0:a9fe:a9fe fd00:ec2::254 fd00:ec2::23
    fe80::a9fe:a9fe fe80::a9fe:a9fe%eth0 fe80::5efe:a9fe:a9fe 64:ff9b:1::a9fe:a9fe 64:ff9b:1:a9fe:a9:fe00::
    2001:0:a9fe:a9fe:: 2001:0:1:1:0:0:5601:5601 ::ffff:100.100.100.200 64:ff9b::6464:64c8""".split(),
)
def test_metadata_is_closed_to_the_operator_too(address: str):
    assert "metadata" in (refused(address, trusted_origin=True, offline=False) or "")


@pytest.mark.parametrize("name", ["metadata.goog", "instance-data.ec2.internal", "metadata.tencentyun.com"])
def test_metadata_is_closed_by_name_too(name: str):
    origin = parse_origin(f"https://{name}/v1")
    assert "metadata" in (refused_name(origin, trusted_origin=True, offline=False) or "")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.5", "192.168.1.7", "100.64.0.9", "fd12::1", "fe80::1%eth0", "0.0.0.0"]
)
def test_private_addresses_need_a_trusted_origin(address: str):
    assert refused(address, trusted_origin=True, offline=False) is None
    assert "public" in (refused(address, trusted_origin=False, offline=False) or "")


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_public_addresses_are_open_unless_offline(address: str):
    assert refused(address, trusted_origin=False, offline=False) is None
    assert "offline" in (refused(address, trusted_origin=True, offline=True) or "")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"])
def test_offline_leaves_loopback(address: str):
    assert refused(address, trusted_origin=True, offline=True) is None


@pytest.mark.parametrize("address", ["224.0.0.1", "ff02::1", "255.255.255.255", "nonsense", ""])
def test_not_one_machine(address: str):
    assert refused(address, trusted_origin=True, offline=False)


def test_offline_looks_up_no_name():
    lab = parse_origin("http://lab.example:8000/v1")
    assert "looking up" in (refused_name(lab, trusted_origin=True, offline=True) or "")
    assert refused_name(parse_origin("http://localhost:8000"), trusted_origin=True, offline=True) is None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_dress(ip: ipaddress.IPv4Address):
    number = int(ip)
    dresses = (f"::ffff:{ip}", f"64:ff9b::{ip}", str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80))))
    bare = refused(str(ip), trusted_origin=False, offline=False)
    for dress in dresses:
        assert (refused(dress, trusted_origin=False, offline=False) is None) == (bare is None), dress


@given(st.ip_addresses())
def test_what_is_open_to_all_is_global(ip: ipaddress.IPv4Address | ipaddress.IPv6Address):
    if refused(str(ip), trusted_origin=False, offline=False) is None:
        assert not (ip.is_private or ip.is_multicast or ip.is_loopback or ip.is_link_local) or ip.version == 6
        assert refused(str(ip), trusted_origin=True, offline=False) is None


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://api.example.com/v1", Origin("https", "api.example.com", 443, "/v1"), "api.example.com"),
        ("HTTPS://API.Example.COM:443/v1/", Origin("https", "api.example.com", 443, "/v1"), "api.example.com"),
        ("http://10.0.0.5:8000", Origin("http", "10.0.0.5", 8000, ""), "10.0.0.5:8000"),
        ("http://[::1]:11434/", Origin("http", "::1", 11434, ""), "[::1]:11434"),
        ("http://[0:0:0:0:0:0:0:1]/v1", Origin("http", "::1", 80, "/v1"), "[::1]"),
        ("http://my_service:80/a.b/c", Origin("http", "my_service", 80, "/a.b/c"), "my_service"),
        ("https://xn--bcher-kva.example", Origin("https", "xn--bcher-kva.example", 443, ""), "xn--bcher-kva.example"),
    ],
)
def test_a_plain_base_url_is_read(url: str, origin: Origin, authority: str):
    assert parse_origin(url) == origin
    assert origin.authority == authority
    assert parse_origin(str(origin)) == origin


def test_a_refused_url_does_not_show_its_password():
    with pytest.raises(ConfigError) as caught:
        parse_origin("https://user:hunter2@example.com/")
    assert "hunter2" not in str(caught.value)


def test_http_needs_a_trusted_origin():
    origin = parse_origin("http://api.example.com")
    assert "encrypted" in (refused_name(origin, trusted_origin=False, offline=False) or "")
    assert refused_name(origin, trusted_origin=True, offline=False) is None


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "10.1.2.3", "::1", "fd00::1", "169.254.1.1"])
def test_local_hosts(host: str):
    assert is_local(host)


@pytest.mark.parametrize("host", ["example.com", "localhost.example.com", "8.8.8.8", "2606:4700::1"])
def test_remote_hosts(host: str):
    assert not is_local(host)
