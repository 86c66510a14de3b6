"""Metrics of gRPC calls, counted without locks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

RPC_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5)


class Rpcs(Collector):
    """Counts calls; prometheus_client's own counters take locks and ten times as long."""

    def __init__(self) -> None:
        self.codes: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, list[float]] = {}

    def unary(self, name: str) -> Callable[[str, float], None]:
        """Return the function that counts a unary call of `name`, with its code and the seconds it took."""
        codes = self.codes[name]
        buckets = self._buckets.setdefault(name, [0] * (len(RPC_SECONDS) + 1))
        total = self._sums.setdefault(name, [0.0])

        def ended(code: str, seconds: float) -> None:
            codes[code] += 1
            buckets[bisect_left(RPC_SECONDS, seconds)] += 1
            total[0] += seconds

        return ended

    def describe(self) -> Iterable[Metric]:
        """Leave the names to `collect`."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the calls by their codes, and how long unary ones took."""
        ended = CounterMetricFamily(
            "queue_scaler_rpc", "RPCs that ended, by their status code.", labels=["rpc", "code"]
        )
        for name, codes in list(self.codes.items()):  # a copy, because calls may come while another thread collects
            for code, count in list(codes.items()):
                ended.add_metric((name, code), count)
        lasted = HistogramMetricFamily("queue_scaler_rpc_duration_seconds", "Duration of unary RPCs.", labels=["rpc"])
        edges = [*map(floatToGoString, RPC_SECONDS), "+Inf"]
        for name, counts in list(self._buckets.items()):
            if not any(counts):
                continue  # never called
            lasted.add_metric([name], list(zip(edges, accumulate(counts), strict=True)), self._sums[name][0])
        yield from (ended, lasted)
