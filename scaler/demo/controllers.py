"""A fake controller with a metrics page, on which work queues look as in client-go or controller-runtime."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiohttp import web

MAX_PRIORITIES = 25
"""Priorities with their own series (controller-runtime pkg/internal/metrics/workqueue.go)."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The form of a library's metrics of work queues."""

    prefix: str = ""
    controller_label: bool = False
    priority_label: bool = False
    priority_queue: bool = False  # a series for each priority, from its first item on
    active_workers: bool = True


DIALECTS = {
    "client-go": Dialect(active_workers=False),
    "prometheus-operator": Dialect(prefix="prometheus_operator_", active_workers=False),
    "controller-runtime 0.15": Dialect(),
    "controller-runtime 0.19": Dialect(controller_label=True),
    "controller-runtime 0.21": Dialect(controller_label=True, priority_label=True),
    "controller-runtime 0.23": Dialect(controller_label=True, priority_label=True, priority_queue=True),
}
"""By the first version with this form; Flux 2.3, 2.4, 2.6 and 2.8 have the four of controller-runtime."""


@dataclass(slots=True)
class WorkQueue:
    """The current state of a queue."""

    depths: dict[int, int] = field(default_factory=dict)  # items by priority
    adds: int = 0
    active: int = 0


class Controller:
    """One pod. `queues` may be changed at any time; `leads` is None without leader election."""

    def __init__(self, queues: Iterable[str], dialect: str = "controller-runtime 0.23", *, workers: int = 4) -> None:
        """Have `queues`, each with `workers`, in one of `DIALECTS`."""
        self.queues = {name: WorkQueue() for name in queues}
        self.dialect = DIALECTS[dialect]
        self.workers = workers
        self.leads: bool | None = None
        self.stands_by_with_queues = False  # as in client-go, whose queues exist before the pod leads
        self.requests = 0
        self._runner: web.AppRunner | None = None
        self.url = ""

    def set_depth(self, queue: str, items: int, priority: int = 0) -> None:
        """Make `items` wait in `queue`; an increase counts as added items."""
        held = self.queues[queue]
        held.adds += max(0, items - held.depths.get(priority, 0))
        held.depths[priority] = items

    def page(self) -> str:
        """Return the page in the text format, in the order of a Go registry."""
        lines = ["# HELP go_goroutines Number of goroutines that currently exist.", "# TYPE go_goroutines gauge"]
        lines.append("go_goroutines 97")
        running = self.queues
        if self.leads is False:
            running = {name: WorkQueue({0: 0}) for name in self.queues} if self.stands_by_with_queues else {}
        dialect, prefix = self.dialect, self.dialect.prefix
        if dialect.active_workers:
            active = [(f'controller="{name}"', queue.active) for name, queue in running.items()]
            workers = [(f'controller="{name}"', self.workers) for name in running]
            lines += _family("controller_runtime_active_workers", "gauge", active)
            lines += _family("controller_runtime_max_concurrent_reconciles", "gauge", workers)
        if self.leads is not None:
            lines += _family("leader_election_master_status", "gauge", [('name="lease"', int(self.leads))])
        adds = [(self._labels(name), queue.adds) for name, queue in running.items()]
        depths = [
            (labels, depth) for name, queue in running.items() for labels, depth in self._depths(name, queue).items()
        ]
        lines += _family(f"{prefix}workqueue_adds_total", "counter", adds)
        lines += _family(f"{prefix}workqueue_depth", "gauge", depths)
        return "\n".join([*lines, ""])

    def _labels(self, queue: str) -> str:
        return f'controller="{queue}",name="{queue}"' if self.dialect.controller_label else f'name="{queue}"'

    def _depths(self, name: str, queue: WorkQueue) -> dict[str, int]:
        """Return the depth series of a queue: labels to value."""
        labels = self._labels(name)
        if not self.dialect.priority_queue:
            priority = ',priority=""' if self.dialect.priority_label else ""
            return {labels + priority: sum(queue.depths.values())}
        series: dict[str, int] = {}
        for index, (priority_value, items) in enumerate(queue.depths.items()):
            shown = priority_value if index < MAX_PRIORITIES else "exceeded_cardinality_limit"
            key = f'{labels},priority="{shown}"'
            series[key] = series.get(key, 0) + items
        return series

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Serve the page at `/metrics`; for several pods on one port use 127.0.0.1, 127.0.0.2 and so on."""
        app = web.Application()
        app.router.add_get("/metrics", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.url = f"http://{host}:{self._runner.addresses[0][1]}/metrics"

    async def _serve(self, _request: web.Request) -> web.Response:
        self.requests += 1
        response = web.Response(text=self.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})
        response.enable_compression()  # if the request accepts it, as promhttp does
        return response

    async def close(self) -> None:
        """Stop serving, as when the pod is gone."""
        if self._runner is not None:
            await self._runner.cleanup()


def _family(name: str, kind: str, series: Iterable[tuple[str, int]]) -> list[str]:
    lines = [f"{name}{{{labels}}} {value}" for labels, value in series]
    return [f"# HELP {name} Of the demo.", f"# TYPE {name} {kind}", *lines] if lines else []
