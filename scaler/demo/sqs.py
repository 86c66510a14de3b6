"""SQS on this machine: moto's server, and fake Shoryuken processes that take its messages, for demo and tests."""

import asyncio
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from scaler.core.clock import Clock, SystemClock, sleep
from scaler.demo.ending import end
from scaler.demo.stage import Workload

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

BATCH = 10
"""Messages in one request, the maximum of SQS and of Shoryuken (shoryuken fetcher.rb)."""
QUEUE = "orders"
TICK_SECONDS = 0.5
"""How often the producer sends due messages, and an idle process polls."""


class SqsDouble:
    """moto's server on a free port of 127.0.0.1, with SQS and STS."""

    def __init__(self, region: str = "eu-west-1") -> None:
        """Keep queues in `region`."""
        self.region = region
        self.url = ""
        self._server: Any = None
        self._client: Any = None

    @property
    def env(self) -> Mapping[str, str]:
        """The environment variables that make AWS's libraries, and so the scaler, use it instead of AWS."""
        return {
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_ENDPOINT_URL_SQS": self.url,
            "AWS_ENDPOINT_URL_STS": self.url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    async def start(self) -> None:
        """Listen; takes some seconds the first time, because moto is large."""
        await asyncio.to_thread(self._start)

    def _start(self) -> None:
        import boto3  # noqa: PLC0415 - large, like moto
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - see above

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for every request
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self._server._server.app = _one_by_one(self._server._server.app)  # noqa: SLF001 - moto has no parameter for it
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())
        self._client = boto3.client(
            "sqs",
            region_name=self.region,
            endpoint_url=self.url,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",  # noqa: S106 - no secret: moto accepts any
        )

    async def stop(self) -> None:
        """Stop listening; moto keeps the queues as long as the process lives."""
        self._client.close()
        await asyncio.to_thread(self._server.stop)
        self._server._server.server_close()  # noqa: SLF001 - moto does not close the socket

    async def create_queue(self, name: str, **attributes: str) -> str:
        """Create a queue and return its URL; a name with `.fifo` at its end makes it FIFO."""
        if name.endswith(".fifo"):
            attributes["FifoQueue"] = "true"
        answer = await self.call("create_queue", QueueName=name, Attributes=attributes)
        return str(answer["QueueUrl"])

    async def send(self, queue: str, messages: int, delay_seconds: int = 0) -> None:
        """Send so many messages to the queue with this URL or name."""
        for start in range(0, messages, BATCH):
            entries: list[dict[str, Any]] = [
                {"Id": str(number), "MessageBody": "{}", "DelaySeconds": delay_seconds}
                for number in range(min(BATCH, messages - start))
            ]
            await self.call("send_message_batch", QueueUrl=queue, Entries=entries)

    async def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Call boto3's `operation`."""
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self._client, operation), **request)
        return answer


def _one_by_one(app: "WSGIApplication") -> "WSGIApplication":
    """Let `app` handle one request at a time: two at once make moto fail, and lose or double messages."""
    lock = threading.Lock()

    def locked(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with lock:
            return app(environ, start_response)

    return locked


class Shoryuken:
    """The fake processes of one Deployment. Each thread keeps a message for a while, then deletes it."""

    def __init__(
        self, sqs: SqsDouble, queue: str, clock: Clock, *, concurrency: int = 5, service_seconds: float = 2.0
    ) -> None:
        """Each process has `concurrency` threads, and a message takes `service_seconds` of `clock`."""
        self._sqs, self._queue, self._clock = sqs, queue, clock
        self._concurrency, self._service_seconds = concurrency, service_seconds
        self._fetching: list[asyncio.Event] = []  # one for each process; set to stop it
        self._tasks: set[asyncio.Task[None]] = set()
        self._deleted: set[str] = set()  # by id: SQS may deliver a message twice
        self.busy = 0

    @property
    def done(self) -> int:
        """The number of processed and deleted messages."""
        return len(self._deleted)

    async def scale(self, replicas: int) -> None:
        """Start processes, or stop the youngest; a stopped one fetches no more, but finishes its messages."""
        while len(self._fetching) < replicas:
            stopped = asyncio.Event()
            self._fetching.append(stopped)
            task = asyncio.create_task(self._process(stopped))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        while len(self._fetching) > replicas:
            self._fetching.pop().set()

    async def kill(self) -> None:
        """Kill all processes; their messages return after the visibility timeout."""
        await end(self._tasks)

    async def _process(self, stopped: asyncio.Event) -> None:
        threads: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not stopped.is_set():
                messages = await self._fetch(min(BATCH, self._concurrency - len(threads)))
                for message in messages:
                    thread = group.create_task(self._perform(message))
                    threads.add(thread)
                    thread.add_done_callback(threads.discard)
                if not messages:
                    await sleep(self._clock, TICK_SECONDS)

    async def _fetch(self, most: int) -> list[dict[str, Any]]:
        if most == 0:
            return []
        answer = await self._sqs.call("receive_message", QueueUrl=self._queue, MaxNumberOfMessages=most)
        found: list[dict[str, Any]] = answer.get("Messages", [])
        return found

    async def _perform(self, message: Mapping[str, Any]) -> None:
        self.busy += 1
        try:
            await sleep(self._clock, self._service_seconds)
            await self._sqs.call("delete_message", QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
            self._deleted.add(message["MessageId"])
        finally:
            self.busy -= 1


class Producer:
    """Sends messages to one queue."""

    def __init__(self, sqs: SqsDouble, queue: str, clock: Clock) -> None:
        """Prepare; `run` sends messages."""
        self._sqs, self._queue, self._clock = sqs, queue, clock
        self.sent = 0

    async def run(self, course: Iterable[tuple[float, float]]) -> None:
        """Send messages by `course`: pairs of seconds and messages per second, one after the other."""
        for seconds, rate in course:
            began, sent = self._clock.now(), 0
            while (passed := self._clock.now() - began) < seconds:
                sent += await self._send(round(rate * passed) - sent)
                await sleep(self._clock, min(TICK_SECONDS, seconds - passed))
            await self._send(round(rate * seconds) - sent)

    async def _send(self, messages: int) -> int:
        await self._sqs.send(self._queue, messages)
        self.sent += messages
        return messages


class SqsWorkload(Workload):
    """Shoryuken in the demo; while it is open, this process uses moto instead of AWS."""

    name: ClassVar[str] = "shoryuken"
    label: ClassVar[str] = "messages"

    def __init__(self, course: Iterable[tuple[float, float]] = ((3, 8), (6, 15), (3, 8))) -> None:
        """Send messages by `course` in each cycle."""
        self._course = tuple(course)
        self._sqs = SqsDouble()
        self._workers = Shoryuken(self._sqs, QUEUE, SystemClock())
        self._producer = Producer(self._sqs, QUEUE, SystemClock())

    async def open(self, stack: AsyncExitStack) -> None:
        """Start moto and create the queue."""
        stack.enter_context(_environment_of_its_own())
        await self._sqs.start()
        stack.push_async_callback(self._sqs.stop)
        os.environ.update(self._sqs.env)
        await self._sqs.create_queue(QUEUE, VisibilityTimeout="600")
        stack.push_async_callback(self._workers.kill)

    def manifest(self, scaler_address: str) -> str:
        """Return the ScaledObject: a replica for every five messages, the number of its threads."""
        return f"""\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {self.name}
  namespace: shop
spec:
  scaleTargetRef:
    name: {self.name}
  minReplicaCount: 0
  maxReplicaCount: 10
  pollingInterval: 2
  cooldownPeriod: 4
  triggers:
    - type: external-push
      metadata:
        scalerAddress: {scaler_address}
        source: sqs
        queueURL: {QUEUE}
        awsRegion: {self._sqs.region}
        queueLength: "5"
        refreshSeconds: "1"
"""

    async def load(self) -> None:
        """Play one cycle."""
        await self._producer.run(self._course)

    async def scale(self, replicas: int) -> None:
        """Start or stop processes."""
        await self._workers.scale(replicas)

    async def waiting(self) -> int:
        """Return the number of messages that are sent but not deleted."""
        return self._producer.sent - self._workers.done


@contextmanager
def _environment_of_its_own() -> Iterator[None]:
    """Remove all AWS variables from this process's environment, and restore them after the block."""

    def take_out() -> dict[str, str]:
        return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}

    before = take_out()
    try:
        yield
    finally:
        take_out()
        os.environ.update(before)
