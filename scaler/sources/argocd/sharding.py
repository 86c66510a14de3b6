"""Which shard of the application-controller owns which cluster: Argo CD's three algorithms."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Algorithm = Literal["legacy", "round-robin", "consistent-hashing"]
"""The values of `ARGOCD_CONTROLLER_SHARDING_ALGORITHM` (argo-cd common/common.go)."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that Argo CD manages; `uid` is that of its Secret, empty for the own cluster without one.

    `pin` is `data.shard` of the Secret. `applications` is the number of those with this server in
    `spec.destination.server`, for consistent hashing; Argo CD does not count applications with `spec.destination.name`
    either.
    """

    uid: str
    server: str
    pin: int | None = None
    applications: int = 0


def owners(clusters: Sequence[Cluster], shards: int, algorithm: Algorithm) -> tuple[int, ...]:
    """Return the shard of each of `clusters`, which have distinct servers, if `shards` (at least 1) are run.

    A pin that is too high means shard 0, a negative one a shard that is never run (argo-cd controller/sharding/cache.go
    and sharding.go). A pinned cluster still counts in round-robin and for the load of consistent hashing.
    """
    if shards == 1:
        computed: Sequence[int] = [0] * len(clusters)
    elif algorithm == "legacy":
        computed = [_fnv1a(cluster.uid) % shards if cluster.uid else 0 for cluster in clusters]
    else:
        order = sorted(range(len(clusters)), key=lambda index: clusters[index].uid)
        turns = (
            [turn % shards for turn in range(len(order))]
            if algorithm == "round-robin"
            else _bounded([clusters[index] for index in order], shards)
        )
        by_index = dict(zip(order, turns, strict=True))
        computed = [by_index[index] for index in range(len(clusters))]
    return tuple(
        shard if cluster.pin is None else cluster.pin if cluster.pin < shards else 0
        for cluster, shard in zip(clusters, computed, strict=True)
    )


@lru_cache(maxsize=64)
def full_fleet(clusters: tuple[Cluster, ...], most: int, algorithm: Algorithm) -> int:
    """Return the largest number of shards, up to `most`, with which every shard owns a cluster; at least 1.

    It is not enough to count the shards that own a cluster when `most` run: with fewer shards the clusters are
    distributed differently, and again some shards may own none.
    """
    for shards in range(min(most, len(clusters)), 1, -1):
        if len({owner for owner in owners(clusters, shards, algorithm) if owner >= 0}) == shards:
            return shards
    return 1


def _fnv1a(text: str) -> int:
    """Return the 32-bit FNV-1a hash of `text`, as Go's `hash/fnv` does."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _bounded(clusters: Sequence[Cluster], shards: int) -> list[int]:
    """Distribute `clusters`, in the order of their UIDs, by consistent hashing with bounded loads.

    From argo-cd controller/sharding/consistent/consistent.go: the next point clockwise whose shard carries less than
    1.25 times the mean load, where the mean is a whole number and at least 1.
    """
    ring = _ring(-(-shards // _RING_STEP) * _RING_STEP)
    loads = [0] * shards
    placed = []
    for cluster in clusters:
        mean = max(1, (sum(loads) + 1) // shards)
        limit = -(-mean * 5 // 4)
        shard = ring.next_shard(_point(cluster.uid), shards, [load < limit for load in loads])
        loads[shard] += cluster.applications
        placed.append(shard)
    return placed


_POINTS_PER_SHARD = 1_000
_RING_STEP = 16  # one ring serves all numbers of shards up to a multiple of this


def _point(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode()).digest()[:8], "little")


@dataclass(frozen=True, slots=True)
class _Ring:
    """The points of the largest number of shards; for fewer shards, the points of the others are left out.

    Shards can share a point: point 11 of shard 1 and point 1 of shard 11 are both `111`. The highest shard that is run
    owns such a point, so it comes first among equal ones.
    """

    points: Sequence[int]
    shards: Sequence[int]

    def next_shard(self, start: int, shards: int, free: Sequence[bool]) -> int:
        """Return the shard below `shards` that is `free` and owns the first point strictly after `start`."""
        index = bisect_right(self.points, start)
        passed = None
        while True:
            index %= len(self.points)
            point, shard = self.points[index], self.shards[index]
            if shard < shards and point != passed:
                if free[shard]:
                    return shard
                passed = point
            index += 1


@lru_cache(maxsize=8)
def _ring(shards: int) -> _Ring:
    entries = sorted(
        (_point(f"{shard}{number}"), -shard) for shard in range(shards) for number in range(_POINTS_PER_SHARD)
    )
    return _Ring(tuple(point for point, _ in entries), tuple(-shard for _, shard in entries))
