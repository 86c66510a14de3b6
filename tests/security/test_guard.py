"""The guard of addresses, behind a real server: what is never connected to."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from scaler.clients.http import names
from scaler.clients.http.names import Names
from scaler.core.clock import SystemClock
from scaler.demo.name_server import NameServer
from scaler.demo.raw_http import RawServer, answer
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server import app
from scaler.server.app import Server
from scaler.settings import Settings

SQS = {"source": "sqs", "awsRegion": "eu-west-1"}
PAGE = {"source": "workqueue", "queues": "q"}
FLUX = {"source": "flux", "controller": "kustomize-controller", "podNamespace": "flux-system"}
SIDEKIQ = {"source": "sidekiq", "queues": "q"}
ROLE = "arn:aws:iam::123456789012:role/keda-shop"


# The guard of addresses, behind a real server

FORBIDDEN = [
    "169.254.169.254",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[fd20:ce::254]",
    "2852039166",  # as one number
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "[::]",
]
LOOPBACK = ["127.0.0.1", "127.1", "2130706433", "017700000001", "[::1]", "[::ffff:127.0.0.1]", "localhost"]


def ways(host: str, port: int) -> dict[str, dict[str, str]]:
    """Return a trigger for each key that leads the scaler to an address."""
    return {
        "redisURL": {**SIDEKIQ, "redisURL": f"redis://{host}:{port}/0"},
        "sentinel": {**SIDEKIQ, "redisURL": f"redis+sentinel://{host}:{port}/main/0"},
        "metricsURL": {**PAGE, "metricsURL": f"http://{host}:{port}/metrics"},
        "prometheusURL": {**PAGE, "prometheusURL": f"http://{host}:{port}"},
        "awsEndpoint": {**SQS, "queueURL": "q", "awsEndpoint": f"http://{host}:{port}"},
    }


def refused(outcome: tuple[str, str], by_guard: str) -> bool:
    """Tell whether the guard refused the address, or whether its spelling is no host name to begin with."""
    code, said = outcome
    if code == "FAILED_PRECONDITION":
        return by_guard in said
    return code == "INVALID_ARGUMENT" or (code == "UNAVAILABLE" and "InvalidUrlClientError" in said)


class Watched:
    """A server of the scaler, and a backend that nobody should reach."""

    def __init__(self, stub: ExternalScalerStub, backend: RawServer) -> None:
        self.stub, self.backend = stub, backend

    async def told(self, metadata: dict[str, str]) -> tuple[str, str]:
        ref = pb.ScaledObjectRef(name="o", namespace="shop", scalerMetadata=metadata)
        try:
            await self.stub.IsActive(ref)
        except grpc.aio.AioRpcError as error:
            return error.code().name, str(error.details())
        return "OK", ""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for name, value in (("AWS_ACCESS_KEY_ID", "demo"), ("AWS_SECRET_ACCESS_KEY", "demo")):
        monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def serving(*, rules: bool) -> AsyncIterator[Watched]:
        everything = {"namespaces": ["*"], "sqs": ["*"], "redis": ["*"], "urls": ["*"], "kubernetes": ["*"]}
        settings = Settings(
            listen="127.0.0.1:0",
            http="127.0.0.1:0",
            access=[everything] if rules else [],
            aws={"allowed_endpoints": ["*"]},
            drain={"grace_seconds": 0.0},
        )
        backend = RawServer(answer(b"", status=500))
        await backend.start()
        server = Server(settings, SystemClock())
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Watched(ExternalScalerStub(channel), backend)
        finally:
            await server.close()
            await backend.close()

    return serving


@pytest.mark.parametrize("rules", [True, False], ids=["rules", "no rules"])
async def test_metadata_addresses_are_refused_however_they_are_written(
    watched: Callable[..., Any], *, rules: bool
) -> None:
    async with watched(rules=rules) as scaler:
        cases = [(host, key, metadata) for host in FORBIDDEN for key, metadata in ways(host, 80).items()]
        outcomes = await asyncio.gather(*(scaler.told(metadata) for _, _, metadata in cases))
        wrong = {
            (host, key): outcome
            for (host, key, _), outcome in zip(cases, outcomes, strict=True)
            if not refused(outcome, "link-local and cloud metadata")
        }
        assert wrong == {}
        assert sum(code == "FAILED_PRECONDITION" for code, _ in outcomes) > 0.7 * len(cases)


async def test_with_rules_loopback_is_refused_however_it_is_written(watched: Callable[..., Any]) -> None:
    async with watched(rules=True) as scaler:
        for host in LOOPBACK:
            for key, metadata in ways(host, scaler.backend.port).items():
                outcome = await scaler.told(metadata)
                assert refused(outcome, "no trigger reads loopback"), (host, key, outcome)
        assert scaler.backend.heads == []


async def test_without_rules_loopback_is_read(watched: Callable[..., Any]) -> None:
    async with watched(rules=False) as scaler:
        for key in ("metricsURL", "prometheusURL", "awsEndpoint"):
            code, said = await scaler.told(ways("127.0.0.1", scaler.backend.port)[key])
            assert (code, "HTTP 500" in said or "500" in said) == ("UNAVAILABLE", True), said
        assert len(scaler.backend.heads) >= 3


@pytest.mark.parametrize("key", ["redisURL", "sentinel", "metricsURL", "prometheusURL", "awsEndpoint"])
async def test_a_name_that_changes_its_address_leads_nowhere(
    watched: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """The name has a harmless address when it is first looked up, and after that one of this machine."""
    asked = 0
    real = socket.getaddrinfo

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        if host not in {"rebind.example", b"rebind.example"}:
            return real(host, port, *args, **kwargs)
        asked += 1
        # Nothing answers in 192.0.2.0/24 (RFC 5737); port 1 of this address is refused or never answers.
        address = "192.0.2.1" if asked == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    moving = NameServer({"rebind.example": ["192.0.2.1"]}, ttl=0)
    await moving.start()
    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    for bound in ("SHORTEST_SECONDS", "RESOLVER_SECONDS"):
        monkeypatch.setattr(names, bound, 0.0)
    monkeypatch.setattr(app, "Names", lambda clock: Names(clock, servers=[moving.address]))
    async with watched(rules=True) as scaler:
        metadata = ways("rebind.example", scaler.backend.port)[key]
        codes = set()
        for _ in range(40):
            code, said = await scaler.told({**metadata, "refreshSeconds": "0.1", "staleSeconds": "0.1"})
            codes.add(code)
            moving.names = {"rebind.example": ["127.0.0.1"]}
            if "no trigger reads loopback" in said:
                break
            await asyncio.sleep(0.2)
        assert asked + len(moving.asked) > 1
        assert "OK" not in codes
        assert "no trigger reads loopback" in said
        assert scaler.backend.heads == []
    moving.close()


async def test_a_redirect_to_a_forbidden_place_is_not_followed(watched: Callable[..., Any]) -> None:
    async with watched(rules=False) as scaler:
        for target in (
            "http://169.254.169.254/latest/",
            "http://evil.example/",
            "file:///etc/passwd",
            "//evil.example/",
        ):
            scaler.backend.answer = answer(b"", status=302, headers={"Location": target})
            where = ways("127.0.0.1", scaler.backend.port)
            for key in ("metricsURL", "prometheusURL"):
                named = where[key][key] + f"?{target.encode().hex()}" if key == "metricsURL" else where[key][key]
                code, said = await scaler.told({**where[key], key: named, "staleSeconds": "10"})
                assert code in {"UNAVAILABLE", "FAILED_PRECONDITION"}
                assert "redirects to another host" in said
            code, said = await scaler.told(where["awsEndpoint"])  # AWS redirects nobody
            assert code in {"UNAVAILABLE", "FAILED_PRECONDITION"}
