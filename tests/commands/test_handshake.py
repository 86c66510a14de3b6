"""What is told of a server that cannot be talked to: each mistake with TLS, ports and names on real sockets."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import trustme

from scaler.commands.asking import AskError, server_at
from scaler.commands.handshake import Tls, TlsFileError, _covers, _server_name, advice
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader
from scaler.server.app import Server
from scaler.settings import Settings

NAME = "scaler.keda.svc"


class Files:
    """A CA and what it has signed, and a stranger's CA, as files."""

    def __init__(self, folder: Path) -> None:
        self.ca, self.strange, self.cert, self.key, self.client, self.client_key = (
            folder / name for name in ("ca.crt", "strange.crt", "tls.crt", "tls.key", "client.crt", "client.key")
        )
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        trustme.CA().cert_pem.write_to_path(str(self.strange))
        for name, cert, key in ((NAME, self.cert, self.key), ("keda", self.client, self.client_key)):
            made = authority.issue_cert(name)
            made.private_key_pem.write_to_path(str(key))
            cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


Serve = Callable[..., contextlib.AbstractAsyncContextManager[Server]]


@pytest.fixture
def serving(clock: ManualClock, scripted_source: None, files: Files) -> Serve:
    @contextlib.asynccontextmanager
    async def served(*, tls: bool = True, mutual: bool = False) -> AsyncIterator[Server]:
        section: dict[str, Any] = {"certFile": files.cert, "keyFile": files.key}
        if mutual:
            section["clientCAFile"] = files.ca
        settings = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "health_listen": "127.0.0.1:0"}
        made = Server(
            Settings.model_validate({**settings, "tls": section if tls else None}), clock, [ScriptedReader(clock)]
        )
        await made.start()
        try:
            yield made
        finally:
            await made.close()

    return served


async def ask(address: str, tls: Tls) -> dict[str, Any]:
    async with server_at(address, tls) as asking:
        return await asking("shop", "orders", {"source": "nothing"})


@pytest.mark.parametrize(
    ("serves", "with_tls", "said"),
    [
        ({}, lambda _: Tls(), "the server speaks TLS: give --ca"),
        ({}, lambda files: Tls(files.ca), f"certificate is for {NAME}, not for 127.0.0.1: give --server-name {NAME}"),
        ({}, lambda files: Tls(files.ca, server_name="other"), f"is for {NAME}, not for other"),
        ({}, lambda files: Tls(files.strange, server_name=NAME), "does not follow from --ca"),
        ({"tls": False}, lambda files: Tls(files.ca, server_name=NAME), "the server speaks no TLS there"),
        ({"mutual": True}, lambda files: Tls(files.ca, server_name=NAME), "wants a client certificate (mTLS)"),
    ],
)
async def test_each_mistake_is_named(serving: Serve, files: Files, serves: Any, with_tls: Any, said: str) -> None:
    async with serving(**serves) as server:
        with pytest.raises(AskError) as caught:
            await ask(f"127.0.0.1:{server.port}", with_tls(files))
    assert said in str(caught.value)
    assert "port 9090" not in str(caught.value)


@pytest.mark.parametrize("mutual", [False, True])
async def test_with_the_right_files_and_name_it_answers(serving: Serve, files: Files, *, mutual: bool) -> None:
    tls = Tls(files.ca, files.client, files.client_key, NAME) if mutual else Tls(files.ca, server_name=NAME)
    async with serving(mutual=mutual) as server:
        answer = await ask(f"127.0.0.1:{server.port}", tls)
    assert answer["error"]["code"] == "INVALID_ARGUMENT"


async def test_the_wrong_port_is_told_apart_from_none(serving: Serve) -> None:
    async with serving(tls=False) as server:
        with pytest.raises(AskError, match="speaks HTTP, it may be that of the status page"):
            await ask(f"127.0.0.1:{server.http_port}", Tls())
    with pytest.raises(AskError, match=r"nothing answers there \(Connection refused\)"):
        await ask("127.0.0.1:1", Tls())


async def test_another_grpc_server_is_no_scaler() -> None:
    other = grpc.aio.server()
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    with pytest.raises(AskError, match="a gRPC server, but not of this scaler"):
        await ask(f"127.0.0.1:{port}", Tls())
    await other.stop(None)


@pytest.mark.parametrize("address", ["host", "9090", ":9090", "host:"])
async def test_what_is_no_address(address: str) -> None:
    assert "as HOST:PORT" in await asyncio.to_thread(advice, address, Tls())


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        (Tls(Path("/none")), "/none: No such file"),
        (Tls(cert=Path("/a")), "--cert and --key belong together"),
        (Tls(server_name="x"), "--server-name is the name in a certificate, so it needs --ca"),
    ],
)
async def test_files_are_checked_first(tls: Tls, said: str) -> None:
    with pytest.raises(TlsFileError, match=said):
        await ask("127.0.0.1:1", tls)


@pytest.mark.parametrize(
    ("names", "wanted", "covered"),
    [
        (("a.b.svc",), "A.b.svc", True),
        (("*.b.svc",), "a.b.svc", True),
        (("*.b.svc",), "x.a.b.svc", False),
        ((), "a", False),
    ],
)
def test_names_of_a_certificate(names: tuple[str, ...], wanted: str, *, covered: bool) -> None:
    assert _covers(names, wanted) is covered


def test_a_name_with_a_star_is_not_given_as_server_name() -> None:
    assert _server_name(("*.shop.svc", "scaler.shop.svc")) == ": give --server-name scaler.shop.svc"
    assert _server_name(("*.shop.svc",)) == ": give --server-name NAME, one that this covers"
    assert _server_name(()) == ""
