import random
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.sources.argocd.sharding import Algorithm, Cluster, full_fleet, owners

ALGORITHMS: tuple[Algorithm, ...] = ("legacy", "round-robin", "consistent-hashing")


def clusters_of(uids: Iterable[str]) -> tuple[Cluster, ...]:
    return tuple(Cluster(uid, f"https://{uid}") for uid in uids)


@pytest.mark.parametrize(
    ("uid", "shards", "owner"),
    [
        # argo-cd controller/sharding/sharding_test.go, TestGetClusterFilterLegacy
        ("1", 2, 0),
        ("2", 2, 1),
        ("3", 2, 0),
        ("4", 2, 1),
        ("1", 1, 0),
        ("", 10, 0),
        # FNV-1a of it is 2634360934
        ("6d88fc37-0749-46af-a796-57f2b085622c", 3, 1),
        ("6d88fc37-0749-46af-a796-57f2b085622c", 4, 2),
        ("6d88fc37-0749-46af-a796-57f2b085622c", 1_000_000, 360_934),
    ],
)
def test_legacy_is_a_hash_of_the_uid(uid: str, shards: int, owner: int) -> None:
    assert owners(clusters_of([uid]), shards, "legacy") == (owner,)


@pytest.mark.parametrize(
    ("uids", "shards", "expected"),
    [
        # sharding_test.go, TestGetShardByIndexModuloReplicasCountDistributionFunction2
        (["1", "2", "3", "4", "5"], 1, (0, 0, 0, 0, 0)),
        (["1", "2", "3", "4", "5"], 2, (0, 1, 0, 1, 0)),
        (["1", "2", "3", "4", "5"], 3, (0, 1, 2, 0, 1)),
        # shuffle_test.go, TestShuffle: in the order of the UIDs, wherever they come in the list
        (["20", "30", "40", "50", "60", "25"], 3, (0, 2, 0, 1, 2, 1)),
        # the own cluster without a Secret has no UID and comes first
        (["b", "", "a"], 3, (2, 0, 1)),
    ],
)
def test_round_robin_deals_in_the_order_of_the_uids(uids: list[str], shards: int, expected: tuple[int, ...]) -> None:
    assert owners(clusters_of(uids), shards, "round-robin") == expected


def test_consistent_hashing_passes_the_test_of_argo_cd() -> None:
    # sharding_test.go, TestConsistentHashingWhenClusterIsAddedAndRemoved
    clusters = clusters_of([f"{number:06d}" for number in range(133)])
    three, two = (owners(clusters, shards, "consistent-hashing") for shards in (3, 2))
    assert all(0.9 * 133 / 3 <= three.count(shard) <= 1.1 * 133 / 3 for shard in range(3))
    assert all(before == after for before, after in zip(three, two, strict=True) if before != 2)


def naive_consistent_hashing(clusters: Sequence[Cluster], shards: int) -> tuple[int, ...]:
    """Write controller/sharding/consistent/consistent.go down once more, with a ring of its own for every fleet."""

    def point(key: str) -> int:
        return int.from_bytes(blake2b(key.encode(), digest_size=64).digest()[:8], "little")

    servers = {}
    for shard in range(shards):
        for number in range(1000):
            servers[point(f"{shard}{number}")] = shard
    ring = sorted(servers)
    loads = dict.fromkeys(range(shards), 0)
    placed = {}
    for cluster in sorted(clusters, key=lambda each: each.uid):
        mean = (sum(loads.values()) + 1) // shards or 1
        at = point(cluster.uid)
        while True:
            at = ring[bisect_right(ring, at) % len(ring)]
            if loads[servers[at]] < ceil(mean * 1.25):
                break
        loads[servers[at]] += cluster.applications
        placed[cluster.uid] = servers[at]
    return tuple(placed[cluster.uid] for cluster in clusters)


@settings(deadline=None, max_examples=50)
@given(
    uids=st.lists(st.uuids().map(str), unique=True, max_size=30),
    weights=st.lists(st.integers(0, 50), min_size=30, max_size=30),
    shards=st.integers(2, 24),
)
@pytest.mark.slow
def test_consistent_hashing_is_that_of_argo_cd(uids: list[str], weights: list[int], shards: int) -> None:
    clusters = tuple(
        Cluster(uid, uid, applications=weight) for uid, weight in zip(uids, weights[: len(uids)], strict=True)
    )
    assert owners(clusters, shards, "consistent-hashing") == naive_consistent_hashing(clusters, shards)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("pin", "shards", "owner"),
    [(2, 3, 2), (0, 3, 0), (3, 3, 0), (99, 3, 0), (5, 1, 0), (-1, 3, -1)],
    ids=["in range", "zero", "equal to the number", "too high", "one shard", "negative"],
)
def test_pin(algorithm: Algorithm, pin: int, shards: int, owner: int) -> None:
    assert owners((Cluster("2", "https://b", pin),), shards, algorithm) == (owner,)


def test_pinned_clusters_still_take_their_turn() -> None:
    clusters = (Cluster("1", "https://a"), Cluster("2", "https://b", 0), Cluster("3", "https://c"))
    assert owners(clusters, 3, "round-robin") == (0, 0, 2)


FLEETS = st.lists(
    st.builds(
        Cluster,
        uid=st.uuids().map(str),
        server=st.uuids().map(str),
        pin=st.none() | st.none() | st.integers(-1, 12),
        applications=st.integers(0, 20),
    ),
    max_size=14,
).map(tuple)


@settings(deadline=None)
@given(clusters=FLEETS, most=st.integers(1, 16), algorithm=st.sampled_from(ALGORITHMS))
def test_full_fleet_is_the_largest_without_an_idle_shard(
    clusters: tuple[Cluster, ...], most: int, algorithm: Algorithm
) -> None:
    def full(shards: int) -> bool:
        return set(range(shards)) <= set(owners(clusters, shards, algorithm))

    found = full_fleet(clusters, most, algorithm)
    assert 1 <= found <= most
    assert found == 1 or full(found)
    assert not any(full(shards) for shards in range(found + 1, most + 1))
    assert found <= full_fleet(clusters, most + 1, algorithm)


def test_legacy_leaves_shards_idle() -> None:
    # argo-cd#9633: of 8 shards for 8 clusters about 8 * (1 - (7/8)^8) = 5.25 own something
    dice = random.Random(7)
    fleets = [clusters_of([f"{dice.getrandbits(128):032x}" for _ in range(8)]) for _ in range(400)]
    used = sum(len(set(owners(clusters, 8, "legacy"))) for clusters in fleets) / len(fleets)
    assert used == pytest.approx(5.25, abs=0.15)
    assert sum(full_fleet(clusters, 8, "legacy") for clusters in fleets) / len(fleets) < 5
    assert all(full_fleet(clusters, 8, "round-robin") == 8 for clusters in fleets)
