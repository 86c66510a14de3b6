import errno
import socket
from collections.abc import Iterator

import grpc.aio
import pytest

from scaler.core.errors import SettingsError
from scaler.server import ports


@pytest.fixture
def taken() -> Iterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0"])
async def test_a_free_address_is_listened_on(address: str) -> None:
    server = grpc.aio.server()
    assert ports.bind(server, "listen", address) > 0
    await server.stop(None)


async def test_a_port_in_use_is_named_with_its_setting(taken: str) -> None:
    server = grpc.aio.server()
    with pytest.raises(SettingsError, match=rf"^healthListen: cannot listen on {taken}: Address already in use$"):
        ports.bind(server, "healthListen", taken)
    await server.stop(None)


@pytest.mark.parametrize(
    ("address", "why"), [("nowhere.invalid:9090", "Name or service not known"), ("192.0.2.1:9090", "Cannot assign")]
)
def test_a_host_that_is_not_here_is_told(address: str, why: str) -> None:
    with pytest.raises(SettingsError, match=rf"^http: cannot listen on {address}: {why}"):
        ports.check("http", address)


def test_one_of_several_addresses_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    found = [(family, kind, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    ports.check("http", "several:0")


def test_a_port_in_use_on_one_of_several_addresses_is_told(monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    port = int(taken.rpartition(":")[2])
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(SettingsError, match="Address already in use"):
        ports.check("http", f"several:{port}")


def test_without_ipv6_both_families_are_the_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket

    def only_ipv4(family: int = socket.AF_INET, *rest: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return made(family, *rest)

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    monkeypatch.setattr(socket, "socket", only_ipv4)
    ports.check("http", "[::]:0")
    with pytest.raises(SettingsError, match="Address family not supported"):
        ports.check("http", "[::1]:0")
    monkeypatch.undo()
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with ports.both_families(0) as listening:
        assert listening.family == socket.AF_INET
        assert listening.getsockname()[0] == "0.0.0.0"
