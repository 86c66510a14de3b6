import asyncio
import ssl
import warnings
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from scaler.core.errors import SettingsError
from scaler.demo.clock import ManualClock
from scaler.demo.scripted import ScriptedReader, Work
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.tls import server_credentials
from scaler.settings import TlsSettings

Serve = Callable[..., Any]
Connect = Callable[..., AbstractAsyncContextManager[ExternalScalerStub]]


class Files:
    """The three files, as an operator or cert-manager writes them."""

    def __init__(self, directory: Path) -> None:
        self.cert, self.key, self.ca = (directory / name for name in ("tls.crt", "tls.key", "ca.crt"))
        self.authority, self.clients = trustme.CA(), trustme.CA()
        self.issue()
        self.clients.cert_pem.write_to_path(str(self.ca))

    def issue(self, **dates: datetime) -> None:
        made = self.authority.issue_cert("localhost", **dates)
        self.key.write_bytes(made.private_key_pem.bytes())
        self.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))

    def settings(self, *, mutual: bool = False) -> dict[str, Any]:
        files = {"cert_file": self.cert, "key_file": self.key}
        return {"tls": {**files, "client_ca_file": self.ca} if mutual else files, "health_listen": "127.0.0.1:0"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def connect() -> Connect:
    @asynccontextmanager
    async def connected(
        keda: Any, authority: trustme.CA, client: trustme.LeafCert | None = None, host: str = "localhost"
    ) -> Any:
        pair = (client.private_key_pem.bytes(), client.cert_chain_pems[0].bytes()) if client else (None, None)
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes(), *pair)
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", host)]
        address = f"127.0.0.1:{keda.server.port}"
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            yield ExternalScalerStub(channel)

    return connected


async def refused(stub: ExternalScalerStub, ref: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetMetricSpec(ref, timeout=10)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    return str(caught.value.details())


async def test_the_server_shows_its_certificate(serve: Serve, files: Files, connect: Connect) -> None:
    async with serve(**files.settings()) as keda:
        async with connect(keda, files.authority) as stub:
            assert (await stub.GetMetricSpec(keda.ref())).metricSpecs
        async with connect(keda, trustme.CA()) as stub:
            assert "CERTIFICATE_VERIFY_FAILED" in await refused(stub, keda.ref())
        async with connect(keda, files.authority, host="other") as stub:
            await refused(stub, keda.ref())
        await refused(keda.stub, keda.ref())  # without TLS


async def test_old_tls_is_refused(serve: Serve, files: Files) -> None:
    async with serve(**files.settings()) as keda:
        for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2):
            context = ssl.create_default_context(cafile=None)
            files.authority.configure_trust(context)
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings(action="ignore"):  # of the old version, which is the point
                context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                context.maximum_version = version
            connecting = asyncio.open_connection("localhost", keda.server.port, ssl=context)
            if version == ssl.TLSVersion.TLSv1_1:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await connecting
            else:
                _, writer = await connecting
                writer.transport.abort()


async def test_only_clients_of_the_client_ca_are_served(serve: Serve, files: Files, connect: Connect) -> None:
    async with serve(**files.settings(mutual=True)) as keda:
        async with connect(keda, files.authority, files.clients.issue_cert("keda-operator")) as stub:
            assert (await stub.GetMetricSpec(keda.ref())).metricSpecs
        for stranger in (None, trustme.CA().issue_cert("keda-operator"), files.authority.issue_cert("keda-operator")):
            async with connect(keda, files.authority, stranger) as stub:
                await refused(stub, keda.ref())


async def test_the_kubelet_asks_for_health_without_tls(serve: Serve, files: Files) -> None:
    async with (
        serve(**files.settings(mutual=True)) as keda,
        grpc.aio.insecure_channel(f"127.0.0.1:{keda.server.health_port}") as channel,
    ):
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ExternalScalerStub(channel).GetMetricSpec(keda.ref())
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED, "and for nothing else"


async def test_changed_files_count_for_new_connections_and_open_streams_go_on(
    serve: Serve, files: Files, connect: Connect, reader: ScriptedReader, clock: Any
) -> None:
    reader.answers["a"] = Work(1)
    old_clients = files.clients.issue_cert("keda-operator")
    async with serve(**files.settings(mutual=True)) as keda, connect(keda, files.authority, old_clients) as before:
        stream = before.StreamIsActive(keda.ref())
        async with asyncio.timeout(10):
            assert (await stream.read()).result

        files.authority, files.clients = trustme.CA(), trustme.CA()
        files.issue()
        files.clients.cert_pem.write_to_path(str(files.ca))
        with capture_logs() as logs:
            async with connect(keda, files.authority, files.clients.issue_cert("keda-operator")) as after:
                assert (await after.GetMetricSpec(keda.ref())).metricSpecs
            async with connect(keda, files.authority, old_clients) as after:
                await refused(after, keda.ref())
        assert [entry["event"] for entry in logs].count("TLS files reloaded") == 1

        following = asyncio.ensure_future(stream.read())
        await before.GetMetricSpec(keda.ref())
        await clock.advance(1)
        async with asyncio.timeout(10):
            assert (await following).result
        stream.cancel()


async def test_files_that_do_not_fit_leave_the_old_certificate_in_place(
    serve: Serve, files: Files, connect: Connect
) -> None:
    async with serve(**files.settings()) as keda:
        authority, good = files.authority, files.key.read_bytes()
        for broken in (b"", b"no key", trustme.CA().issue_cert("localhost").private_key_pem.bytes()):
            files.key.write_bytes(broken)
            with capture_logs() as logs:
                for _ in range(2):
                    async with connect(keda, authority) as stub:
                        assert (await stub.GetMetricSpec(keda.ref())).metricSpecs
            told = [entry for entry in logs if entry["log_level"] == "warning"]
            assert len(told) <= 1, "told once, not at every handshake"
            assert all(broken.decode() not in str(entry) or not broken for entry in told)
        files.key.unlink()
        with capture_logs() as logs:
            async with connect(keda, authority) as stub:
                assert (await stub.GetMetricSpec(keda.ref())).metricSpecs
        assert f"tls: {files.key}: No such file or directory" in str(logs)
        files.key.write_bytes(good)
        async with connect(keda, authority) as stub:
            assert (await stub.GetMetricSpec(keda.ref())).metricSpecs


async def test_a_certificate_that_is_not_renewed_is_told_once_a_day(
    serve: Serve, files: Files, clock: ManualClock
) -> None:
    end = datetime.fromtimestamp(clock.wall(), UTC) + timedelta(days=2)
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # since the test's clock is not that of a client
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE

    async def told(keda: Any) -> list[str]:
        with capture_logs() as logs:
            for _ in range(2):
                _, writer = await asyncio.open_connection("127.0.0.1", keda.server.port, ssl=anybody)
                writer.transport.abort()
        return [entry["error"] for entry in logs if entry["event"].startswith("clients refuse")]

    files.issue(not_before=end - timedelta(days=365), not_after=end)
    soon = f"tls: {files.cert}: it expires on {end:%Y-%m-%d %H:%M} UTC"
    with capture_logs() as logs:
        async with serve(**files.settings()) as keda:
            assert soon in [entry.get("error") for entry in logs]
            assert await told(keda) == []
            await clock.advance(86_400)
            assert await told(keda) == [soon]
            await clock.advance(86_400)
            assert await told(keda) == [f"tls: {files.cert}: it has expired on {end:%Y-%m-%d %H:%M} UTC"]
            await clock.advance(86_400)
            files.issue()
            assert await told(keda) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda files: files.cert.unlink(), "tls.crt: No such file or directory", id="no certificate"),
        pytest.param(lambda files: files.key.write_bytes(b"x"), "belong together", id="no key in the file"),
        pytest.param(
            lambda files: files.key.write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes()),
            "KEY_VALUES_MISMATCH",
            id="another key",
        ),
        pytest.param(lambda files: files.ca.write_bytes(b"x"), "NO_CERTIFICATE", id="no CA in the file"),
    ],
)
def test_files_that_cannot_be_used_are_named_at_start(files: Files, spoil: Callable[[Files], Any], said: str) -> None:
    spoil(files)
    with pytest.raises(SettingsError, match=r"^tls: ") as caught:
        server_credentials(TlsSettings(**files.settings(mutual=True)["tls"]), ManualClock())
    assert said in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)
