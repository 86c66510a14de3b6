"""What follows by arithmetic from prices and measured slopes: the price of a quick wake-up, and the size of a fleet."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.keda import POLL_SECONDS, SYNC_SECONDS
from bench.spread import Row
from scaler.sources.prices import HOURS_PER_MONTH, dollars_per_month
from scaler.sources.sqs.prices import CostSettings
from scaler.sources.sqs.trigger import SqsTrigger
from scaler.store.due_times import REFRESH_JITTER

IDLE_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1_000, 10_000, 100_000)
HEADROOM = 0.6
"""Share of a core that a replica is given to use; the rest is for bursts."""


def _per_hour(interval: float) -> float:
    """Return the requests for one queue: a refresh begins within the last tenth of its interval."""
    return 3_600 / (interval * (1 - REFRESH_JITTER / 2))


def idle_table(cost: CostSettings) -> list[Row]:
    """Return, for each `idleRefreshSeconds`, how long a message waits and what one idle queue costs."""
    return [
        {
            "idleRefreshSeconds": interval,
            "mean wait s": interval * (1 - REFRESH_JITTER / 2) / 2,
            "longest wait s": interval,
            "requests per month": _per_hour(interval) * HOURS_PER_MONTH,
            "$ per month": dollars_per_month("sqs/", _per_hour(interval), cost),
        }
        for interval in IDLE_SECONDS
    ]


def sizing(steady: Sequence[Mapping[str, Any]], cost: CostSettings) -> list[Row]:
    """Return replicas, processor, memory and bill of fleets, from the slopes between the smallest and the largest run.

    Every ScaledObject is active, as in the runs; 40 % are on SQS, each on a queue of its own, at `refreshSeconds` 10.
    """
    small, large = steady[0], steady[-1]
    growth = large["ScaledObjects"] - small["ScaledObjects"]
    core = (large["core %"] - small["core %"]) / growth / 100
    megabytes = max(0.0, large["RSS MB"] - small["RSS MB"]) / growth
    refresh = SqsTrigger.model_fields["refresh_seconds"].default
    rows = []
    for size in SIZES:
        cores, queues = core * size, 0.4 * size
        replicas = max(2, math.ceil(cores / HEADROOM))
        # A client that goes round the replicas keeps the places of all ScaledObjects fresh on each of them.
        requests = replicas * queues * _per_hour(refresh)
        rows.append({
            "ScaledObjects": size,
            "RPC/s": size * 3 * (1 / POLL_SECONDS + 1 / SYNC_SECONDS),
            "replicas": replicas,
            "cores in all": cores,
            "MB each": small["RSS MB"] + megabytes * size,
            "SQS $ per month": dollars_per_month("sqs/", requests, cost),
        })  # fmt: skip
    return rows
