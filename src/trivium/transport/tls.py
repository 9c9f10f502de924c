"""What Trivium trusts when it speaks TLS, and what it says when it cannot."""

from __future__ import annotations

import functools
import os
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trivium.errors import ConfigError, UpstreamTLSError

_ISSUER_MAX_CHARS = 200
_EXPLAINED = {  # <openssl/x509_vfy.h>
    9: ("its certificate is not valid yet", "Check the clock of this machine."),
    10: ("its certificate has expired", "Check the clock of this machine; else its operator must renew it."),
    62: ("its certificate is for another host", "Check the host in `base_url`."),
    64: ("its certificate is for another address", "Check the host in `base_url`."),
}
_UNKNOWN_ISSUER = {
    2: "the issuer of its certificate is not known",
    18: "its certificate is self-signed",
    19: "the issuer of its certificate is not trusted",
    20: "the issuer of its certificate is not known",
    21: "the issuer of its certificate is not known",
}
_UNKNOWN_ISSUER_REMEDY = (
    "If this issuer is right (a company's proxy, a private server), set `SSL_CERT_FILE` to a PEM file with its "
    "CA certificate; it replaces the system's store."
)


def bundles_from_env(env: Mapping[str, str]) -> tuple[Path, ...]:
    """The CA files and directories that the environment names, which then replace the system's store.

    OpenSSL's own variables win (`SSL_CERT_FILE`, `SSL_CERT_DIR`, both together), then `REQUESTS_CA_BUNDLE`, then
    `CURL_CA_BUNDLE`; the latter two name a file or a directory.
    """
    file, directories = env.get("SSL_CERT_FILE"), env.get("SSL_CERT_DIR")
    own = [*([file] if file else []), *(directories.split(os.pathsep) if directories else [])]
    other = env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE")
    return tuple(Path(name) for name in own or ([other] if other else []) if name)


_loading = threading.Lock()


def context(bundles: tuple[Path, ...] = ()) -> ssl.SSLContext:
    """The context for upstream connections: verified, TLS 1.2 or later, HTTP/1.1.

    It trusts `bundles` (PEM files or OpenSSL directories) or, without any, the system's store and certifi's
    together. The first call reads files for about 0.1 s, so it belongs in a thread; later ones are free. Raises
    ConfigError for a bundle that cannot be read.
    """
    with _loading:
        return _context(bundles)


@functools.cache
def _context(bundles: tuple[Path, ...]) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    made.sslobject_class = _Object  # pyright: ignore[reportAttributeAccessIssue]  # documented, not in the stubs
    made.sslsocket_class = _Socket
    for bundle in bundles:
        _load(made, bundle)
    if not bundles:
        import certifi

        made.load_default_certs()
        made.load_verify_locations(certifi.where())
    return made


def _load(made: ssl.SSLContext, bundle: Path) -> None:
    try:
        if bundle.is_dir():
            made.load_verify_locations(capath=bundle)
        else:
            made.load_verify_locations(cafile=bundle)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(
            f"The CA bundle `{bundle}` cannot be read: {error.strerror or error}.",
            remedy="Look at `SSL_CERT_FILE`, `SSL_CERT_DIR`, `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE`.",
        ) from error


class _Object(ssl.SSLObject):
    """Notes on a failed verification whose certificate it was, as long as it is at hand."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            _note_issuer(error, self)
            raise


class _Socket(ssl.SSLSocket):
    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except ssl.SSLCertVerificationError as error:
            _note_issuer(error, self)
            raise


def _note_issuer(error: ssl.SSLCertVerificationError, connection: Any) -> None:
    # The chain is public from Python 3.13 on, and then as bytes; the inner object has had it decoded since 3.10.
    # Where it is missing, the message does without the issuer.
    try:
        chain = connection._sslobj.get_unverified_chain() or ()
    except (AttributeError, ValueError):
        return
    if chain:
        certificate = chain[-1] if error.verify_code in _UNKNOWN_ISSUER else chain[0]
        error.issuer = _name(certificate.get_info()["issuer"])  # pyright: ignore[reportAttributeAccessIssue]


def _name(issuer: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    parts = dict(pair for group in issuer for pair in group)
    name = ", ".join(parts[key] for key in ("commonName", "organizationalUnitName", "organizationName") if key in parts)
    return "".join(c if c.isprintable() else "?" for c in name)[:_ISSUER_MAX_CHARS]


def explain(error: ssl.SSLError, host: str) -> UpstreamTLSError:
    """Say what is wrong with the TLS of `host`, who issued the certificate, and what to do about it."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        said = (error.reason or str(error)).replace("_", " ").lower()
        return UpstreamTLSError(
            f"TLS with `{host}` failed: {said}.", remedy="Check scheme and port of `base_url`: does it speak TLS?"
        )
    why, remedy = _EXPLAINED.get(error.verify_code, (error.verify_message, ""))
    if error.verify_code in _UNKNOWN_ISSUER:
        why, remedy = _UNKNOWN_ISSUER[error.verify_code], _UNKNOWN_ISSUER_REMEDY
    issuer: str = getattr(error, "issuer", "")
    by = f" (issued by `{issuer}`)" if issuer else ""
    return UpstreamTLSError(f"TLS with `{host}` failed: {why}{by}.", remedy=remedy)
