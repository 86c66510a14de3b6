"""The scaler's own Prometheus metrics; most are collected at scrape time, so that they cost the calls little."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from heapq import nsmallest
from operator import itemgetter
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from scaler.answers.registry import Registry
from scaler.answers.streams import Streams
from scaler.core.clock import Clock
from scaler.core.domain import Place
from scaler.core.errors import Fault
from scaler.core.version import version
from scaler.observe.gauges import gauges
from scaler.observe.journal import Journal
from scaler.observe.rpcs import Rpcs
from scaler.observe.spared import spared_families
from scaler.observe.traffic import OTHER, Traffic
from scaler.sources.prices import dollars_per_month
from scaler.sources.sqs.prices import CostSettings
from scaler.store.snapshots import BackendStatus, Snapshots

READ_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
MAX_BACKENDS = 1_000
"""Backends with their own series; metadata can name any number of hosts, and series stay for ever."""

REFUSED_SECONDS = 900.0
MAX_PLACES = 1_000
"""Places with their own series; with all possible places a scrape would take 80 MB more for a moment."""


class Metrics:
    """All metrics of one server, with its own registry."""

    def __init__(self, clock: Clock, cost: CostSettings) -> None:
        """Register the counters; `watch` adds what is collected at scrape time."""
        self.traffic, self._cost = Traffic(clock), cost
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._rpcs = Rpcs()
        self.registry.register(self._rpcs)
        self._reads = Counter(
            "queue_scaler_reads", "Reads of places, by their outcome.", ["kind", "outcome"], registry=self.registry
        )
        self._read_seconds = Histogram(
            "queue_scaler_read_duration_seconds",
            "Duration of reads; what was read well together counts once.",
            ["kind"],
            buckets=READ_SECONDS,
            registry=self.registry,
        )
        self._requests = Counter(
            "queue_scaler_upstream_requests",
            "Requests sent to backends.",
            ["backend", "operation"],
            registry=self.registry,
        )
        self._read_counter, self._read_histogram = cache(self._reads.labels), cache(self._read_seconds.labels)
        self._request_counter = cache(self._counter_of_requests)
        self._backends: set[str] = set()
        self._looking: tuple[_Looking, ...] = ()

    def calls(self, name: str) -> Callable[[str, float], None]:
        """Return the function that counts a unary call of `name`, with its code and the seconds it took."""
        return self._rpcs.unary(name)

    def stream_ended(self, name: str, code: str) -> None:
        """Count one stream of `name` that ended with `code`."""
        self._rpcs.codes[name][code] += 1

    def read(self, place: Place, seconds: float, fault: Fault | None, places: int) -> None:
        """Count one read of `places` places together, of which `place` is one."""
        self._read_counter(place.kind, "ok" if fault is None else type(fault).__name__.lower()).inc(places)
        self._read_histogram(place.kind).observe(seconds)
        self.traffic.read(place.backend, seconds, places, failed=fault is not None)

    def requests(self, backend: str, operation: str, requests: int) -> None:
        """Count `requests` sent to `backend`."""
        self.traffic.requests(backend, requests)
        known = backend in self._backends or len(self._backends) < MAX_BACKENDS
        self._request_counter(backend if known else OTHER, operation).inc(requests)

    def _counter_of_requests(self, backend: str, operation: str) -> Counter:
        self._backends.add(backend)
        return self._requests.labels(backend, operation)

    def watch(self, registry: Registry, snapshots: Snapshots, streams: Streams, journal: Journal) -> None:
        """Also collect the state of these parts at scrape time."""
        self._looking = (_House(registry, snapshots, streams), _Bill(self.traffic, self._cost), _Refused(journal))
        for collector in self._looking:
            self.registry.register(collector)

    @contextmanager
    def looked(self) -> Iterator[None]:
        """Take a snapshot of what only the event loop's thread may read; in the block another thread may collect."""
        for collector in self._looking:
            collector.seen = collector.look()
        try:
            yield
        finally:
            for collector in self._looking:
                collector.seen = None


class _Looking(Collector):
    """Collects the snapshot of `looked`, or without one the current state."""

    seen: list[Any] | None = None

    def look(self) -> list[Any]:
        raise NotImplementedError

    def present(self) -> list[Any]:
        return self.look() if self.seen is None else self.seen

    def describe(self) -> Iterable[Metric]:
        return ()


class _Refused(_Looking):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def look(self) -> list[tuple[str, str]]:
        present = self._journal.refusals.present(REFUSED_SECONDS)
        return sorted({(refusal.namespace, refusal.name) for refusal in present})

    def collect(self) -> Iterable[Metric]:
        text = "1 if metadata of it was refused in the last 15 minutes and not mended."
        yield gauges("queue_scaler_refused", text, ("namespace", "scaledobject"), dict.fromkeys(self.present(), 1))
        yield GaugeMetricFamily("queue_scaler_journal_bytes", "About what the journal takes.", value=self._journal.used)


class _Bill(_Looking):
    def __init__(self, traffic: Traffic, cost: CostSettings) -> None:
        self._traffic, self._cost = traffic, cost

    def look(self) -> list[tuple[str, float | None]]:
        return [(backend, self._traffic.rate(backend).requests_per_hour) for backend in self._traffic.backends()]

    def collect(self) -> Iterable[Metric]:
        requests: dict[tuple[str, ...], float] = {}
        dollars: dict[tuple[str, ...], float] = {}
        for backend, per_hour in self.present():
            if per_hour is not None:
                requests[backend,] = per_hour
            if (estimate := dollars_per_month(backend, per_hour, self._cost)) is not None:
                dollars[backend,] = estimate
        text = "Requests per hour at the rate of the last five minutes."
        yield gauges("queue_scaler_upstream_requests_per_hour", text, ("backend",), requests)
        text = (
            f"What SQS requests cost at this rate, at {self._cost.sqs_price_per_million:g} US dollars a million "
            f"({self._cost.price_date})."
        )
        yield gauges("queue_scaler_estimated_sqs_dollars_per_month", text, ("backend",), dollars)


class _House(_Looking):
    def __init__(self, registry: Registry, snapshots: Snapshots, streams: Streams) -> None:
        self._registry, self._snapshots, self._streams = registry, snapshots, streams

    def look(self) -> list[BackendStatus]:
        return self._snapshots.backends()[:MAX_BACKENDS]

    def collect(self) -> Iterable[Metric]:
        yield gauges("queue_scaler_build_info", "The version that runs.", ("version",), {(version(),): 1})
        yield GaugeMetricFamily("queue_scaler_streams", "Open streams.", value=len(self._streams))
        yield GaugeMetricFamily("queue_scaler_scaled_objects", "Triggers that asked lately.", value=len(self._registry))
        yield from self._each_object()
        yield from spared_families(self._registry)
        yield from self._each_backend()
        yield from self._each_kind()
        yield self._each_place()
        yield GaugeMetricFamily(
            "queue_scaler_places_overdue",
            "Places that are late by more than three of their intervals.",
            value=sum(1 for _ in self._snapshots.overdue()),
        )

    def _each_object(self) -> Iterable[Metric]:
        value: dict[tuple[str, ...], float] = {}
        target: dict[tuple[str, ...], float] = {}
        active: dict[tuple[str, ...], float] = {}
        failing: dict[tuple[str, ...], float] = {}
        held: dict[tuple[str, ...], float] = {}
        settling: dict[tuple[str, ...], float] = {}
        doubtful: dict[tuple[str, ...], float] = {}
        for scaled_object in self._registry:
            # After an edit there are two ScaledObjects of one name for a while, and two triggers may have metrics of
            # one name. A series may appear only once, so the one with the last call wins.
            told = scaled_object.told
            trigger = (scaled_object.namespace, scaled_object.name, scaled_object.specs[0].name)
            failing[trigger] = scaled_object.error is not None
            state = None if scaled_object.answer is None else scaled_object.answer.state
            held[trigger], settling[trigger] = state == "held", state == "settling"
            doubtful[trigger] = told is not None and bool(told.doubts)
            active.pop(trigger, None)
            if told is not None:
                active[trigger] = told.active
            for index, spec in enumerate(scaled_object.specs):
                metric = (scaled_object.namespace, scaled_object.name, spec.name)
                target[metric] = spec.target
                value.pop(metric, None)
                if told is not None:
                    value[metric] = told.metrics[index].value
        by_metric, by_trigger = ("namespace", "scaledobject", "metric"), ("namespace", "scaledobject", "trigger")
        yield gauges("queue_scaler_metric_value", "What KEDA was told last.", by_metric, value)
        yield gauges("queue_scaler_metric_target", "The target of the metric.", by_metric, target)
        yield gauges("queue_scaler_active", "1 if active, 0 if inactive, as told last.", by_trigger, active)
        yield gauges("queue_scaler_failing", "1 if KEDA is being answered with an error.", by_trigger, failing)
        yield gauges(
            "queue_scaler_held", "1 if the last answer is held because nothing newer is known.", by_trigger, held
        )
        yield gauges(
            "queue_scaler_settling", "1 if less is read since trouble, and not told yet.", by_trigger, settling
        )
        yield gauges("queue_scaler_doubtful", "1 if something makes an empty answer doubtful.", by_trigger, doubtful)

    def _each_backend(self) -> Iterable[Metric]:
        present = self.present()
        for name, text in (
            ("limit", "Most reads per second, as configured."),
            ("rate", "Reads per second allowed now; below the limit after throttling."),
            ("lag_seconds", "How late reads are for want of rate."),
            ("places", "Places that are kept fresh."),
        ):
            rows = {(status.backend,): getattr(status, name) for status in present}
            yield gauges(f"queue_scaler_backend_{name}", text, ("backend",), rows)

    def _each_place(self) -> Metric:
        reads: dict[tuple[str, ...], float] = {}
        paces = ((interval, place) for place, interval in self._snapshots.paces() if interval)
        for interval, place in nsmallest(MAX_PLACES, paces, key=itemgetter(0)):
            row = (place.backend, str(place))  # places with equal texts are added up
            reads[row] = reads.get(row, 0.0) + 3_600 / interval
        text = f"Reads per hour, at their present intervals, of the {MAX_PLACES:,} places read most; at SQS each is a request."
        return gauges("queue_scaler_place_reads_per_hour", text, ("backend", "place"), reads)

    def _each_kind(self) -> Iterable[Metric]:
        places: Counts[tuple[str, ...]] = Counts()
        failing: Counts[tuple[str, ...]] = Counts()
        oldest: dict[tuple[str, ...], float] = {}
        for kind, age, fails in self._snapshots.ages():
            places[kind,] += 1
            failing[kind,] += fails
            oldest[kind,] = max(oldest.get((kind,), 0.0), age or 0.0)
        yield gauges("queue_scaler_places", "Places that are kept fresh.", ("kind",), places)
        yield gauges("queue_scaler_places_failing", "Places whose last read was a fault.", ("kind",), failing)
        yield gauges("queue_scaler_oldest_reading_seconds", "Age of the oldest reading.", ("kind",), oldest)
