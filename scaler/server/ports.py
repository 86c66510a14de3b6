"""Addresses to listen on: checked before grpc gets them, so that a port in use gives one clear message."""

import errno
import socket
from typing import Any

import grpc
import grpc.aio

from scaler.core.errors import SettingsError


def bind(server: grpc.aio.Server, setting: str, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
    """Make `server` listen on the `address` of `setting`, and return its port; raises `SettingsError`."""
    check(setting, address)
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise SettingsError(f"{setting}: cannot listen on {address}") from None


def both_families(port: int) -> socket.socket:
    """Return a listening socket for IPv6 and IPv4, as grpc makes one for `[::]`; asyncio's would be for IPv6 only.

    On a machine without IPv6 it is one for IPv4 only, again as with grpc.
    """
    if socket.has_dualstack_ipv6():
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("0.0.0.0", port))  # noqa: S104 - `[::]` asks for every interface


def check(setting: str, address: str) -> None:
    """Raise `SettingsError` unless `address`, HOST:PORT, can be listened on (at least one, if the host has several)."""
    host, _, port = address.rpartition(":")
    failed: OSError | None = None
    try:
        for family, kind, protocol, _, where in _addresses(host, int(port)):
            try:
                _try(socket.socket(family, kind, protocol), where)
            except OSError as error:
                failed = error
                if error.errno == errno.EADDRINUSE:
                    raise
            else:
                return
        if failed is not None:
            raise failed
    except OSError as error:
        raise SettingsError(f"{setting}: cannot listen on {address}: {error.strerror}") from None


def _addresses(host: str, port: int) -> list[Any]:
    hosts = ("::", "0.0.0.0") if host == "[::]" else (host.strip("[]"),)  # noqa: S104 - see above
    options: dict[str, Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
    return [found for each in hosts for found in socket.getaddrinfo(each, port, **options)]


def _try(probe: socket.socket, where: tuple[object, ...]) -> None:
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(where)
