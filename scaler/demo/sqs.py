"""SQS on this machine: moto's server, Shoryuken processes that really take its messages, and both on the demo's stage."""

import asyncio
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from typing import Any, ClassVar

from scaler.core.clock import Clock, SystemClock, sleep
from scaler.demo.stage import Workload

BATCH = 10
"""Messages of one request: SQS allows no more, and Shoryuken fetches no more (shoryuken fetcher.rb)."""
QUEUE = "orders"
TICK_SECONDS = 0.5
"""How often the producer sends what is due, and an idle process fetches again."""


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
        """The variables with which AWS's libraries, and so the scaler, turn to it instead of AWS."""
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
        import boto3  # noqa: PLC0415 - large, as moto is
        from moto.server import ThreadedMotoServer  # noqa: PLC0415 - see above

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for every request
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        self._server.start()
        self.url = "http://{}:{}".format(*self._server.get_host_and_port())
        self._client = boto3.client(
            "sqs",
            region_name=self.region,
            endpoint_url=self.url,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",  # noqa: S106 - no secret: moto takes any
        )

    async def stop(self) -> None:
        """Stop listening; moto keeps the queues for the life of the process."""
        self._client.close()
        await asyncio.to_thread(self._server.stop)
        self._server._server.server_close()  # noqa: SLF001 - moto leaves the socket open

    async def create_queue(self, name: str, **attributes: str) -> str:
        """Create a queue and return its URL; a name that ends in `.fifo` makes it FIFO."""
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
        """Return what boto3's `operation` returns."""
        answer: dict[str, Any] = await asyncio.to_thread(getattr(self._client, operation), **request)
        return answer


class Shoryuken:
    """The processes of one Deployment. Each thread of a process holds a message for a while, then deletes it."""

    def __init__(
        self, sqs: SqsDouble, queue: str, clock: Clock, *, concurrency: int = 5, service_seconds: float = 2.0
    ) -> None:
        """Let each process have `concurrency` threads, and a message take `service_seconds` of `clock`."""
        self._sqs, self._queue, self._clock = sqs, queue, clock
        self._concurrency, self._service_seconds = concurrency, service_seconds
        self._fetching: list[asyncio.Event] = []  # one for each process; set when it is told to stop
        self._tasks: set[asyncio.Task[None]] = set()
        self._deleted: set[str] = set()  # by id: SQS may deliver a message twice
        self.busy = 0

    @property
    def done(self) -> int:
        """How many messages are worked on and deleted."""
        return len(self._deleted)

    async def scale(self, replicas: int) -> None:
        """Start or stop processes, the youngest first; one that is stopped fetches no more, and ends its messages."""
        while len(self._fetching) < replicas:
            stopped = asyncio.Event()
            self._fetching.append(stopped)
            task = asyncio.create_task(self._process(stopped))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        while len(self._fetching) > replicas:
            self._fetching.pop().set()

    async def kill(self) -> None:
        """End all processes at once; their messages come back when their visibility timeout is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
        """Send nothing yet."""
        self._sqs, self._queue, self._clock = sqs, queue, clock
        self.sent = 0

    async def run(self, course: Iterable[tuple[float, float]]) -> None:
        """Send at the rates of `course`, one after the other: pairs of seconds and messages per second."""
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
    """Shoryuken on the stage; while it is open, this process takes moto for AWS."""

    name: ClassVar[str] = "shoryuken"
    label: ClassVar[str] = "messages"

    def __init__(self, course: Iterable[tuple[float, float]] = ((3, 8), (6, 15), (3, 8))) -> None:
        """Send at `course` in each cycle."""
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
        """Return the ScaledObject: a replica for every five messages, which is what its threads work on at once."""
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
        """Return how many messages are sent and not deleted."""
        return self._producer.sent - self._workers.done


@contextmanager
def _environment_of_its_own() -> Iterator[None]:
    """Take everything of AWS out of this process's environment, and put it back after the block."""

    def take_out() -> dict[str, str]:
        return {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}

    before = take_out()
    try:
        yield
    finally:
        take_out()
        os.environ.update(before)
