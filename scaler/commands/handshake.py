"""Finds out by a handshake why gRPC cannot connect to a server, as gRPC itself only says that it failed."""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaler.core.errors import ScalerError

LOOK_SECONDS = 3.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
"""The preface of an HTTP/2 client with empty settings (RFC 9113, 3.4); a gRPC server answers with its settings."""


class TlsFileError(ScalerError):
    """A file of --ca, --cert or --key cannot be used."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Tls:
    """The TLS options of a command; without CA and client certificate TLS is not used."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    @property
    def used(self) -> bool:
        """Whether TLS is used."""
        return self.ca is not None or self.cert is not None

    def read(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return CA, key and certificate in PEM for gRPC; raises `TlsFileError`."""
        if (self.cert is None) != (self.key is None):
            raise TlsFileError("--cert and --key belong together: give both, or none")
        if self.server_name is not None and not self.used:
            raise TlsFileError("--server-name is the name in a certificate, so it needs --ca as well")
        try:
            ca, key, cert = (path.read_bytes() if path else None for path in (self.ca, self.key, self.cert))
        except OSError as error:
            raise TlsFileError(f"{error.filename}: {error.strerror}") from None
        return ca, key, cert


NO_TLS = Tls()


def advice(address: str, tls: Tls) -> str:
    """Return what to change to connect to `address` (HOST:PORT); takes at most a few seconds."""
    host, _, port = address.rpartition(":")
    place = (host.removeprefix("dns:///").strip("[]"), int(port)) if port.isdigit() else None
    if place is None or not place[0]:
        return "give the gRPC address of the scaler as HOST:PORT, port 9090 by default"
    try:
        speaks_tls = _speaks_tls(place)
        if speaks_tls:
            return _of_tls(place, tls)
        greeting = _greeting(place)
    except OSError as error:
        return f"nothing answers there ({error.strerror or error}); is that the scaler's gRPC port, 9090 by default?"
    if greeting.startswith(b"HTTP/1."):
        return "that port speaks HTTP, it may be that of the status page; give the gRPC address, port 9090 by default"
    if tls.used:
        return "the server speaks no TLS there: leave --ca, --cert and --key away"
    return "give the gRPC address of the scaler, port 9090 by default"


def _greeting(place: tuple[str, int]) -> bytes:
    with socket.create_connection(place, LOOK_SECONDS) as plain:
        plain.sendall(PREFACE)
        return plain.recv(64)


def _speaks_tls(place: tuple[str, int]) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # No data is sent; the certificate is only inspected.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(place, LOOK_SECONDS) as plain:
        try:
            with context.wrap_socket(plain):
                return True
        except (ssl.SSLError, TimeoutError, ConnectionError):
            return False


def _of_tls(place: tuple[str, int], tls: Tls) -> str:
    if not tls.used:
        return (
            "the server speaks TLS: give --ca (the chart keeps it as ca.crt in its TLS Secret), with client certificates "
            "also --cert and --key, and --server-name where the certificate has another name"
        )
    context = ssl.create_default_context(cafile=tls.ca)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    try:
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
        with socket.create_connection(place, LOOK_SECONDS) as plain, context.wrap_socket(plain) as secure:
            names = _names(secure)
            wanted = tls.server_name or place[0]
            if not _covers(names, wanted):
                known = ", ".join(names) or "nobody"
                return f"the server's certificate is for {known}, not for {wanted}{_server_name(names)}"
            secure.sendall(PREFACE)
            if secure.recv(64):
                return "the server speaks TLS and gRPC there, but refuses the call; its log says why"
    except ssl.SSLCertVerificationError as error:
        return f"the server's certificate does not follow from --ca {tls.ca}: {error.verify_message}"
    except (ssl.SSLError, ConnectionError, TimeoutError):
        pass
    if tls.cert is None:
        return "the server wants a client certificate (mTLS): give --cert and --key, which its client CA has signed"
    return "the server refuses the client certificate: its client CA has to have signed --cert"


def _names(secure: ssl.SSLSocket) -> tuple[str, ...]:
    names: Any = (secure.getpeercert() or {}).get("subjectAltName", ())
    return tuple(str(name) for _, name in names)


def _server_name(names: tuple[str, ...]) -> str:
    """Return the advice for a certificate with `names`; one with `*` is a pattern, and not the name of a server."""
    plain = next((name for name in names if "*" not in name), "NAME, one that this covers")
    return f": give --server-name {plain}" if names else ""


def _covers(names: tuple[str, ...], wanted: str) -> bool:
    """Tell whether a certificate with `names` is for `wanted`; `*` matches one label."""
    wanted = wanted.casefold()
    parent = wanted.partition(".")[2]
    return any(name.casefold() in {wanted, f"*.{parent}"} for name in names)
