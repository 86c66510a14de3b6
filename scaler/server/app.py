"""Builds the server from its parts, starts it, and drains it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from functools import partial

import grpc
import grpc.aio
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from scaler.answers.answer import Answers
from scaler.answers.leases import Leases
from scaler.answers.listeners import Listeners
from scaler.answers.registry import Registry
from scaler.answers.sparing import Sparing
from scaler.answers.streams import Streams
from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.kubernetes.client import Kubernetes
from scaler.core.budget import Budget
from scaler.core.clock import Clock, SystemClock, deadline, sleep
from scaler.core.domain import Reader
from scaler.core.logs import Once, get_logger
from scaler.core.quota import Quota
from scaler.core.version import page, version
from scaler.observe.connections import Connections, http_log, only_for
from scaler.observe.explainer import Explainer
from scaler.observe.journal import Journal, View
from scaler.observe.metrics import Metrics
from scaler.observe.page.guard import Guard
from scaler.observe.page.routes import Page
from scaler.observe.page.status import Status
from scaler.observe.web import make_app
from scaler.server import ports
from scaler.server.gc_freeze import Garbage
from scaler.server.handlers import EXPLAINER_NAME, SERVICE_NAME, Calls
from scaler.server.reload import reload
from scaler.server.request_cache import RequestCache
from scaler.server.service import Service
from scaler.server.tls import server_credentials
from scaler.settings import Settings, unknown_variables
from scaler.sources import SOURCES
from scaler.sources.access import Access
from scaler.sources.backends import Backends
from scaler.store.snapshots import Snapshots

log = get_logger()

FORGET_SECONDS = 30.0
HOLD_SECONDS = 0.5
"""How long `drain` keeps answers back at most, to get a moment without calls: thousands of callers leave none."""
QUIET_SECONDS = 0.05
"""The server stops when no call has come for so long, because KEDA's polls come in bursts."""
KEEP_SECONDS = 900.0
"""How long a ScaledObject is remembered after its last call, with what KEDA was told."""


def grpc_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of grpc's core, each with its reason."""
    age = int(settings.connection_age_seconds * 1000)
    return [
        ("grpc.so_reuseport", 0),  # two servers on one port are a mistake; without this, both would start
        # With the default of 1,000, calls are cancelled when KEDA restarts with thousands of triggers.
        ("grpc.server.max_pending_requests", 50_000),
        ("grpc.server.max_pending_requests_hard_limit", 100_000),
        # KEDA sends no keepalives; without the server's, streams of a peer that vanished would stay for ever.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # KEDA keeps its connection, and finds new replicas only when it has to reconnect.
        ("grpc.max_connection_age_ms", age),
        ("grpc.max_connection_age_grace_ms", age + 30_000),  # streams end by themselves within it, none is cut off
        ("grpc.max_receive_message_length", 2 * settings.limits.max_metadata_bytes + 65_536),
        ("grpc.max_metadata_size", 16_384),
        # A connection that resets its streams at once took 6 GB without this limit; KEDA has one connection for all streams.
        ("grpc.max_concurrent_streams", settings.limits.max_streams + 5_000),
        ("grpc.http2.max_ping_strikes", 0),  # no limit: one that pinged beyond the limit took 7 GB
    ]


class Server:
    """The gRPC and HTTP servers with all their parts; `serve` runs one."""

    def __init__(self, settings: Settings, clock: Clock, readers: Iterable[Reader] | None = None) -> None:
        """Build the parts without listening yet. `readers` replace those of the sources, for tests."""
        self.settings, self._clock = settings, clock
        self.metrics = Metrics(clock, settings.cost)
        limits, named = settings.limits, {"redis": {*settings.redis}, "prometheus": {*settings.prometheus}}
        access = Access(settings.access, settings.aws, named)
        self.addresses = Addresses(allow_loopback=not settings.access)
        self.backends = Backends(
            clock=clock,
            addresses=self.addresses,
            names=Names(clock),
            aws=settings.aws,
            redis=settings.redis,
            prometheus=settings.prometheus,
            pages=settings.pages,
            kubernetes=Kubernetes(settings.kubernetes, clock=clock, count_requests=self.metrics.requests),
            access=access,
            budget=Budget(limits.max_read_bytes),
            count_requests=self.metrics.requests,
        )
        self.snapshots = Snapshots(
            open_readers(self.backends) if readers is None else readers,
            clock,
            limits=limits.requests_per_second.model_dump(),
            max_places=limits.max_places,
        )
        self.snapshots.observe(self.metrics.read)
        self.registry = Registry(
            access,
            clock,
            max_scaled_objects=Quota(
                limits.max_scaled_objects, "limits.maxScaledObjects", limits.max_scaled_objects_per_namespace
            ),
            max_metadata_bytes=limits.max_metadata_bytes,
            max_metadata_total_bytes=limits.max_metadata_total_bytes,
            keep_seconds=KEEP_SECONDS,
            grown=self._grown,
        )
        self.leases = Leases(self.snapshots, clock, settings.lease_seconds)
        self.answers = Answers(self.snapshots, self.leases, clock)
        self.listeners = Listeners(self.snapshots, self.leases, self.answers, clock)
        self.sparing = Sparing(self.backends.kubernetes, self.registry, clock, self.leases.lasting_seconds)
        self.answers.on_spare = self.sparing.note
        self.journal = Journal(settings.journal.max_bytes, clock)
        self.journal.follow(self.registry, self.answers, self.listeners)
        self.streams = Streams(
            clock, Quota(limits.max_streams, "limits.maxStreams"), settings.connection_age_seconds, grown=self._grown
        )
        self.garbage = Garbage(lambda: len(self.registry) + len(self.streams))
        self.explainer = Explainer(self.registry, self.answers, self.snapshots, self.sparing, clock, settings.cost)
        self.metrics.watch(self.registry, self.snapshots, self.streams, self.journal)
        self.health = HealthServicer()
        self.calls = Calls(self.metrics, Once(clock))
        self.port = self.http_port = self.health_port = 0
        self.draining = False
        self._stack = AsyncExitStack()
        self._grpc: list[grpc.aio.Server] = []

    def _grown(self) -> None:
        self.garbage.grown()

    async def start(self) -> None:
        """Listen; raises `SettingsError` for an address or a certificate that cannot be used."""
        service = Service(
            RequestCache(self.registry),
            self.answers,
            self.listeners,
            self.streams,
            self.settings.limits.rpc_deadline_seconds,
        )
        calls, deadline = self.calls, self.settings.limits.rpc_deadline_seconds
        main = grpc.aio.server(options=grpc_options(self.settings))
        main.add_generic_rpc_handlers((calls.handlers(service), calls.explainer_handlers(self.explainer, deadline)))
        health_pb2_grpc.add_HealthServicer_to_server(self.health, main)
        names = (
            SERVICE_NAME,
            EXPLAINER_NAME,
            health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(names, main)
        if self.settings.tls is None:
            self.port = ports.bind(main, "listen", self.settings.listen)
        else:
            credentials = server_credentials(self.settings.tls, self._clock)
            self.port = ports.bind(main, "listen", self.settings.listen, credentials)
            probe = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            health_pb2_grpc.add_HealthServicer_to_server(self.health, probe)
            self.health_port = ports.bind(probe, "healthListen", self.settings.health_listen)
            self._grpc.append(probe)
        self._grpc.insert(0, main)
        await self._listen_http()
        for server in self._grpc:
            await server.start()
        for name in ("", SERVICE_NAME):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        sweeper = asyncio.create_task(self._sweep())
        self._stack.callback(sweeper.cancel)
        sparing = asyncio.create_task(self.sparing.run())
        self._stack.callback(sparing.cancel)
        log.info("serving", grpc=self.port, http=self.http_port, tls=self.settings.tls is not None, version=version())
        if not self.settings.access:
            text = "no access rules: every namespace may read everything that the scaler can"
            log.warning(text, see=page("security.md#access-rules"))

    async def _listen_http(self) -> None:
        connections = Connections(self._clock)
        middlewares = (connections.middleware, only_for(self.settings.http_allowed_hosts))
        app = make_app(self.metrics, lambda: not self.draining, middlewares, self._page())
        runner = web.AppRunner(app, access_log=None, logger=http_log, handle_signals=False)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        ports.check("http", self.settings.http)
        host, _, port = self.settings.http.rpartition(":")
        serve = runner.server
        if serve is None:
            raise RuntimeError("the runner is set up")
        loop, listener = asyncio.get_running_loop(), connections.listener(serve)
        if host == "[::]":
            listening = await loop.create_server(listener, sock=ports.both_families(int(port)))
        else:
            listening = await loop.create_server(listener, host.strip("[]"), int(port))
        self._stack.callback(listening.close)
        self.http_port = listening.sockets[0].getsockname()[1]

    def _page(self) -> Page | None:
        if not self.settings.page.enabled:
            return None
        status = Status(
            self.registry,
            self.snapshots,
            self.explainer,
            self.metrics.traffic,
            View(self.journal, self._clock),
            self._clock,
            self.settings.cost,
        )
        return Page(status, Guard(self.settings.page.token_file, self._clock), self._clock, version())

    async def _sweep(self) -> None:
        while True:
            await sleep(self._clock, FORGET_SECONDS)
            registry, rest = self.registry, partial(self.leases.rest, self.registry)
            for part in (registry.forget_old, rest, self.journal.tidy, self.snapshots.revive, self.garbage.tidy):
                try:
                    part()
                except Exception:  # else one defect would let everything grow from then on
                    log.exception("cannot tidy up")

    async def drain(self) -> None:
        """Stop in such a way that KEDA only has to reconnect.

        First the health service reports NOT_SERVING, so that no new client is sent here; after a short wait the streams
        end without an error. The server stops at a moment without calls, because grpc cancels calls that have arrived
        but not begun. If callers never pause, answers are kept back to get such a moment, until grpc has sent GOAWAY,
        so that the callers connect elsewhere. Calls in flight get their grace period, then all connections close.
        """
        self.draining = True
        log.info("draining", streams=len(self.streams))
        await self.health.enter_graceful_shutdown()
        await sleep(self._clock, self.settings.drain.wait_seconds)
        with contextlib.suppress(TimeoutError), deadline(self._clock, self.settings.drain.grace_seconds):
            await self.streams.drain()  # a stream whose peer reads no more does not end here; it is cut off below
        held = self.calls.hold()
        with (
            contextlib.suppress(TimeoutError),
            deadline(self._clock, min(HOLD_SECONDS, self.settings.drain.grace_seconds)),
        ):
            await self.calls.quiet(self._clock, QUIET_SECONDS)
        closing = asyncio.create_task(self.close())
        await asyncio.sleep(0)  # lets the stop begin, which sends GOAWAY on every connection
        held.set()
        await closing
        log.info("stopped")

    async def close(self) -> None:
        """Stop serving, with the grace period for calls in flight, and close all connections."""
        await asyncio.gather(*(server.stop(self.settings.drain.grace_seconds) for server in self._grpc))
        await self._stack.aclose()
        await self.snapshots.close()
        await self.backends.kubernetes.close()
        await self.backends.names.close()


def open_readers(backends: Backends) -> list[Reader]:
    """Return one reader of each class that the sources declare."""
    return [
        backends.hand(make) for make in dict.fromkeys(make for source in SOURCES.values() for make in source.readers)
    ]


async def serve(settings: Settings, load: Callable[[], Settings]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; on SIGHUP, apply what `load` returns."""
    server = Server(settings, SystemClock())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload, server, load)
    for problem in unknown_variables(os.environ):
        log.warning(problem, see=page("configuration.md"))
    try:
        await server.start()
        server.garbage.settle()
        await stop.wait()
        await server.drain()
    except BaseException:
        with contextlib.suppress(Exception):
            await server.close()
        raise
