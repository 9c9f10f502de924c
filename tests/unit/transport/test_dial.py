"""Dialling over real sockets: what connects, what is refused, what an error says, and that nothing stays open."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import trustme

from transport_help import Connects, Serve, black_hole, echo, open_sockets, over_tls, silence
from trivium.errors import UpstreamProtocolError, UpstreamTimeout, UpstreamTLSError, UpstreamUnreachable
from trivium.transport import platform, tls
from trivium.transport.dial import dial
from trivium.transport.proxy import Proxies
from trivium.transport.resolve import Resolver
from trivium.types.origin import Origin

NAME = "api.example.com"
LOOPS = list(dict.fromkeys((asyncio.new_event_loop, platform.new_event_loop)))
Factory = Callable[[], asyncio.AbstractEventLoop]
Context = Callable[[], ssl.SSLContext]


@pytest.fixture(params=LOOPS, ids=lambda factory: factory.__module__.rpartition(".")[2])
def loop_factory(request: pytest.FixtureRequest) -> Factory:
    return request.param


class Talk(asyncio.Protocol):
    """Says one word and waits for the answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(None)


def names(**known: Sequence[str]) -> Resolver:
    """A resolver that knows these names (`_` for `.`) and no others."""

    def lookup(host: str) -> list[str]:
        if found := known.get(host.replace(".", "_")):
            return list(found)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    return Resolver(lookup)


def converse(loop_factory: Factory, origin: Origin, **options: Any) -> bytes:
    """Dial, say `hello`, close, and give back the answer; no socket of the way may be open afterwards."""

    async def main() -> bytes:
        transport, protocol = await dial(origin, Talk, **options)
        sock: socket.socket = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        transport.write(b"hello")
        answer = await asyncio.wait_for(protocol.answer, 10)
        transport.close()
        await asyncio.wait_for(protocol.lost, 10)
        return answer

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


def options(context: Context = ssl.create_default_context, **changed: Any) -> dict[str, Any]:
    here = {"127_0_0_1": ["127.0.0.1"], NAME.replace(".", "_"): ["127.0.0.1"]}
    default = {"proxies": None, "tls": context, "trusted_origin": True, "offline": False, "resolver": names(**here)}
    return {**default, **changed}


def test_plain(loop_factory: Factory, serve: Serve):
    for host in (NAME, "127.0.0.1", "localhost"):
        assert converse(loop_factory, Origin("http", host, serve(echo).port), **options()) == b"HELLO"


def test_tls(loop_factory: Factory, serve: Serve, ca: trustme.CA, context: Context):
    server = serve(over_tls(echo, ca.issue_cert(NAME)))
    assert converse(loop_factory, Origin("https", NAME, server.port), **options(context)) == b"HELLO"


def test_tls_to_an_address(loop_factory: Factory, serve: Serve, ca: trustme.CA, context: Context):
    server = serve(over_tls(echo, ca.issue_cert("127.0.0.1")))
    assert converse(loop_factory, Origin("https", "127.0.0.1", server.port), **options(context)) == b"HELLO"


LONG_AGO = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("issue", "words"),
    [
        (lambda ca: ca.issue_cert(NAME, not_after=LONG_AGO), "has expired"),
        (lambda ca: ca.issue_cert("other.example.com"), "for another host"),
        (lambda _: trustme.CA(organization_name="Nobody").issue_cert(NAME), "not known"),
    ],
    ids=["expired", "wrong host", "unknown issuer"],
)
def test_a_wrong_certificate(
    loop_factory: Factory,
    serve: Serve,
    ca: trustme.CA,
    context: Context,
    issue: Callable[[trustme.CA], trustme.LeafCert],
    words: str,
):
    heard: list[bytes] = []

    def listen(sock: socket.socket) -> None:
        heard.append(sock.recv(1, socket.MSG_PEEK))
        over_tls(lambda inner: heard.append(inner.recv(100)), issue(ca))(sock)

    server, before = serve(listen), open_sockets()
    with pytest.raises(UpstreamTLSError, match=rf"{NAME}.*{words} \(issued by `Testing CA") as caught:
        converse(loop_factory, Origin("https", NAME, server.port), **options(context))
    assert caught.value.remedy
    assert heard == [b"\x16"]  # a handshake record, and no byte in the open or under a wrong certificate
    server.close()
    assert open_sockets() <= before


def test_a_stalled_handshake(loop_factory: Factory, serve: Serve, context: Context):
    server, before = serve(silence), open_sockets()
    with pytest.raises(UpstreamTLSError, match=r"handshake timed out after 0\.1 s"):
        converse(loop_factory, Origin("https", NAME, server.port), **options(context, tls_timeout_s=0.1))
    server.close()
    assert open_sockets() <= before


def test_a_server_that_hangs_up_in_the_handshake(loop_factory: Factory, serve: Serve, context: Context):
    server = serve(lambda sock: sock.recv(1) and None)
    with pytest.raises(UpstreamUnreachable, match="closed the connection in the TLS handshake"):
        converse(loop_factory, Origin("https", NAME, server.port), **options(context))


def test_a_broken_bundle_closes_the_road(loop_factory: Factory, tmp_path: Path):
    broken = functools.partial(tls.context, (tmp_path / "none.pem",))
    with pytest.raises(UpstreamUnreachable, match=r"none\.pem"):
        converse(loop_factory, Origin("https", NAME, 443), **options(broken))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def test_refused(loop_factory: Factory):
    port, before = free_port(), open_sockets()
    with pytest.raises(UpstreamUnreachable, match=f"`{NAME}` port {port}: Connection refused"):
        converse(loop_factory, Origin("http", NAME, port), **options())
    assert open_sockets() <= before


def test_no_answer(loop_factory: Factory):
    with black_hole("127.0.0.1") as port:
        before = open_sockets()
        with pytest.raises(UpstreamTimeout, match=rf"`{NAME}`: connect timed out after 0\.2 s"):
            converse(loop_factory, Origin("http", NAME, port), **options(connect_timeout_s=0.2))
        assert open_sockets() <= before


def test_no_such_name(loop_factory: Factory):
    with pytest.raises(UpstreamUnreachable, match=r"`none.example.com` has no address: Name or service not known"):
        converse(loop_factory, Origin("http", "none.example.com", 80), **options())


def test_a_black_hole_in_ipv6_costs_a_moment(loop_factory: Factory):
    with black_hole("::1") as port, socket.create_server(("127.0.0.1", port)) as listener:

        def talk() -> None:
            with listener.accept()[0] as sock:
                echo(sock)

        thread = threading.Thread(target=talk)
        thread.start()
        before = open_sockets()
        found = names(api_example_com=["::1", "127.0.0.1"])
        assert converse(loop_factory, Origin("http", NAME, port), **options(resolver=found)) == b"HELLO"
        thread.join(10)
        assert open_sockets() <= before


def test_the_next_address_follows_a_refusal_at_once(
    loop_factory: Factory, serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("trivium.transport.dial._STAGGER_S", 60.0)
    found = names(api_example_com=["127.0.0.2", "::1", "127.0.0.1"])
    assert converse(loop_factory, Origin("http", NAME, serve(echo).port), **options(resolver=found)) == b"HELLO"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_cancelled_at_every_stage_nothing_stays_open(
    loop_factory: Factory, serve: Serve, context: Context, scheme: str
):
    server = serve(silence)
    proxies = Proxies.from_env({"ALL_PROXY": f"http://127.0.0.1:{server.port}"})
    found = names(api_example_com=["::1", "127.0.0.1"])

    async def give_up(after: int, port: int, proxies: Proxies | None) -> None:
        some = options(context, resolver=found, proxies=proxies)
        task = asyncio.ensure_future(dial(Origin(scheme, NAME, port), Talk, **some))
        for _ in range(after):
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()[0].abort()
        await asyncio.sleep(0.01)

    async def main() -> None:
        before = open_sockets()
        for after in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            await give_up(after, server.port, None)
            await give_up(after, hole, None)
            await give_up(after, server.port, proxies)
        server.close()
        assert open_sockets() <= before

    with black_hole("::1") as hole, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


def test_losers_of_the_race_are_closed_at_once(loop_factory: Factory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("trivium.transport.dial._STAGGER_S", 0.01)
    found = names(api_example_com=["::1", "127.0.0.1"])

    async def main(port: int) -> None:
        before = open_sockets()
        transport, protocol = await dial(Origin("http", NAME, port), Talk, **options(resolver=found))
        transport.abort()
        await protocol.lost
        await asyncio.sleep(0.01)
        assert open_sockets() <= before

    with (
        black_hole("::1") as port,
        socket.create_server(("127.0.0.1", port)),
        asyncio.Runner(loop_factory=loop_factory) as runner,
    ):
        runner.run(main(port))


def test_a_protocol_that_fails_to_start_leaves_no_socket(loop_factory: Factory, serve: Serve):
    def broken() -> Talk:
        raise RuntimeError("no protocol today")

    async def main() -> None:
        before = open_sockets()
        with pytest.raises(RuntimeError, match="today"):
            await dial(Origin("http", NAME, server.port), broken, **options())
        server.close()
        assert open_sockets() <= before

    server = serve(silence)
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())


# Who may be contacted


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("127.0.0.1", False), ("10.0.0.1", False), ("169.254.169.254", True), ("::ffff:169.254.169.254", True)],
)
def test_a_name_with_a_forbidden_address(
    loop_factory: Factory, address: str, trusted: bool, context: Context, connects: Connects
):
    found = names(api_example_com=[address])
    with pytest.raises(UpstreamUnreachable, match=f"{address}.*is not contacted"):
        converse(loop_factory, Origin("https", NAME, 9), **options(context, resolver=found, trusted_origin=trusted))
    assert connects == []


def test_only_the_allowed_addresses_of_a_name_are_tried(
    loop_factory: Factory, serve: Serve, connects: Connects, monkeypatch: pytest.MonkeyPatch
):
    found = names(api_example_com=["169.254.169.254", "127.0.0.1", "100.100.100.200"])
    assert converse(loop_factory, Origin("http", NAME, serve(echo).port), **options(resolver=found)) == b"HELLO"
    assert "169.254" not in str(connects)
    assert "100.100" not in str(connects)


def test_an_answer_that_changes_is_judged_anew(loop_factory: Factory, serve: Serve, context: Context):
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    now = 0.0
    resolver = Resolver(lambda _: next(answers), lambda: now)
    origin = Origin("http", NAME, serve(echo).port)
    assert converse(loop_factory, origin, **options(resolver=resolver)) == b"HELLO"
    now = 61.0
    with pytest.raises(UpstreamUnreachable, match="metadata"):
        converse(loop_factory, origin, **options(resolver=resolver))


def test_unencrypted_needs_trust(loop_factory: Factory, connects: Connects):
    with pytest.raises(UpstreamUnreachable, match="not encrypted") as caught:
        converse(loop_factory, Origin("http", NAME, 80), **options(trusted_origin=False))
    assert "trivium.toml" in caught.value.remedy
    assert connects == []


def test_offline_opens_no_socket(loop_factory: Factory, connects: Connects):
    def never(host: str) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    proxies = Proxies.from_env({"ALL_PROXY": "http://127.0.0.1:9"})
    for host in (NAME, "8.8.8.8", "10.0.0.1", "2606:4700::1", "lab"):
        with pytest.raises(UpstreamUnreachable, match="offline"):
            converse(
                loop_factory,
                Origin("http", host, 9),
                **options(offline=True, resolver=Resolver(never), proxies=proxies),
            )
    assert connects == []


def test_offline_leaves_this_machine(loop_factory: Factory, serve: Serve):
    for host in ("127.0.0.1", "localhost"):
        assert converse(loop_factory, Origin("http", host, serve(echo).port), **options(offline=True)) == b"HELLO"


# Proxies


def via(proxy: str) -> Proxies:
    return Proxies.from_env({"HTTPS_PROXY": f"http://{proxy}", "NO_PROXY": "direct.example.com"})


def test_through_a_real_proxy_to_tls_under_a_private_ca(
    loop_factory: Factory,
    serve: Serve,
    ca: trustme.CA,
    context: Context,
    real_proxy: str,
    connects: Connects,
):
    server = serve(over_tls(echo, ca.issue_cert(NAME)))
    through = options(context, proxies=via(real_proxy), resolver=names(), trusted_origin=False)
    assert converse(loop_factory, Origin("https", NAME, server.port), **through) == b"HELLO"
    assert f"('127.0.0.1', {real_proxy.rpartition(':')[2]})" in str(connects)
    assert f"('127.0.0.1', {server.port})" not in str(connects)


def test_no_proxy_goes_around_it(
    loop_factory: Factory, serve: Serve, ca: trustme.CA, context: Context, connects: Connects
):
    server = serve(over_tls(echo, ca.issue_cert("direct.example.com")))
    around = options(context, proxies=via("127.0.0.1:9"), resolver=names(direct_example_com=["127.0.0.1"]))
    assert converse(loop_factory, Origin("https", "direct.example.com", server.port), **around) == b"HELLO"


@pytest.mark.parametrize("credentials", ["", "user:wrong@"])
def test_a_real_proxy_wants_credentials(
    loop_factory: Factory, serve: Serve, context: Context, real_proxy: str, credentials: str
):
    server = serve(echo)
    proxies = via(credentials + real_proxy.rpartition("@")[2])
    with pytest.raises(UpstreamUnreachable, match="407") as caught:
        converse(loop_factory, Origin("https", NAME, server.port), **options(context, proxies=proxies))
    assert "HTTPS_PROXY" in caught.value.remedy
    assert server.accepted == 0


def test_a_certificate_behind_a_proxy_is_verified(
    loop_factory: Factory, serve: Serve, ca: trustme.CA, context: Context, real_proxy: str
):
    server = serve(over_tls(echo, ca.issue_cert("other.example.com")))
    with pytest.raises(UpstreamTLSError, match="another host"):
        converse(loop_factory, Origin("https", NAME, server.port), **options(context, proxies=via(real_proxy)))


@pytest.mark.parametrize("host", ["localhost.localdomain", "metadata.google.internal", "intranet"])
def test_behind_a_proxy_the_name_is_judged(loop_factory: Factory, context: Context, host: str, connects: Connects):
    with pytest.raises(UpstreamUnreachable, match="not contacted"):
        converse(
            loop_factory,
            Origin("https", host, 443),
            **options(context, proxies=via("127.0.0.1:9"), trusted_origin=False),
        )
    assert connects == []


@pytest.mark.parametrize(
    ("talk", "error", "words"),
    [
        (silence, UpstreamTimeout, "by the proxy `127.0.0.1:[0-9]+`: connect timed out"),
        (lambda sock: sock.recv(4096) and None, UpstreamUnreachable, "closed the connection"),
        (lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nsurprise"), UpstreamProtocolError, "of its own"),
        (lambda sock: sock.sendall(b"x" * 100_000), UpstreamProtocolError, "endless"),
    ],
    ids=["silent", "closed", "speaks first", "endless"],
)
def test_a_bad_proxy(
    loop_factory: Factory,
    serve: Serve,
    context: Context,
    talk: Callable[[socket.socket], None],
    error: type[Exception],
    words: str,
):
    def after_reading(sock: socket.socket) -> None:
        sock.recv(4096, socket.MSG_PEEK)
        talk(sock)

    server, before = serve(after_reading), open_sockets()
    proxies = via(f"127.0.0.1:{server.port}")
    with pytest.raises(error, match=words):
        converse(loop_factory, Origin("https", NAME, 443), **options(context, proxies=proxies, connect_timeout_s=0.5))
    server.close()
    assert open_sockets() <= before


def test_an_unusable_proxy_closes_the_road(loop_factory: Factory, context: Context):
    proxies = Proxies.from_env({"HTTPS_PROXY": "socks5://user:hunter2@127.0.0.1:9"})
    with pytest.raises(UpstreamUnreachable, match="HTTPS_PROXY") as caught:
        converse(loop_factory, Origin("https", NAME, 443), **options(context, proxies=proxies))
    assert "hunter2" not in str(caught.value)
