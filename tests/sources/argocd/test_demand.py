"""What readings of Argo CD ask for: repo-servers, shards and applications that are overdue."""

import itertools
import math
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages.exposition import Page, Sums
from scaler.core.domain import Assessment, Place
from scaler.core.errors import Unavailable
from scaler.sources.argocd.applications import Application
from scaler.sources.argocd.sharding import Cluster, owners
from scaler.sources.argocd.trigger import ArgocdTrigger
from tests.sources.argocd.triggers import controller, trigger

NOW = 1_000_000.0
VERSIONS = itertools.count()
PENDING = "argocd_repo_pending_request_total"
QUEUES = ("app_reconciliation_queue", "app_operation_processing_queue")


def queue_page(reconciliation: float = 0.0, operation: float = 0.0, **more: dict[str, float]) -> Sums:
    depth = dict(zip(QUEUES, (reconciliation, operation), strict=True))
    return {"workqueue_depth": {**depth, "project_reconciliation_queue": 99.0}, **more}


def fleet(size: int) -> list[Cluster]:
    return [Cluster(f"uid-{number:03}", f"https://c{number}") for number in range(size)]


def assess(
    trigger: ArgocdTrigger,
    pages: Iterable[Sums] = (),
    clusters: Iterable[Cluster] = (),
    applications: Iterable[Application] = (),
) -> Assessment:
    objects = {"secrets": tuple(clusters), "applications": tuple(applications)}
    readings: dict[Place, Any] = {}
    for place in trigger.places():
        if isinstance(place, Objects):
            readings[place] = ObjectList(objects[place.resource.plural], next(VERSIONS), NOW)
        else:
            readings[place] = tuple(Page(f"pod-{number}", page) for number, page in enumerate(pages))
    return trigger.assess(readings, NOW)


def values(assessment: Assessment) -> list[float]:
    return [metric.value for metric in assessment.metrics]


# repo-server


def test_repo_server() -> None:
    found = assess(trigger("repo-server"), [{PENDING: {"": 4.0}}, {PENDING: {"": 3.0}}, {"go_info": {"": 1.0}}])
    assert (values(found), found.active) == ([7], True)
    assert values(assess(trigger("repo-server"), [{PENDING: {"": 0.0}}])) == [0]
    with pytest.raises(Unavailable):
        assess(trigger("repo-server"), [{"go_info": {"": 1.0}}])


# applicationset-controller


def test_applicationset_controller() -> None:
    page: Sums = {
        "workqueue_depth": {"applicationset": 4.0},
        "controller_runtime_active_workers": {"applicationset": 2.0},
    }
    found = assess(trigger("applicationset-controller"), [page])
    assert (values(found), found.active) == ([6], True)
    with pytest.raises(Unavailable, match="applicationset"):
        assess(trigger("applicationset-controller"), [queue_page()])


# application-controller: shards worth running


@pytest.mark.parametrize(
    ("pages", "clusters", "metadata", "expected"),
    [
        ([queue_page()], 9, {}, 1),
        ([queue_page(50)], 9, {}, 1),
        ([queue_page(50, 1)], 9, {}, 2),
        ([queue_page(100), queue_page(60)], 9, {}, 4),
        ([queue_page(5000)], 9, {}, 10),
        ([queue_page(5000)], 9, {"inCluster": "false"}, 9),
        ([queue_page(5000)], 9, {"maxShards": "6"}, 6),
        ([queue_page(5000)], 0, {}, 1),
        ([queue_page(5000)], 0, {"inCluster": "false"}, 1),
        ([queue_page(10, 90)], 9, {"queues": "app_reconciliation_queue", "queueLength": "5"}, 2),
    ],
    ids=[
        "idle",
        "just one",
        "one item more",
        "all pods",
        "one for each cluster",
        "without its own cluster",
        "the user's limit",
        "only its own cluster",
        "no cluster",
        "other queues",
    ],
)
def test_shards_worth_running(pages: list[Sums], clusters: int, metadata: dict[str, str], expected: int) -> None:
    found = assess(controller(shardingAlgorithm="round-robin", **metadata), pages, fleet(clusters))
    assert (values(found)[0], found.active) == (expected, True)


@settings(deadline=None)
@given(
    pressure=st.floats(0, 5000),
    late=st.integers(0, 5000),
    clusters=st.lists(st.builds(Cluster, st.uuids().map(str), st.uuids().map(str), st.none() | st.integers(0, 9))),
    algorithm=st.sampled_from(["legacy", "round-robin", "consistent-hashing"]),
    target=st.sampled_from(["1", "2.5", "100"]),
)
def test_no_metric_asks_for_a_shard_without_a_cluster(
    pressure: float, late: int, clusters: list[Cluster], algorithm: Any, target: str
) -> None:
    trigger = controller(shardingAlgorithm=algorithm, inCluster="false", overdueApplications=target)
    found = assess(trigger, [queue_page(pressure)], clusters, [Application("", 0.0)] * late)
    desired = [
        max(1, math.ceil(metric.value / spec.target))
        for metric, spec in zip(found.metrics, trigger.specs(), strict=True)
    ]
    for shards in desired:  # as the HPA computes them, and the larger one is run
        assert shards == 1 or set(range(shards)) <= set(owners(clusters, shards, algorithm))
    assert desired[0] <= max(1, math.ceil(pressure / 50))
    assert values(found)[1] <= late


def test_overdue_applications() -> None:
    applications = [Application("", NOW - age) for age in (0, 179, 181, 200, 9999)] + [Application("", math.inf)]
    found = assess(controller(), [queue_page()], fleet(3), applications)
    assert values(found) == [1, 3]
    assert NOW < found.until <= NOW + 10
    assert values(
        assess(controller(resyncSeconds="60", resyncJitterSeconds="0"), [queue_page()], [], applications)
    ) == [1, 4]
    assert values(assess(controller(resyncSeconds="0"), [queue_page()])) == [1]


def test_overdue_applications_beyond_what_shards_can_share_are_only_shown() -> None:
    found = assess(controller(shardingAlgorithm="round-robin"), [queue_page()], fleet(2), [Application("", 0.0)] * 950)
    assert values(found) == [1, 300]
    (part,) = (part for part in found.components if part.name == "overdue applications")
    assert (part.value, part.note) == (950, "counted as 300: more shards would leave one without a cluster")


def test_consistent_hashing_weighs_applications() -> None:
    trigger = controller(shard="0", shards="2", shardingAlgorithm="consistent-hashing", inCluster="false")
    clusters = fleet(8)
    bare = assess(trigger, clusters=clusters)
    heavy = assess(
        trigger, clusters=clusters, applications=[Application(each.server, NOW) for each in clusters[:1]] * 50
    )
    assert bare.components != heavy.components


def test_without_the_right_to_read_secrets_clusters_are_counted() -> None:
    pages = [
        queue_page(5000, argocd_cluster_info={"https://a": 1.0, "https://b": 1.0}),
        queue_page(0, argocd_cluster_info={"https://b": 1.0, "https://c": 1.0}),
        queue_page(0),
    ]
    found = assess(controller(clusters="metrics"), pages)
    assert values(found)[0] == 3
    with pytest.raises(Unavailable, match="none of 2 pages has argocd_cluster_info"):
        assess(controller(clusters="metrics"), [queue_page(5000), queue_page()])


@pytest.mark.parametrize(("ago", "told"), [(0, False), (59, False), (60, True), (-1, False)])
def test_a_pod_that_has_just_started_does_not_tell_of_its_clusters_yet(ago: float, *, told: bool) -> None:
    two = {"https://a": 1.0, "https://b": 1.0}
    pages = [
        queue_page(5000, argocd_cluster_info=two),
        queue_page(0, process_start_time_seconds={"": NOW - ago}),
        queue_page(0, argocd_cluster_info=two, process_start_time_seconds={"": NOW}),
        queue_page(0),
    ]
    if told:
        assert values(assess(controller(clusters="metrics"), pages))[0] == 2
    else:
        with pytest.raises(Unavailable, match=f"started {max(0, ago)} s ago and has no argocd_cluster_info yet"):
            assess(controller(clusters="metrics"), pages)


@pytest.mark.parametrize(
    "pages",
    [
        [{"workqueue_depth": {"project_reconciliation_queue": 3.0}}],
        [queue_page(), {"workqueue_depth": {"project_reconciliation_queue": 3.0}}],
        [queue_page(math.nan)],
    ],
    ids=["not its queues", "one pod without", "NaN"],
)
def test_pages_that_do_not_tell_of_the_queues_are_a_fault(pages: list[Sums]) -> None:
    with pytest.raises(Unavailable):
        assess(controller(), pages, fleet(3))


# application-controller: fixed shards


@pytest.mark.parametrize(
    ("shard", "clusters", "active"),
    [
        ("0", [], True),
        ("1", [], False),
        ("1", [Cluster("6d88fc37-0749-46af-a796-57f2b085622c", "https://a")], True),
        ("2", [Cluster("6d88fc37-0749-46af-a796-57f2b085622c", "https://a")], False),
        ("2", [Cluster("6d88fc37-0749-46af-a796-57f2b085622c", "https://a", 2)], True),
        ("0", [Cluster("u", "https://kubernetes.default.svc", 1)], False),
        ("0", [Cluster("u", "https://a", 7)], True),
    ],
    ids=["own cluster", "nothing", "by hash", "not by hash", "pinned", "own cluster pinned away", "pinned too high"],
)
def test_fixed_shard(shard: str, clusters: list[Cluster], active: bool) -> None:  # noqa: FBT001 - a table
    found = assess(controller(shard=shard, shards="3"), clusters=clusters)
    assert (values(found), found.active) == ([float(active)], active)


def test_a_namespace_without_clusters_is_doubtful_for_a_shard_without_any() -> None:
    doubt = "namespace argo has no Secret of a cluster: is it that of Argo CD? Check `namespace`"
    found = assess(controller(shard="1", shards="3", namespace="argo"))
    assert (found.active, found.doubts, found.reasons[1:]) == (False, (doubt,), (doubt,))
    assert assess(controller(shard="0", shards="3", namespace="argo")).doubts == ()
    assert assess(controller(shard="1", shards="3"), clusters=[Cluster("u", "https://a", 2)]).doubts == ()


def test_a_repo_server_that_never_had_a_request_pending_says_so() -> None:
    silent, busy = {"argocd_git_request_total": {"": 5.0}}, {PENDING: {"": 2.0}}
    found = assess(trigger("repo-server"), [silent, silent])
    assert (values(found), found.active) == ([0.0], True)
    assert found.components[0].note.startswith(f"no page has {PENDING}: no manifest was generated since")
    assert assess(trigger("repo-server"), [silent, busy]).components[0].note.startswith("in hand")


@settings(deadline=None)
@given(clusters=st.lists(st.builds(Cluster, st.uuids().map(str), st.uuids().map(str)), max_size=12))
def test_every_cluster_has_a_shard_that_runs(clusters: list[Cluster]) -> None:
    running = [assess(controller(shard=str(number), shards="4"), clusters=clusters).active for number in range(4)]
    assert running[0]  # the own cluster
    assert {number for number, runs in enumerate(running) if runs} == {0, *owners(clusters, 4, "legacy")}
