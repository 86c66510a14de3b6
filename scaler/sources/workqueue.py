"""Source `workqueue`: the items in the work queues of a controller built on client-go or controller-runtime."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from scaler.clients.pages.exposition import Family, Page
from scaler.clients.pages.prometheus import PrometheusReader
from scaler.clients.pages.reader import PagesReader, Wanted
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.core.errors import Unavailable
from scaler.sources import names
from scaler.sources.base import (
    Claim,
    CommaList,
    Count,
    Flag,
    Interval,
    Rate,
    Source,
    Target,
    idle_refresh_field,
    matching,
)
from scaler.sources.page_keys import WAYS, PageKeys

ACTIVE_WORKERS = "controller_runtime_active_workers"
WHY_MISSING = (
    "either the controller has not begun yet, or this is not its metrics port, or its queues are not measured (a "
    "controller that imports k8s.io/component-base before controller-runtime loses the series without a word), or it "
    "prefixes them (metricName: prometheus_operator_workqueue_depth)"
)
_DEPTH = "the name of a series that ends in depth, such as prometheus_operator_workqueue_depth"
DepthName = Annotated[str, matching("[a-zA-Z_:][a-zA-Z0-9_:]*depth", _DEPTH)]
WRONG_NAME = f"check the names in `queues`; if they are right, {WHY_MISSING}"
_OF_SERIES = re.compile(r"(?:^|,)\s*(name|controller|priority)\s*[=!]")
MAX_NAMED = 10
"""Queues named in one message."""


@dataclass(frozen=True, slots=True)
class Load:
    """The items of one pod, waiting and `active`; the latter is None if the controller does not publish it."""

    page: str
    waiting: dict[str, float]
    active: float | None


@dataclass(frozen=True, slots=True)
class Series:
    """The metrics of work queues; a controller may prefix all their names (prometheus-operator does)."""

    depth: str

    @property
    def adds(self) -> str:
        """The counter of added items, which exists as soon as the queue does.

        A priority queue has no depth series before its first item (controller-runtime pkg/controller/priorityqueue/
        metrics.go, which increases both): if there is only this counter, and it is 0, the depth is 0.
        """
        return self.depth.removesuffix("depth") + "adds_total"

    @property
    def wanted(self) -> Wanted:
        """The series to take from a page; it names no queue, so that all triggers on a controller share its pages."""
        by = ("name", "controller")
        families = {Family(self.depth, by), Family(self.adds, by), Family(ACTIVE_WORKERS, ("controller", "name"))}
        return Wanted(frozenset(families), frozenset({self.depth, self.adds}), WHY_MISSING)

    def queues(self, page: Page) -> set[str]:
        """Return the queues on `page`."""
        return {*page.sums.get(self.depth, ()), *page.sums.get(self.adds, ())}

    def load(self, page: Page, queues: Iterable[str]) -> Load:
        """Return the items of those of `queues` that are on `page`; raises `Unavailable` if a value is no count or missing."""
        known = self.queues(page)
        depth, active = page.sums.get(self.depth, {}), page.sums.get(ACTIVE_WORKERS, {})
        adds = page.sums.get(self.adds, {})
        if lost := [queue for queue in queues if queue not in depth and adds.get(queue)]:
            raise Unavailable(
                f"{page.name}: {self.adds} says that {_listed(lost)} had items, but the {self.depth} of it is missing: the page is not "
                "whole, or something on the way leaves the series out"
            )
        waiting = {queue: depth.get(queue, 0.0) for queue in queues if queue in known}
        working = [active[queue] for queue in waiting if queue in active]
        if not all(map(math.isfinite, [*waiting.values(), *working])):
            raise Unavailable(
                f"{page.name}: {self.depth} or {ACTIVE_WORKERS} of {_listed(waiting)} is no count (NaN, negative or infinite)"
            )
        return Load(page.name, waiting, math.fsum(working) if working else None)


class WorkqueueTrigger(PageKeys):
    """Scales on the items that wait in work queues, and on those being processed."""

    queues: CommaList = Field(description="Names of the work queues; their items are added up.")
    queue_length: Target = Field(50, description="Target: items per replica.")
    activation_queue_length: Count = Field(0, description="Active above this many items.")
    count_active: Flag = Field(
        True,
        description="Add the items being worked on (`controller_runtime_active_workers`), which have left the queue.",
    )
    aggregate: Literal["sum", "max"] = Field(
        "sum", description="`max`: the items of the busiest pod times the pods, for shards that cannot help each other."
    )
    metric_name: DepthName = Field(
        "workqueue_depth", description="Name of the depth series, for controllers that prefix it."
    )
    # A controller with zero pods has no page, so it cannot be woken by this; a longer interval is good enough.
    idle_refresh_seconds: Interval = idle_refresh_field(5)

    @model_validator(mode="after")
    def _check_way(self) -> "WorkqueueTrigger":
        if not self.ways:
            raise ValueError(f"metricsURL: one of {', '.join(WAYS)} must say where the metrics are")
        return self

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric, with `queueLength` items per replica."""
        return (MetricSpec(names.metric_name("workqueue", *self.queues), self.queue_length),)

    def places(self) -> tuple[Place, ...]:
        """Return the pages of the controller."""
        return self.page_places(Series(self.metric_name).wanted)

    def cautions(self, target_kind: str, max_replicas: int, target_name: str = "") -> tuple[str, ...]:
        """Tell of labels in `selector` that no target has, and so no `up`."""
        del target_kind, max_replicas, target_name
        if not (label := _OF_SERIES.search(self.selector)):
            return ()
        return (
            f"selector: {label[1]} is a label of the series and of no target: leave it out, and name the queue in queues",
        )

    def claims(self) -> tuple[Claim, ...]:
        """Return the way to the pages."""
        return self.page_claims()

    wakes: ClassVar[bool] = False
    counts: ClassVar[tuple[str, ...]] = ("depth", "active")

    def imagined(self, counts: Mapping[str, float], replicas: int, now: float) -> Readings:
        """Return pages of `replicas` pods, at least one, that share the items evenly."""
        del now
        series, pods = Series(self.metric_name), max(1, replicas)
        (first, *others) = self.queues
        depth, active = (counts.get(name, 0) / pods for name in self.counts)
        sums = {
            series.depth: {first: depth} | dict.fromkeys(others, 0.0),
            series.adds: dict.fromkeys(self.queues, 1.0),
            ACTIVE_WORKERS: {first: active},
        }
        place, *more = self.places()
        return {place: tuple(Page(f"pod-{pod}", sums) for pod in range(pods)), **dict.fromkeys(more, ())}

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess by items = depth (+ active workers) of all queues: their sum, or the busiest pod times the pods.

        Raises `Unavailable` if a queue is on no page, or a value is no count.
        """
        del now
        pages = [page for place in self.places() for page in readings[place]]
        series = Series(self.metric_name)
        loads = [series.load(page, self.queues) for page in self._telling(series, pages)]
        busiest = max(loads, key=self._items)
        if self.aggregate == "max":
            items = self._items(busiest) * len(loads)
            made_of = (
                f"{_number(self._items(busiest))} on the busiest of {len(loads)} pods, {busiest.page}, for each of them"
            )
        else:
            items = math.fsum(map(self._items, loads))
            made_of = f"of {len(loads)} pods"
        active = items > self.activation_queue_length
        reason = (
            f"{'active' if active else 'inactive'}: {_number(items)} items ({made_of}) are {'' if active else 'not '}"
            f"above activationQueueLength {self.activation_queue_length}"
        )
        components = tuple(self._components(loads, busiest, len(pages) - len(loads)))
        return Assessment((Metric(self.specs()[0].name, items),), active, (reason,), components)

    def _items(self, load: Load) -> float:
        return math.fsum(load.waiting.values()) + (load.active or 0.0) * self.count_active

    def _telling(self, series: Series, pages: Sequence[Page]) -> list[Page]:
        """Return the pages with queues; those of pods that are only on standby have none at all.

        A page with any queue must have each queue of the trigger, or the sum would lack a pod. From a Prometheus there
        may also be pages of other controllers, so there it is enough that one page has the queue.
        """
        known = {queue for page in pages for queue in series.queues(page)}
        asks_prometheus = self.prometheus is not None or self.prometheus_url is not None
        wanted = set(self.queues)
        telling = [page for page in pages if series.queues(page) & (wanted if asks_prometheus else known)]
        for queue in self.queues:
            lacking = [page for page in telling if queue not in series.queues(page)]
            if queue not in known or (lacking and not asks_prometheus):
                where = lacking[0].name if lacking else "the series"
                raise Unavailable(
                    f"queue {queue} is not in {series.depth} or {series.adds} of {where}, which know {_listed(known)}: "
                    f"{WRONG_NAME if known else WHY_MISSING}"
                )
        return telling

    def _components(self, loads: Sequence[Load], busiest: Load, standing_by: int) -> Iterator[Component]:
        for queue in self.queues:
            depth = math.fsum(load.waiting.get(queue, 0.0) for load in loads)
            yield Component(f"queue {queue}", depth, "items", "ready to be worked on; delayed retries are not in it")
        published = [load.active for load in loads if load.active is not None]
        note = "" if self.count_active else "not counted: countActive is false"
        if not published:
            note = f"not known: the pages have no {ACTIVE_WORKERS} of these queues, as with plain client-go"
        yield Component("active workers", math.fsum(published), "items", note)
        yield Component("pods", len(loads), "pods", f"{standing_by} more have no queue of it" if standing_by else "")
        if len(loads) > 1:
            yield Component("busiest pod", self._items(busiest), "items", busiest.page)


def _number(value: float) -> str:
    return f"{value:.15g}"


def _listed(queues: Iterable[str]) -> str:
    found = sorted(queues)
    more = f" and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    return (", ".join(found[:MAX_NAMED]) or "none") + more


SOURCE = Source(
    "workqueue",
    WorkqueueTrigger,
    (PagesReader, PrometheusReader),
    (
        Rate("prometheus", 20, "Queries of one Prometheus."),
        Rate("pages", 50, "Reads of the pages of one controller."),
    ),
)
