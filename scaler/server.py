"""Builds the server out of its parts, and starts and drains it as one readable sequence."""

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from contextlib import AsyncExitStack

import grpc
import grpc.aio
import structlog
from aiohttp import web
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from scaler.access import Access
from scaler.clients.addresses import Addresses
from scaler.clients.backends import Backends
from scaler.clients.kubernetes import Kubernetes
from scaler.clock import Clock, SystemClock, sleep
from scaler.domain import Reader
from scaler.errors import SettingsError
from scaler.explainer import Explainer
from scaler.observe.logs import Once
from scaler.observe.metrics import Metrics, release
from scaler.observe.web import make_app
from scaler.quota import Quota
from scaler.rpc import EXPLAINER_NAME, SERVICE_NAME, Calls
from scaler.scaledobjects import ScaledObjects
from scaler.service import Service
from scaler.settings import Settings
from scaler.snapshots import Snapshots
from scaler.sources import SOURCES
from scaler.streams import Streams
from scaler.tls import server_credentials

log = structlog.get_logger()

FORGET_SECONDS = 30.0


def grpc_options(settings: Settings) -> list[tuple[str, int]]:
    """Return the options of grpc's core, each with its reason."""
    age = int(settings.connection_age_seconds * 1000)
    return [
        ("grpc.so_reuseport", 0),  # two servers on one port are a mistake, not a cluster
        # A burst of opens (KEDA restarting with thousands of triggers) is cancelled beyond the default of 1,000.
        ("grpc.server.max_pending_requests", 50_000),
        ("grpc.server.max_pending_requests_hard_limit", 100_000),
        # KEDA sends no keepalives; without the server's, a vanished peer holds its streams for ever.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # KEDA keeps its connection; it looks for new replicas only when it has to reconnect.
        ("grpc.max_connection_age_ms", age),
        # Streams end by themselves within the connection's age, so none is cut off.
        ("grpc.max_connection_age_grace_ms", age + 30_000),
        ("grpc.max_receive_message_length", 2 * settings.limits.max_metadata_bytes + 65_536),
        ("grpc.max_metadata_size", 16_384),
    ]


class Server:
    """A running server; `run` makes one."""

    def __init__(self, settings: Settings, clock: Clock, readers: Iterable[Reader] | None = None) -> None:
        """Join the parts; nothing listens yet. `readers` stand in for those of the sources."""
        self.settings, self._clock = settings, clock
        self.metrics = Metrics()
        limits = settings.limits
        self.backends = Backends(
            clock=clock,
            addresses=Addresses(allow_loopback=not settings.access),
            aws=settings.aws,
            redis=settings.redis,
            prometheus=settings.prometheus,
            kubernetes=Kubernetes(settings.kubernetes, clock=clock, count_requests=self.metrics.requests),
            count_requests=self.metrics.requests,
        )
        self.snapshots = Snapshots(
            open_readers(self.backends) if readers is None else readers,
            clock,
            limits=limits.requests_per_second.model_dump(),
            max_places=limits.max_places,
        )
        self.snapshots.observe(self.metrics.read)
        self.objects = ScaledObjects(
            self.snapshots,
            Access(settings.access, settings.aws),
            clock,
            max_scaled_objects=Quota(
                limits.max_scaled_objects, "limits.maxScaledObjects", limits.max_scaled_objects_per_namespace
            ),
            max_metadata_bytes=limits.max_metadata_bytes,
            lease_seconds=settings.lease_seconds,
        )
        self.streams = Streams(clock, Quota(limits.max_streams, "limits.maxStreams"), settings.connection_age_seconds)
        self.explainer = Explainer(self.objects, self.snapshots, clock)
        self.metrics.watch(self.objects, self.snapshots, self.streams)
        self.health = HealthServicer()
        self.port = self.http_port = self.health_port = 0
        self.draining = False
        self._stack = AsyncExitStack()
        self._grpc: list[grpc.aio.Server] = []

    async def start(self) -> None:
        """Listen; raises `SettingsError` for an address or a certificate that cannot be used."""
        service = Service(self.objects, self.streams, self.settings.limits.rpc_deadline_seconds)
        calls, deadline = Calls(self.metrics, Once(self._clock)), self.settings.limits.rpc_deadline_seconds
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
            self.port = _bind(main, self.settings.listen)
        else:
            self.port = _bind(main, self.settings.listen, server_credentials(self.settings.tls))
            probe = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
            health_pb2_grpc.add_HealthServicer_to_server(self.health, probe)
            self.health_port = _bind(probe, self.settings.health_listen)
            self._grpc.append(probe)
        self._grpc.insert(0, main)
        await self._listen_http()
        for server in self._grpc:
            await server.start()
        for name in ("", SERVICE_NAME):
            await self.health.set(name, health_pb2.HealthCheckResponse.SERVING)
        sweeper = asyncio.create_task(self._sweep())
        self._stack.callback(sweeper.cancel)
        log.info("serving", grpc=self.port, http=self.http_port, tls=self.settings.tls is not None, version=release())
        if not self.settings.access:
            log.warning(
                "no access rules: every namespace may read everything that the scaler can; see docs/security.md"
            )

    async def _listen_http(self) -> None:
        runner = web.AppRunner(make_app(self.metrics, lambda: not self.draining), access_log=None, handle_signals=False)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        host, _, port = self.settings.http.rpartition(":")
        site = web.TCPSite(runner, host.strip("[]"), int(port))
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(f"http: cannot listen on {self.settings.http}: {error.strerror}") from None
        self.http_port = runner.addresses[0][1]

    async def _sweep(self) -> None:
        while True:
            await sleep(self._clock, FORGET_SECONDS)
            self.objects.forget_old()

    async def drain(self) -> None:
        """End so that KEDA notices nothing but a reconnect.

        First the health service says NOT_SERVING, so that nobody new is sent here; after a short wait the streams end
        normally, then calls under way get their grace, then all connections close.
        """
        self.draining = True
        log.info("draining", streams=len(self.streams))
        await self.health.enter_graceful_shutdown()
        await sleep(self._clock, self.settings.drain.wait_seconds)
        with contextlib.suppress(TimeoutError):  # a peer that reads no more; it is cut off below
            await asyncio.wait_for(self.streams.drain(), self.settings.drain.grace_seconds)
        await self.close()
        log.info("stopped")

    async def close(self) -> None:
        """Stop serving, with the grace for calls under way, and close all connections."""
        for server in self._grpc:
            await server.stop(self.settings.drain.grace_seconds)
        await self._stack.aclose()
        await self.snapshots.close()
        await self.backends.kubernetes.close()


def open_readers(backends: Backends) -> list[Reader]:
    """Return one reader of each class that the sources name."""
    return [make(backends) for make in dict.fromkeys(make for source in SOURCES.values() for make in source.readers)]


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise SettingsError(f"listen: cannot listen on {address}; is the port in use?") from None


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    server = Server(settings, SystemClock())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        await server.start()
        await stop.wait()
        await server.drain()
    except BaseException:
        with contextlib.suppress(Exception):
            await server.close()
        raise
