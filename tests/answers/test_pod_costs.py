"""Which pods are to carry which deletion cost: every rule by itself."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.answers.pod_costs import COST, Pod, Workload, plan, project_pod, replicas_asked
from scaler.keda.arithmetic import Metric

NOW = 1_800_000_000.0
OURS = "keda-queue-scaler"
FEWER = (Metric("AverageValue", 1.0, 0.5),)


def pod(name: str, cost: str | None = None, *, by: str = OURS, at: float = NOW - 100, **changes: Any) -> Pod:
    writers = () if cost is None else (by,)
    written = at if cost is not None and by == OURS else -math.inf
    made = Pod(name, f"uid-{name}", "ReplicaSet shop-1", "rs-1", cost, writers, written, leaving=False)
    return replace(made, **changes)


def workload(metrics: tuple[Metric, ...] = FEWER, *, settled: bool = True, **costs: int) -> Workload:
    return Workload(costs, NOW, settled, metrics)


def written(workloads: Workload | list[Workload], *pods: Pod) -> list[tuple[str, int]]:
    known = workloads if isinstance(workloads, list) else [workloads]
    return [(write.pod.name, write.cost) for write in plan("shop", known, pods)[1]]


IDLE = pod("idle")


@pytest.mark.parametrize(
    ("there", "cost", "expected"),
    [
        (pod("a"), 3, [("a", 3)]),
        (pod("a"), 0, []),
        (pod("a", "3"), 3, []),
        (pod("a", "3"), 4, [("a", 4)]),
        (pod("a", "3"), 0, [("a", 0)]),
        (pod("a", "3", by="descheduler"), 4, []),
        (pod("a", "3", by="descheduler", writers=("descheduler", OURS)), 4, [("a", 4)]),
        (pod("a", "much"), 0, [("a", 0)]),
        (pod("a", leaving=True), 3, []),
        (pod("a", replica_set="", owner="StatefulSet a"), 3, []),
        (pod("a", replica_set="", owner=""), 3, []),
        (pod("a", "3", at=NOW - 0.5), 4, []),
        (pod("a", "3", at=NOW + 4), 4, []),
        (pod("a", "3", at=NOW - 1), 4, [("a", 4)]),
        (pod("a", "3", at=NOW + 4_000), 4, [("a", 4)]),
    ],
    ids=[
        "busy",
        "idle, as without annotation",
        "as it stands there",
        "more",
        "idle now",
        "of somebody else",
        "ours as well",
        "not a number",
        "ends already",
        "of a StatefulSet",
        "of nobody",
        "just written",
        "written after the reading",
        "written before the reading",
        "by a clock that is wrong",
    ],
)
def test_what_is_written(there: Pod, cost: int, expected: list[tuple[str, int]]) -> None:
    assert written(workload(a=cost, idle=0, more=0), there, IDLE, pod("more")) == expected


def test_nothing_is_written_while_as_many_pods_are_asked_for_as_there_are() -> None:
    assert not written(workload((Metric("AverageValue", 1.0, 1.5),), a=3, idle=0), pod("a"), IDLE)
    assert written(workload((Metric("AverageValue", 1.0, 1.5),), a=3, idle=0), pod("a"), IDLE, pod("starting"))
    assert not written(workload((), a=3, idle=0), pod("a"), IDLE), "KEDA is told an error"


def test_the_pods_of_other_workloads_are_neither_counted_nor_written() -> None:
    other = pod("other", "7", replica_set="rs-2", owner="ReplicaSet blog-1")
    as_many = workload((Metric("AverageValue", 1.0, 2.0),), a=3, idle=0)
    assert not written(as_many, pod("a"), IDLE, other)


def test_a_cost_is_lowered_only_when_the_readings_have_settled() -> None:
    pods = (pod("a", "9"), pod("b"), IDLE)
    assert written(workload(settled=False, a=0, b=2, idle=0), *pods) == [("b", 2)]
    assert written(workload(settled=True, a=0, b=2, idle=0), *pods) == [("b", 2), ("a", 0)]


def test_of_two_triggers_on_a_pod_the_higher_cost_counts() -> None:
    quiet, busy = workload(a=0, idle=0), workload((), a=5)
    assert written([quiet, busy], pod("a"), IDLE) == [("a", 5)]
    assert not written([quiet, replace(busy, costs={"a": 2}, settled=False)], pod("a", "5"), IDLE)


def test_the_dearest_come_first_and_what_is_lowered_last() -> None:
    pods = [pod("a"), pod("b"), pod("c", "9"), pod("d"), IDLE]
    assert [name for name, _ in written(workload(a=2, b=7, c=0, d=4, idle=0), *pods)] == ["b", "d", "a", "c"]
    pods = [pod("a"), pod("b", "20"), pod("c", "1"), IDLE]
    assert written(workload(a=2, b=9, c=2, idle=0), *pods) == [("a", 2), ("c", 2), ("b", 9)]


@pytest.mark.parametrize(
    ("metrics", "pods", "asked"),
    [
        ((), 5, None),
        ((Metric("AverageValue", 10.0, 31.0),), 5, 4),
        ((Metric("AverageValue", 0.75, 3.0), Metric("AverageValue", 1.0, 2.0)), 9, 4),
        ((Metric("Value", 0.75, 0.3),), 10, 4),
        ((Metric("AverageValue", 0.1, 0.3),), 5, 3),
        ((Metric("AverageValue", 1.0, 0.0),), 5, 0),
    ],
)
def test_how_many_pods_the_metrics_ask_for(metrics: tuple[Metric, ...], pods: int, asked: int | None) -> None:
    assert replicas_asked(metrics, pods) == asked


def test_what_is_missing_is_told() -> None:
    (spared,), _ = plan("shop", [workload(ip_10_0_0_1=3)], [pod("a")])
    assert spared.failing
    assert "none of the 1 host names of its processes (such as ip_10_0_0_1) is the name of a pod" in spared.problems[0]
    assert "in namespace shop" in spared.problems[0]

    (spared,), _ = plan("shop", [workload(a=3)], [pod("a", replica_set="", owner="StatefulSet shop")])
    assert spared.failing
    assert (spared.pods, spared.busy) == (0, 0)
    assert spared.problems[0] == (
        "1 pods (such as a) belong to StatefulSet shop: Kubernetes takes only the pods of a ReplicaSet by their deletion "
        "cost, so spareBusy does nothing for them"
    )
    (spared,), _ = plan("shop", [workload(a=3)], [pod("a", replica_set="", owner="")])
    assert "belong to nobody: " in spared.problems[0]

    (spared,), _ = plan("shop", [workload(a=3, b=0)], [pod("a", "1", by="kubectl-annotate"), pod("b")])
    assert not spared.failing
    assert spared.left_alone == 1
    assert f"1 pods (such as a) carry {COST} of somebody else (kubectl-annotate), which is" in spared.problems[0]
    (spared,), _ = plan("shop", [workload(a=3)], [pod("a", "1", writers=())])
    assert "(no field manager)" in spared.problems[0]

    (spared,), _ = plan("shop", [workload()], [pod("a")])
    assert (spared.pods, spared.failing, spared.problems) == (0, False, ())


def test_how_it_stands_is_told() -> None:
    pods = [pod("a"), pod("b", "4"), IDLE, pod("ends", leaving=True)]
    (spared,), _ = plan("shop", [workload(a=3, b=4, idle=0, ends=2)], pods)
    assert (spared.pods, spared.busy, spared.asked, spared.pending, spared.writing) == (3, 2, 1, 1, True)


names = st.sampled_from("abcdef")
everything = st.dictionaries(names, st.integers(0, 20), min_size=2)


@given(everything, st.dictionaries(names, st.integers(0, 20).map(str)), st.booleans())
def test_what_was_written_is_not_written_again(costs: dict[str, int], there: dict[str, str], settled: bool) -> None:  # noqa: FBT001 - drawn
    known = Workload(costs, NOW, settled, FEWER)
    pods = [pod(name, there.get(name)) for name in "abcdef"]
    writes = {write.pod.name: write.cost for write in plan("shop", [known], pods)[1]}
    after = [pod(each.name, str(writes[each.name])) if each.name in writes else each for each in pods]
    assert not written(known, *after)
    assert all(cost == costs[name] for name, cost in writes.items())
    if not settled:
        assert all(cost > int(there.get(name, 0)) for name, cost in writes.items())


def test_a_replica_that_lags_behind_undoes_nothing() -> None:
    """One replica has read that `a` is busy and has written it; the reading of the other is older and says idle."""
    ahead, behind = workload(a=1, idle=0), replace(workload(a=0, idle=0), read_at=NOW - 4)
    assert written(ahead, pod("a", "0", at=NOW - 9), IDLE) == [("a", 1)]
    stands = pod("a", "1", at=NOW + 0.2)
    assert not written(behind, stands, IDLE)
    assert not written(ahead, stands, IDLE)
    stands = pod("a", "3", at=NOW - 3)
    assert not written([workload(a=1, idle=0), behind], stands, IDLE), "the older of two readings counts"


def entry(manager: str, **fields: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": "2027-01-15T08:00:00Z", "fieldsV1": fields}


def test_a_pod_is_read_from_the_api() -> None:
    mine = entry(OURS, **{"f:metadata": {"f:annotations": {f"f:{COST}": {}}}})
    owner = {"kind": "ReplicaSet", "name": "shop-1", "uid": "rs-1", "controller": True}
    metadata = {
        "name": "shop-1-x",
        "uid": "u",
        "ownerReferences": [{"kind": "Node", "name": "n", "uid": "n"}, owner],
        "annotations": {COST: "4", "other": "x"},
        "managedFields": [entry("kubelet", **{"f:status": {}}), mine],
    }
    read = project_pod({"metadata": metadata, "status": {"phase": "Running"}})
    assert read == Pod("shop-1-x", "u", "ReplicaSet shop-1", "rs-1", "4", (OURS,), 1_800_000_000.0, leaving=False)
    assert not read.foreign

    bare = project_pod({"metadata": {"name": "a", "uid": "u", "annotations": None}})
    assert bare == Pod("a", "u", "", "", None, (), -math.inf, leaving=False)
    theirs = project_pod({"metadata": {"name": "a", "uid": "u", "annotations": {COST: "1"}}})
    assert theirs.foreign, "whoever wrote it, it was not the scaler"
    assert project_pod({"metadata": {"name": "a", "uid": "u"}, "status": {"phase": "Failed"}}).leaving
    assert project_pod({"metadata": {"name": "a", "uid": "u", "deletionTimestamp": "2027-01-15T08:00:00Z"}}).leaving
    assert project_pod({"metadata": {"name": "a", "uid": "u"}, "status": {"phase": "Succeeded"}}).leaving
    owners = [{"kind": "StatefulSet", "name": "shop", "uid": "s", "controller": True}]
    other = project_pod({"metadata": {"name": "a", "uid": "u", "ownerReferences": owners}})
    assert (other.owner, other.replica_set) == ("StatefulSet shop", "")


def test_the_last_write_of_the_scaler_counts_and_no_other() -> None:
    cost = {"f:metadata": {"f:annotations": {f"f:{COST}": {}}}}
    ours = [{**entry(OURS, **cost), "time": f"2027-01-15T08:00:0{second}Z"} for second in (1, 3, 2)]
    theirs = [{**entry("kubectl", **cost), "time": "2027-01-15T09:00:00Z"}, {"fieldsV1": cost}, {"manager": "kubelet"}]
    without_time = {"manager": OURS, "fieldsV1": cost}
    metadata = {"name": "a", "uid": "u", "annotations": {COST: "1"}}
    read = project_pod({"metadata": {**metadata, "managedFields": [*ours, without_time, *theirs]}})
    assert read.writers == (OURS, OURS, OURS, OURS, "kubectl", "")
    assert read.written_at == NOW + 3
    assert not read.foreign
    assert project_pod({"metadata": {**metadata, "managedFields": theirs}}).written_at == -math.inf
