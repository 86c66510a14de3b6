"""Part i: what one tenant can do to another. Each attack beside the same run without it, on one server."""

import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc.aio
import psutil

from bench.doubles import Backends, backends
from bench.processes import ServerProcess, serving
from bench.report import Found
from bench.spread import Row, percentile
from scaler.pb import externalscaler_pb2 as pb
from scaler.pb.externalscaler_pb2_grpc import ExternalScalerStub

POLL_SECONDS, ATTACK_POLL_SECONDS = 0.02, 5.0
"""Pauses between the polls of the other tenant, and between those of each trigger of the attacker."""
KNOWN = 12
NEW_EACH = 10
"""One poll in so many is of a trigger that was never asked for, and waits for its first reading."""
START_SECONDS, CALL_SECONDS = 120.0, 30.0


@dataclass(frozen=True, slots=True)
class Attack:
    """What the tenant `greedy` does: `triggers` with `metadata` on a backend of `bench.hostile`."""

    name: str
    backend: str
    size: int
    triggers: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    healthy: bool = (
        False  # whether what is asked for can be answered, so that the attacker's calls must not fail either
    )


SIDEKIQ = {"source": "sidekiq", "queues": "q0", "redisURL": "{redis}", "settleSeconds": "0"}
PAGES = {"source": "workqueue", "queues": "queue-1", "metricsURL": "{pages}"}
PODS = {"source": "workqueue", "queues": "queue-1", "podSelector": "{selector}", "port": "8080"}


def attacks(share: float = 1.0) -> Sequence[Attack]:
    """Return all attacks, at `share` of their size."""

    def size(whole: int) -> int:
        return max(1, int(whole * share))

    return (
        Attack("a reply of 15 bytes announces 2,000,000,000 elements", "announced", 1, size(20), SIDEKIQ),
        Attack(f"{size(4_900):,} processes of 700 queues", "heartbeats", size(4_900), 5, SIDEKIQ, healthy=True),
        Attack(f"{size(200)} URLs with pages of 30 MB", "pages", 1, size(200), PAGES),
        Attack("8 host names that never answer", "names", 8, 8, PAGES),
        Attack(f"{size(300)} wrong passwords at one Redis", "passwords", 1, size(300), SIDEKIQ),
        Attack(f"{size(20_000):,} honest processes", "processes", size(20_000), 5, SIDEKIQ, healthy=True),
        Attack(f"{size(600)} due retries of 70 kB", "retries", size(600), 5, SIDEKIQ, healthy=True),
        Attack(f"{size(1_000):,} half-sent HTTP requests", "half_sent", size(1_000), 0),
        Attack(f"{size(40)} TLS servers that insist on ffdhe8192", "handshakes", 1, size(40), PAGES),
        Attack(f"{size(40)} label selectors of 60 kB of blanks", "blanks", 60_000, size(40), PODS),
        Attack(f"{size(40)} URLs with hosts of 7,900 characters that fold", "folded", 7_900, size(40), PAGES),
        Attack("an INFO of 4 MB", "infos", 4_000_000, size(20), SIDEKIQ),
    )


@dataclass
class Tally:
    """How calls went: seconds of those that were answered, and how many were not."""

    known: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    lost: int = 0
    why: Counter[str] = field(default_factory=Counter)
    """What was said instead of an answer."""

    def row(self, prefix: str = "") -> Row:
        """Return it in ms; what was never answered counts as endless."""
        times = [*self.known, *self.first, *[math.inf] * self.lost]
        told = {f"p{share}": 1e3 * percentile(times, share / 100) for share in (50, 99)}
        return {f"{prefix}{name} ms": value for name, value in {**told, "worst": 1e3 * max(times)}.items()}


class Tenant:
    """Polls by KEDA's own way, GetMetrics and then IsActive, over grpc."""

    def __init__(self, channel: grpc.aio.Channel, namespace: str) -> None:
        """Call over `channel` in the name of `namespace`."""
        self._stub, self._namespace = ExternalScalerStub(channel), namespace
        self.tally = Tally()

    async def poll(self, name: str, metadata: Mapping[str, str], metric: str, *, first: bool = False) -> bool:
        """Make both calls for one trigger; tell whether both were answered."""
        ref = pb.ScaledObjectRef(namespace=self._namespace, name=name, scalerMetadata=metadata)
        for call, request in (
            (self._stub.GetMetrics, pb.GetMetricsRequest(scaledObjectRef=ref, metricName=metric)),
            (self._stub.IsActive, ref),
        ):
            began = time.perf_counter()
            try:
                await call(request, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                self.tally.lost += 1
                self.tally.why[error.details() or error.code().name] += 1
                return False
            (self.tally.first if first else self.tally.known).append(time.perf_counter() - began)
        return True


class Modest(Tenant):
    """The other tenant: some triggers that are polled all the time, and ever new ones."""

    def __init__(self, channel: grpc.aio.Channel, doubles: Backends, host: str) -> None:
        """Ask for what `doubles` have; its pages are looked up as `host`."""
        super().__init__(channel, "modest")
        self._redis, self._pages = doubles.valkey.url, doubles.pages.url.replace("127.0.0.1", host)
        self._count = 0

    def _trigger(self, number: int) -> tuple[str, Mapping[str, str], str]:
        name = f"m-{number}"
        match number % 3:
            case 0:
                return name, {"source": "sqs", "queueURL": f"m-{number}", "awsRegion": "eu-west-1"}, f"sqs-m-{number}"
            case 1:
                own = {"source": "sidekiq", "queues": f"queue-{number}", "redisURL": self._redis}
                return (
                    name,
                    {**own, "busyRatio": "off", "queueLength": "5", "settleSeconds": "0"},
                    f"sidekiq-waiting-queue-{number}",
                )
            case _:
                url = f"{self._pages}/{number}"
                return (
                    name,
                    {"source": "workqueue", "queues": "application", "metricsURL": url},
                    "workqueue-application",
                )

    async def settle(self) -> None:
        """Let what is polled all the time be known."""
        for number in range(KNOWN):
            await self.poll(*self._trigger(number))
        self.tally = Tally()

    async def run(self, seconds: float) -> Tally:
        """Poll for `seconds`, and return how it went."""
        self.tally, tasks = Tally(), set[asyncio.Task[bool]]()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._count += 1
            first = self._count % NEW_EACH == 0
            trigger = self._trigger(KNOWN + self._count // NEW_EACH if first else self._count % KNOWN)
            tasks.add(asyncio.create_task(self.poll(*trigger, first=first)))
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.gather(*tasks)
        return self.tally


@dataclass(frozen=True, slots=True)
class _Hostile:
    """The process of `bench.hostile`, and what it told."""

    told: Mapping[str, str]
    writer: asyncio.StreamWriter

    def begin(self, http_port: int) -> None:
        """Let it do what it does by itself, against a server that has its HTTP there."""
        self.writer.write(b"%d\n" % http_port)


@asynccontextmanager
async def _hostile(attack: Attack) -> AsyncIterator[_Hostile]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.hostile", attack.backend, str(attack.size),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("both were asked for")
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        yield _Hostile(json.loads(line), process.stdin)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _attack(attack: Attack, server: ServerProcess, greedy: Tenant, hostile: "_Hostile") -> None:
    """Go on until cancelled."""

    async def ask(number: int) -> None:
        await asyncio.sleep(ATTACK_POLL_SECONDS * number / attack.triggers)
        # The values are filled in twice: what `hostile` tells leaves a place for the number.
        metadata = {key: value.format(**hostile.told).format(number=number) for key, value in attack.metadata.items()}
        metric = "sidekiq-busy-q0" if metadata["source"] == "sidekiq" else "workqueue-queue-1"
        while True:
            await greedy.poll(f"g-{number}", metadata, metric)
            await asyncio.sleep(ATTACK_POLL_SECONDS)

    hostile.begin(server.http)
    async with asyncio.TaskGroup() as group:
        for number in range(attack.triggers):
            group.create_task(ask(number))


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak_mb(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:  # noqa: PTH123 - a file of the kernel
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


async def _round(attack: Attack, doubles: Backends, seconds: float, share: float) -> tuple[Row, Row]:
    async with AsyncExitStack() as stack:
        hostile = await stack.enter_async_context(_hostile(attack))
        told = hostile.told
        env = {**doubles.env, "BENCH_NAME_SERVER": told.get("names", "")}
        server = await stack.enter_async_context(serving("real", {}, env))
        channels = [
            # A channel of its own, or grpc would share one connection among both.
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.use_local_subchannel_pool", 1)])
            for _ in range(2)
        ]
        for channel in channels:
            await stack.enter_async_context(channel)
        modest = Modest(channels[0], doubles, "good.test" if "names" in told else "127.0.0.1")
        greedy, process = Tenant(channels[1], "greedy"), psutil.Process(server.process.pid)
        await modest.settle()
        before = _used(process)
        usual = await modest.run(seconds)
        usual_cpu = _used(process) - before
        await server.usage()
        attacking = asyncio.create_task(_attack(attack, server, greedy, hostile))
        before = _used(process)
        beside = await modest.run(seconds)
        cpu = _used(process) - before
        block = (await server.usage())["block"]
        attacking.cancel()
        with suppress(asyncio.CancelledError):
            await attacking
        usually, attacked = usual.row("usual "), beside.row()
        row: Row = {
            "attack": attack.name,
            "size %": 100 * share,
            **usually,
            **attacked,
            "p99 ratio": attacked["p99 ms"] / usually["usual p99 ms"],
            "lost": usual.lost + beside.lost,
            "longest block ms": 1e3 * block,
            "peak MB": _peak_mb(server.process.pid),
            "usual core %": 100 * usual_cpu / seconds,
            "core %": 100 * cpu / seconds,
            "attacker's answers": len(greedy.tally.known),
            "attacker's errors": greedy.tally.lost,
        }
        whys = {"others": usual.why + beside.why, "attacker": greedy.tally.why}
        parts = {
            f"{when} {which} p99 ms": 1e3 * percentile(getattr(tally, which) or [math.nan], 0.99)
            for when, tally in (("usual", usual), ("attacked", beside))
            for which in ("known", "first")
        }
        return row, {"attack": attack.name, **parts, **{who: dict(why.most_common(3)) for who, why in whys.items()}}


async def measure(seconds: float, share: float = 1.0, only: Sequence[str] = ()) -> Found:
    """Return a row for each attack, of `seconds` with it and as many without, at `share` of its size."""
    async with backends() as doubles:
        await doubles.fill(KNOWN)
        rows = [
            await _round(attack, doubles, seconds, share)
            for attack in attacks(share)
            if not only or attack.backend in only
        ]
    return Found({"attacks": [row for row, _ in rows]}, {"attacks": [told for _, told in rows]})
