"""Backends that cost next to nothing: an SQS and metrics pages that answer from prepared bytes, and a Valkey."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.requests import Doubles
from scaler.demo.valkey import Valkey

BUSY = 5
"""What waits where work has arrived."""
PAGE = """\
# TYPE workqueue_depth gauge
workqueue_depth{{name="application"}} {waiting}
# TYPE workqueue_adds_total counter
workqueue_adds_total{{name="application"}} 9
# TYPE controller_runtime_active_workers gauge
controller_runtime_active_workers{{controller="application"}} 0
"""


def sqs_answer(visible: int) -> bytes:
    """Return the answer to GetQueueAttributes, as SQS writes it."""
    counts = {"": visible, "NotVisible": 0, "Delayed": 0}
    attributes = {f"ApproximateNumberOfMessages{name}": str(count) for name, count in counts.items()}
    body = json.dumps({"Attributes": attributes}).encode()
    return _http(body, "application/x-amz-json-1.0")


def _http(body: bytes, kind: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass(eq=False)
class Canned:
    """An HTTP server that answers each request with what `answer` makes of its path and body; counts requests."""

    answer: Callable[[bytes, bytes], bytes]
    requests: int = 0
    port: int = 0
    _open: set[asyncio.Transport] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
        for transport in tuple(self._open):
            transport.abort()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


class _Connection(asyncio.Protocol):
    """Finds the end of each request by its Content-Length, and answers it."""

    def __init__(self, canned: Canned) -> None:
        self._canned = canned
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server makes
        self._transport = transport
        self._canned._open.add(transport)  # noqa: SLF001 - a part of it

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._canned._open.discard(self._transport)  # noqa: SLF001 - see above

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            whole = end + 4 + int(rest.partition(b"\r\n")[0] or 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._canned.requests += 1
            path = head.split(b" ", 2)[1]
            self._transport.write(self._canned.answer(path, body))


@dataclass(frozen=True)
class Backends:
    """All doubles, and the environment with which a server finds the SQS."""

    sqs: Canned
    pages: Canned
    valkey: Valkey
    busy: set[str] = field(default_factory=set)
    """Queues of SQS and paths of pages where work has arrived, beside what waits everywhere."""

    @property
    def doubles(self) -> Doubles:
        """Where they are, for metadata."""
        return Doubles(self.valkey.url, self.pages.url)

    @property
    def env(self) -> dict[str, str]:
        """For the server's process."""
        return {
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_SESSION_TOKEN": "x" * 600,  # as long as that of a role
            "AWS_ENDPOINT_URL_SQS": self.sqs.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    async def fill(self, places: int) -> None:
        """Let a job wait in the Sidekiq queues of a fleet on `places`."""
        client: Any = self.valkey.client()  # redis-py's answers are annotated for its synchronous client too
        async with client.pipeline() as pipeline:
            for number in range(places):
                pipeline.lpush(f"queue:queue-{number}", "{}")
            await pipeline.execute()
        await client.aclose()

    async def arrive(self, place: str) -> None:
        """Let work arrive at `place` of a fleet, such as `sqs-17`, for as long as the doubles run."""
        source, _, number = place.partition("-")
        if source == "sidekiq":
            client: Any = self.valkey.client()  # see above
            await client.lpush(f"queue:queue-{number}", "{}")
            await client.aclose()
        else:
            self.busy.add(f"queue-{number}" if source == "sqs" else f"/{number}")


@asynccontextmanager
async def backends(waiting: int = 12) -> AsyncIterator[Backends]:
    """Run them all; each SQS queue and each page has so much that waits, and Redis is empty."""
    busy: set[str] = set()
    counts, pages_text = [sqs_answer(count) for count in (waiting, BUSY)], [_page(count) for count in (waiting, BUSY)]
    # The body is read only when it can make a difference: in a load test the doubles share a core with the client.
    sqs = Canned(lambda _, body: counts[bool(busy) and json.loads(body)["QueueUrl"] in busy])
    pages = Canned(lambda path, _: pages_text[bool(busy) and path.decode() in busy])
    await sqs.start()
    await pages.start()
    try:
        with Valkey() as valkey:
            yield Backends(sqs, pages, valkey, busy)
    finally:
        sqs.close()
        pages.close()


def _page(waiting: int) -> bytes:
    return _http(PAGE.format(waiting=waiting).encode(), "text/plain; version=0.0.4")
