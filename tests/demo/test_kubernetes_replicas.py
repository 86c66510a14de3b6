"""The order in which a ReplicaSet's controller deletes pods, and the ReplicaSet of the double."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.demo.clock import ManualClock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_replicas import COST, ReplicaSet, deletion_order, is_active

NOW = 1_800_000_000.0


def stamp(age: float) -> str:
    return datetime.fromtimestamp(NOW - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(
    uid: str = "m",
    *,
    node: str = "n",
    phase: str = "Running",
    ready: bool = True,
    cost: str | None = None,
    since: float = 3_600,
    restarts: int = 0,
    age: float = 4_000,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": uid, "uid": uid, "creationTimestamp": stamp(age)}
    if cost is not None:
        metadata["annotations"] = {COST: cost}
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": stamp(since)}
    status = {"phase": phase, "conditions": [condition], "containerStatuses": [{"restartCount": restarts}]}
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


@pytest.mark.parametrize(
    ("first", "others"),
    [
        (pod("a", node="", cost="9"), [pod("b", phase="Pending", node="x")]),
        (pod("a", phase="Pending", cost="9"), [pod("b", phase="Unknown", node="x")]),
        (pod("a", phase="Unknown", cost="9"), [pod("b", ready=False, node="x")]),
        (pod("a", ready=False, cost="9"), [pod("b", node="x")]),
        (pod("a", cost="-1"), [pod("b", node="x"), pod("c", node="x")]),
        (pod("a"), [pod("b", cost="1", since=1)]),
        (pod("a", cost="+5"), [pod("b", cost="1", node="x")]),
        (pod("a", cost="3000000000"), [pod("b", cost="1", node="x")]),
        (pod("a", since=9_000, age=60), [pod("a2", since=9_000), pod("b", node="x", since=1)]),
        (pod("z", since=60), [pod("a", since=3_600)]),
        (pod("a", since=3_600), [pod("b", since=3_500)]),
        (pod("a", restarts=3), [pod("b", age=1)]),
        (pod("z", age=60), [pod("a", age=3_600)]),
    ],
    ids=[
        "unscheduled",
        "pending",
        "unknown",
        "not ready",
        "cost",
        "no cost is 0",
        "a sign is no cost",
        "too great a cost",
        "doubled up on a node",
        "ready later",
        "about as long ready",
        "restarts",
        "created later",
    ],
)
def test_the_first_to_be_deleted(first: dict[str, Any], others: list[dict[str, Any]]) -> None:
    for pods in ([first, *others], [*others, first]):
        assert deletion_order(pods, NOW)[0] is first


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(1, 1e5)), min_size=1, max_size=12))
def test_the_cost_counts_before_all_ages(pods: list[tuple[int, float]]) -> None:
    made = [pod(f"p{number}", cost=str(cost), since=age) for number, (cost, age) in enumerate(pods)]
    costs = [int(each["metadata"]["annotations"][COST]) for each in deletion_order(made, NOW)]
    assert costs == sorted(costs)


def test_a_replica_set_deletes_by_the_order_and_keeps_what_ends_until_it_is_gone() -> None:
    api, clock = KubernetesDouble(), ManualClock()
    replicas, other = (ReplicaSet(api, clock, "shop", f"{name}-1") for name in ("worker", "web"))
    made, ending = replicas.scale(3)
    other.scale(2)
    assert (len(made), ending) == (3, [])
    kind = api.kinds["pods"]
    for name, cost in zip(made, ("5", "0", "7"), strict=True):
        there = api.store.get(kind, "shop", name)
        assert there is not None
        there["metadata"]["annotations"] = {COST: cost}
        api.put("pods", there)
    assert replicas.scale(2) == ([], [made[1]])
    assert [is_active(each) for each in replicas.pods()].count(False) == 1
    assert replicas.scale(2) == ([], []), "one that ends is not counted"
    replicas.gone(made[1])
    assert sorted(each["metadata"]["name"] for each in replicas.pods()) == sorted([made[0], made[2]])
    assert len(other.pods()) == 2
