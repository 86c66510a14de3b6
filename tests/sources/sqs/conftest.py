"""SQS for tests: moto's server, a server with canned answers, and an environment without anybody's credentials."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from scaler.core.domain import Place
from scaler.demo.reported import Reported
from scaler.demo.sqs import SqsDouble
from scaler.sources.backends import Backends
from scaler.sources.sqs.answers import ATTRIBUTES
from scaler.sources.sqs.places import Account, Listing, Queue
from scaler.sources.sqs.reader import SqsReader
from scaler.sources.sqs.trigger import SqsTrigger
from scaler.sources.triggers import parse

REGION = "eu-west-1"
Read = Callable[..., Awaitable[Any]]
MakeAccount = Callable[..., Account]
COUNTS = {"Attributes": dict(zip(ATTRIBUTES.values(), ("3", "2", "1"), strict=True))}
TARGETS = {
    "GetQueueAttributes": lambda account: Queue(account, "orders"),
    "ListQueues": lambda account: Listing(account, "orders"),
}


@pytest.fixture(autouse=True)
def aws_keys(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-session-token")


@pytest.fixture(scope="session")
def moto_server() -> Iterator[SqsDouble]:
    double = SqsDouble(REGION)
    asyncio.run(double.start())
    yield double
    asyncio.run(double.stop())


_numbers = count()


@pytest.fixture
def new_queue(moto_server: SqsDouble) -> Callable[..., Awaitable[str]]:
    """Create a queue with so many visible, in-flight and delayed messages, and return its URL."""

    async def create(visible: int = 0, in_flight: int = 0, delayed: int = 0, suffix: str = "") -> str:
        url = await moto_server.create_queue(f"test-{next(_numbers)}{suffix}", VisibilityTimeout="600")
        await moto_server.send(url, in_flight)
        taken = 0
        while taken < in_flight:
            received = await moto_server.call(
                "receive_message", QueueUrl=url, MaxNumberOfMessages=min(10, in_flight - taken)
            )
            taken += len(received["Messages"])
        await moto_server.send(url, visible)
        await moto_server.send(url, delayed, delay_seconds=900)
        return url

    return create


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    operation: str
    body: dict[str, Any]
    headers: Mapping[str, str]


Reply = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]
COUNTS = {"Attributes": dict(zip(ATTRIBUTES.values(), ("3", "2", "1"), strict=True))}


@dataclass
class Canned:
    """Answers `replies` in their order, then `always`; a callable is asked with the request."""

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    always: Reply | Callable[[Asked], Reply] = (200, COUNTS)
    asked: list[Asked] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        raw = await request.read()
        if target := request.headers.get("X-Amz-Target"):
            asked = Asked(target.rpartition(".")[2], json.loads(raw), dict(request.headers))
        else:  # STS speaks AWS's older protocol
            form = dict(parse_qsl(raw.decode()))
            asked = Asked(form["Action"], form, dict(request.headers))
        self.asked.append(asked)
        reply = self.replies.pop(0) if self.replies else self.always
        status, body, *headers = reply(asked) if callable(reply) else reply
        sent = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return web.Response(status=status, body=sent, headers=headers[0] if headers else None)


@asynccontextmanager
async def _serving() -> AsyncIterator[Canned]:
    server = Canned()
    app = web.Application()
    app.router.add_post("/", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def canned() -> AsyncIterator[Canned]:
    """A server that speaks SQS's protocol and says what it is told."""
    async with _serving() as server:
        yield server


@pytest.fixture
async def sts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Canned]:
    """STS, which lets everybody assume every role."""
    async with _serving() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        server.always = (200, ASSUMED)
        yield server


ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>AKIAROLE</AccessKeyId><SecretAccessKey>canary-role-secret</SecretAccessKey>
<SessionToken>canary-role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture
def account() -> Callable[..., Account]:
    def make(
        endpoint: str | None = None, role: str | None = None, namespace: str = "", region: str = REGION
    ) -> Account:
        return Account(region, endpoint, role, namespace)

    return make


@pytest.fixture
async def read() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Read places with one reader; return what was reported for the only one, or for each."""
    readers: dict[Backends, SqsReader] = {}
    default = Backends()

    async def go(*places: Place, backends: Backends = default) -> Any:
        reader = readers.get(id(backends)) or readers.setdefault(id(backends), backends.hand(SqsReader))
        found = Reported()
        async with asyncio.timeout(10):
            await reader.read(places, found)
        return found[places[0]] if len(places) == 1 else found

    yield go
    for reader in readers.values():
        await reader.close()


URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


ROLE = "arn:aws:iam::210987654321:role/keda-shop"


def trigger(**metadata: str) -> SqsTrigger:
    parsed = parse({"source": "sqs", **metadata}, "shop")
    assert isinstance(parsed, SqsTrigger)
    return parsed
