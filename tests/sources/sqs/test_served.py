"""SQS through the whole server, as KEDA sees it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc.aio
import pytest
import structlog

from scaler.core.clock import Clock, SystemClock
from scaler.demo.clock import ManualClock
from scaler.demo.raw_http import RawServer, answer
from scaler.demo.sqs import SqsDouble
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub
from scaler.server.app import Server
from scaler.settings import Settings
from scaler.sources.sqs.answers import ATTRIBUTES

REGION = "eu-west-1"
IN_TIME_SECONDS = 10.0
"""The server answers within 2 s; a busy machine may take some more, and what hangs here hangs for 20 s or for ever."""


class Keda:
    """What KEDA sends; on a manual clock `wait` lets what is due happen while an answer is waited for."""

    def __init__(self, server: Server, clock: Clock, channel: grpc.aio.Channel) -> None:
        self.server, self.clock = server, clock
        self.stub = ExternalScalerStub(channel)

    def ref(self, name: str = "orders", namespace: str = "shop", **metadata: str) -> pb.ScaledObjectRef:
        metadata = {"source": "sqs", "awsRegion": REGION, "queueURL": "orders", **metadata}
        return pb.ScaledObjectRef(name=name, namespace=namespace, scalerMetadata=metadata)

    def get_metrics(self, ref: pb.ScaledObjectRef, metric: str = "sqs-orders") -> Any:
        return self.stub.GetMetrics(pb.GetMetricsRequest(scaledObjectRef=ref, metricName=metric))

    async def wait(self, *calls: Awaitable[Any]) -> list[Any]:
        answers = asyncio.ensure_future(asyncio.gather(*calls, return_exceptions=True))
        async with asyncio.timeout(20):
            while not answers.done() and isinstance(self.clock, ManualClock):
                await self.clock.advance(0)
        return await answers

    async def value(self, ref: pb.ScaledObjectRef, metric: str = "sqs-orders") -> float:
        (answered,) = await self.wait(self.get_metrics(ref, metric))
        assert isinstance(answered, pb.GetMetricsResponse), answered
        return answered.metricValues[0].metricValueFloat

    async def fails(self, ref: pb.ScaledObjectRef, code: str, said: str) -> None:
        """Assert that GetMetrics and IsActive both fail so, in time."""
        began = time.monotonic()
        errors = await self.wait(self.get_metrics(ref), self.stub.IsActive(ref))
        assert time.monotonic() - began < IN_TIME_SECONDS
        for error in errors:
            assert isinstance(error, grpc.aio.AioRpcError), error
            assert error.code().name == code
            assert said in (error.details() or "")


Serve = Callable[..., AbstractAsyncContextManager[Keda]]


@pytest.fixture
def keda() -> Serve:
    @asynccontextmanager
    async def serving(clock: Clock | None = None, **settings: Any) -> AsyncIterator[Keda]:
        clock = clock or SystemClock()
        local = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "drain": {"grace_seconds": 0.0}}
        server = Server(Settings(**{**local, **settings}), clock)
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                yield Keda(server, clock, channel)
        finally:
            await server.close()

    return serving


def counts(visible: int, in_flight: int = 0, delayed: int = 0) -> dict[str, Any]:
    return {"Attributes": dict(zip(ATTRIBUTES.values(), map(str, (visible, in_flight, delayed)), strict=True))}


# Values


async def test_a_change_is_seen_after_the_refresh_and_a_second(
    moto_server: SqsDouble, new_queue: Any, keda: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", moto_server.url)
    url = await new_queue(visible=1, in_flight=1)
    async with keda(ManualClock()) as client:
        for refresh in ("10", "3"):
            ref = client.ref(queueURL=url, refreshSeconds=refresh)
            metric = client.server.registry.find("shop", "orders", dict(ref.scalerMetadata)).specs[0].name
            before = await client.value(ref, metric)
            await moto_server.send(url, 3)
            told = before
            for _ in range(10 * (int(refresh) + 1)):
                await client.clock.advance(0.1)  # type: ignore[attr-defined]  # a manual one
                told = await client.value(ref, metric)
                if told != before:
                    break
            assert told == before + 3


@pytest.mark.parametrize(("refresh", "reads_an_hour"), [("10", 360), ("0", 120), ("60", 60)])
async def test_the_bill_follows_the_reads(
    canned: Any, keda: Serve, monkeypatch: pytest.MonkeyPatch, refresh: str, reads_an_hour: int
) -> None:
    """With refreshSeconds 0 each poll of KEDA reads, every 30 s by default."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", canned.url)
    canned.always = (200, counts(3))
    async with keda(ManualClock()) as client:
        metadata = dict(client.ref(refreshSeconds=refresh).scalerMetadata)
        explained = await client.server.explainer.explain("shop", "orders", metadata, 1)
    assert explained["state"] == "active"
    assert explained["cost"]["requestsPerMonth"] == reads_an_hour * 730


async def test_two_hundred_scaledobjects_on_one_queue_cause_one_request_for_a_refresh(
    canned: Any, keda: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", canned.url)
    async with keda(clock := ManualClock()) as client:
        refs = [
            client.ref(f"so-{number}", f"team-{number % 7}", queueLength=str(1 + number % 9)) for number in range(200)
        ]
        canned.always = (200, counts(0, 1))
        for step in range(5):
            answers = await client.wait(*(client.get_metrics(ref) for ref in refs))
            assert {answer.metricValues[0].metricValueFloat for answer in answers} == {step + 1}
            # Refreshes begin within the last tenth of refreshSeconds, so one of 10 s takes 9 at least.
            assert 1 + step <= len(canned.asked) <= 1 + step * 11 / 9
            canned.always = (200, counts(step + 1, 1))
            await clock.advance(11)
        assert {asked.operation for asked in canned.asked} == {"GetQueueAttributes"}


async def test_counts_of_64_bits_are_capped_where_the_hpa_reads_garbage(
    canned: Any, keda: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", canned.url)
    canned.always = (200, counts(2**63 - 1, 2**63 - 1, 2**63 - 1))
    async with keda(ManualClock()) as client:
        ref = client.ref(scaleOnDelayed="true")
        assert await client.value(ref) == 1e12
        (active,) = await client.wait(client.stub.IsActive(ref))
        assert active.result


# Faults


async def test_the_specs_need_no_aws(keda: Serve, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{unused_tcp_port}")
    async with keda() as client:
        specs = (await client.stub.GetMetricSpec(client.ref())).metricSpecs
        assert [(spec.metricName, spec.targetSize, spec.targetSizeFloat) for spec in specs] == [("sqs-orders", 5, 5.0)]
        await client.fails(client.ref(), "UNAVAILABLE", "no connection")


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (400, "QueueDoesNotExist", "FAILED_PRECONDITION"),
        (403, "AccessDenied", "FAILED_PRECONDITION"),
        (403, "InvalidClientTokenId", "FAILED_PRECONDITION"),
        (400, "RequestThrottled", "UNAVAILABLE"),
        (500, "InternalFailure", "UNAVAILABLE"),
    ],
)
async def test_what_keda_is_told_of_a_fault(canned: Any, keda: Serve, status: int, error: str, code: str) -> None:
    canned.always = (status, {"__type": f"com.amazonaws.sqs#{error}"})
    async with keda(aws=AWS) as client:
        said = f"SQS answered GetQueueAttributes with {error} (HTTP {status})"
        await client.fails(client.ref(awsEndpoint=canned.url), code, said)


async def test_throttling_slows_down_the_whole_account(canned: Any, keda: Serve) -> None:
    canned.always = (400, {"__type": "com.amazonaws.sqs#RequestThrottled"})
    async with keda(aws=AWS) as client:
        await client.fails(client.ref(awsEndpoint=canned.url), "UNAVAILABLE", "RequestThrottled")
        (backend,) = client.server.snapshots.backends()
        assert backend.backend == f"sqs/{canned.url.removeprefix('http://')}"
        assert backend.rate <= backend.limit / 2 + 10  # halved, and recovering within a minute


async def test_an_endpoint_that_never_answers_is_told_in_time_and_streams_stay_silent(
    keda: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = RawServer(None)
    await silent.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{silent.port}")
    async with keda() as client:
        heard: asyncio.Queue[Any] = asyncio.Queue()

        async def listen() -> None:
            async for message in client.stub.StreamIsActive(client.ref()):
                await heard.put(message)

        listening = asyncio.create_task(listen())
        await client.fails(client.ref(), "UNAVAILABLE", "no answer")
        assert not listening.done()
        assert heard.empty()
        await silent.close()
        silent.answer = answer(json.dumps(counts(1)).encode())
        await silent.start(port=silent.port)
        assert (await asyncio.wait_for(heard.get(), 20)).result  # the stream that stayed open tells
        listening.cancel()
    await silent.close()


async def test_without_credentials_the_answer_says_so(keda: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    async with keda() as client:
        await client.fails(client.ref(), "FAILED_PRECONDITION", "no AWS credentials in")


async def test_a_metadata_service_that_never_answers_is_told_in_time_and_does_not_hold_up_the_end(
    keda: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name)
    silent = RawServer(None)
    await silent.start()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.port}")
    monkeypatch.setenv("AWS_METADATA_SERVICE_TIMEOUT", "20")
    async with keda() as client:
        await client.fails(client.ref(), "UNAVAILABLE", "no AWS credentials within 1.5 s")
        began = time.monotonic()
    assert time.monotonic() - began < IN_TIME_SECONDS
    await silent.close()


# Who may


ROLE = "arn:aws:iam::210987654321:role/keda-shop"
AWS = {
    "roles": [{"arn": ROLE, "namespaces": ["shop"], "external_id": "from-the-configuration"}],
    "allowed_endpoints": ["http://127.0.0.1:*"],
}


@pytest.mark.parametrize(
    ("namespace", "metadata", "said"),
    [
        ("bank", {"awsRoleArn": ROLE}, "may not assume role"),
        ("shop", {"awsRoleArn": ROLE + "-admin"}, "may not assume role"),
        ("shop", {"awsEndpoint": "https://example.com"}, "is not a host of AWS"),
        ("shop", {"awsEndpoint": "https://sqs.s3.amazonaws.com"}, "is not a host of AWS"),
        ("shop", {"awsEndpoint": "http://sqs.eu-west-1.amazonaws.com"}, "is not a host of AWS"),
        ("shop", {"awsEndpoint": "https://127.0.0.1:1"}, "is not a host of AWS"),
    ],
)
async def test_roles_and_endpoints_are_granted(
    keda: Serve, namespace: str, metadata: dict[str, str], said: str
) -> None:
    async with keda(aws=AWS) as client:
        ref = client.ref(namespace=namespace, **metadata)
        await client.fails(ref, "PERMISSION_DENIED", said)


async def test_no_credential_appears_anywhere(
    canned: Any, sts: Any, keda: Serve, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.WARNING)
    with structlog.testing.capture_logs() as logged:
        async with keda(aws=AWS) as client:
            texts = []
            for status, body in ((403, {"__type": "ExpiredToken", "message": "canary"}), (500, {}), (200, {"a": "b"})):
                canned.always = (status, body)
                for role in ({}, {"awsRoleArn": ROLE}):
                    ref = client.ref(f"so-{status}", awsEndpoint=canned.url, queueURL=f"orders-{status}", **role)
                    texts += [str(error) for error in await client.wait(client.stub.IsActive(ref))]
            sts.always = (
                403,
                "<ErrorResponse><Error><Code>AccessDenied</Code><Message>canary</Message></Error></ErrorResponse>",
            )
            ref = client.ref("denied", awsEndpoint=canned.url, awsRoleArn=ROLE + "-2", queueURL="denied")
            texts += [str(error) for error in await client.wait(client.stub.IsActive(ref))]
    assert len(texts) == 7
    told = " ".join([*texts, str(logged), caplog.text, *capsys.readouterr()])
    assert "ExpiredToken" in told
    assert "canary" not in told
    sent = " ".join(str(asked.headers) for asked in canned.asked)
    assert "canary-session-token" in sent  # so there was something to hide
    assert "canary-role-token" in sent
