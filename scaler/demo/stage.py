"""The parts of `scaler demo`: the real server, workloads on doubles of backends, KEDA's stand-in, and a view."""

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import ClassVar

import grpc

from scaler.core.clock import SystemClock
from scaler.demo.ending import end
from scaler.keda.hpa import ControllerFlags
from scaler.keda.manifests import parse
from scaler.keda.scalable import ScaledObject
from scaler.keda.standin import Event, StandIn
from scaler.server.app import Server
from scaler.settings import Settings

FLAGS = ControllerFlags(sync_period_seconds=2, downscale_stabilization_seconds=6)
"""Shorter than Kubernetes' defaults (15 s and 300 s), so that a cycle fits into a minute."""
COURSE_STEPS = 60


class Workload(ABC):
    """A workload on a double of its backend; its replicas really process the work that the scaler sees."""

    name: ClassVar[str]
    label: ClassVar[str]  # the name of its work, for the view: `messages`
    unit: ClassVar[str] = "replicas"

    @abstractmethod
    async def open(self, stack: AsyncExitStack) -> None:
        """Start the backend's double; close it with `stack`."""

    @abstractmethod
    def manifest(self, scaler_address: str) -> str:
        """Return the ScaledObject as a user would write it."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of the workload's container, for `…FromEnv` keys."""
        return {}

    @property
    def interrupted(self) -> int | None:
        """The number of jobs interrupted by scaling in so far; None if that is not counted."""
        return None

    @abstractmethod
    async def load(self) -> None:
        """Make the work of one cycle: a burst, and nothing after it."""

    @abstractmethod
    async def scale(self, replicas: int) -> None:
        """Start or stop replicas, like the controller of the Deployment."""

    @abstractmethod
    async def waiting(self) -> int:
        """Return the unfinished work, for the view; the scaler does not use it."""


@dataclass
class Row:
    """One workload in the view."""

    workload: Workload
    scaled_object: ScaledObject
    replicas: int = 0
    most: int = 0
    cycles: int = 0
    waiting: int = 0
    metrics: dict[str, tuple[float | None, float]] = field(default_factory=dict)  # name → value, target
    active: bool | None = None
    last: str = ""
    why: str = ""
    failing: str = ""  # the error of the last poll
    polled: bool = False  # whether a poll was without an error
    arrived: float = math.inf  # Unix time at which the work of this cycle began
    woke_seconds: float | None = None  # time from then to the first replica
    course: deque[int] = field(default_factory=lambda: deque(maxlen=COURSE_STEPS))

    def note(self, event: Event) -> None:
        """Update the row by an event of KEDA or the HPA."""
        if event.active is not None:
            self.active = event.active
        if event.cause == "poll":
            self.failing = next(iter(event.errors), "")
            self.polled = self.polled or not event.errors
        for result in event.results:
            value = result.value if isinstance(result.value, float | int) else None
            self.metrics[result.name] = (value, result.target)
        if event.replicas != self.replicas:
            self.last, self.why = f"{event.cause}: {self.replicas} → {event.replicas}", event.reason
            if self.replicas == 0 and event.at >= self.arrived:
                self.woke_seconds = event.at - self.arrived
            if event.replicas == 0 and self.most > 0:
                self.cycles += 1
            self.replicas = event.replicas
            self.most = max(self.most, self.replicas)


class Stage:
    """Starts, runs and stops everything on one machine."""

    def __init__(self, workloads: Sequence[Workload], settings: Settings) -> None:
        """Play `workloads` against a server with `settings`."""
        self._workloads, self._settings = workloads, settings
        self.rows: list[Row] = []
        self.http_port = 0
        self.address = ""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a row has changed."""
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Start the doubles, the server and a stand-in for each workload."""
        for workload in self._workloads:
            await workload.open(self._stack)
        server = Server(self._settings, SystemClock())
        self._stack.push_async_callback(server.close)
        await server.start()
        self.http_port = server.http_port
        address = self.address = f"127.0.0.1:{server.port}"
        channel = await self._stack.enter_async_context(grpc.aio.insecure_channel(address))
        for workload in self._workloads:
            objects = parse(workload.manifest(address), f"{workload.name}.yaml").objects
            (scaled_object,) = (each for each in objects if isinstance(each, ScaledObject))
            row = Row(workload, scaled_object)
            self.rows.append(row)
            standin = StandIn(
                scaled_object, channel, workload.scale, env=workload.env, flags=FLAGS, on_event=self._listener(row)
            )
            self._tasks.append(asyncio.create_task(standin.run()))
        self._tasks.append(asyncio.create_task(self._watch()))

    def _listener(self, row: Row) -> Callable[[Event], None]:
        def note(event: Event) -> None:
            row.note(event)
            self.on_change()

        return note

    async def _watch(self) -> None:
        """Sample the replicas twice a second."""
        while True:
            for row in self.rows:
                row.course.append(row.replicas)
                row.waiting = await row.workload.waiting()
            self.on_change()
            await asyncio.sleep(0.5)

    async def cycle(self, longest_seconds: float) -> bool:
        """Play one cycle; tell whether every workload went 0 → N → 0 within `longest_seconds`.

        It begins when KEDA was told something about each workload, which after the start of a backend takes
        `settleSeconds`.
        """
        before = [row.cycles for row in self.rows]
        try:
            async with asyncio.timeout(longest_seconds):
                while not all(row.polled for row in self.rows):
                    self._raise_if_failed()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        for row in self.rows:
            row.arrived = time.time()
        loads = [asyncio.create_task(row.workload.load()) for row in self.rows]
        self._tasks += loads
        try:
            async with asyncio.timeout(longest_seconds):
                await asyncio.gather(*loads)
                while any(row.cycles <= count for row, count in zip(self.rows, before, strict=True)):
                    self._raise_if_failed()
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True

    def _raise_if_failed(self) -> None:
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def close(self) -> None:
        """Stop the stand-ins, the server and the doubles."""
        await end(self._tasks)
        await self._stack.aclose()
