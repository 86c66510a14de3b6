"""What readings of a Flux controller ask for: its queue, objects that are due, and workers that are busy."""

import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages.exposition import LEADER, Page, Sums
from scaler.clients.pages.reader import UrlPages
from scaler.core.domain import Assessment, Place
from scaler.core.errors import Refused, Unavailable
from scaler.sources.flux.pods import ControllerPod, controller_pod
from scaler.sources.flux.trigger import FluxTrigger
from scaler.sources.flux.work import Artifact, Work
from tests.sources.flux.triggers import trigger

NOW = 1_000_000.0
DEPTH, ADDS, WORKERS = "workqueue_depth", "workqueue_adds_total", "controller_runtime_active_workers"
VERSIONS = itertools.count()
RUNNING = ControllerPod("kustomize-controller-shard1-0", "10.0.0.7", ready=True, leaving=False)
LEADS = {LEADER.name: {"": 1.0}}
IDLE: Sums = {**LEADS, ADDS: {"kustomization": 3.0}, DEPTH: {"kustomization": 0.0}, WORKERS: {"kustomization": 0.0}}


def listed(objects: Iterable[Any] = ()) -> ObjectList:
    return ObjectList(tuple(objects), next(VERSIONS), NOW)


def assess(
    parsed: FluxTrigger,
    works: Iterable[Work] = (),
    pods: Iterable[ControllerPod] = (),
    artifacts: Iterable[Artifact] = (),
    *,
    pages: dict[str, Sums] | None = None,
    now: float = NOW,
) -> Assessment:
    first, pods_place = parsed.places()[0], parsed.places()[-1]
    readings: dict[Place, Any] = {place: listed() for place in parsed.places()}
    readings |= {first: listed(works), pods_place: listed(pods)}
    for place in parsed.further_places(readings):
        if isinstance(place, UrlPages):
            readings[place] = (Page(place.url, (pages or {})[place.url]),)
        else:
            readings[place] = listed(artifacts)
    return parsed.assess(readings, now)


def value(assessment: Assessment) -> float:
    (metric,) = assessment.metrics
    return metric.value


def test_a_selection_that_matches_nothing_says_so() -> None:
    found = assess(trigger(watchLabelSelector="team notin (platform)"))
    assert not found.active
    doubt = (
        "no object that kustomize-controller takes has the labels team notin (platform), or all that have them are suspended, "
        "so nothing can wait: watchLabelSelector must say what the controller's flag --watch-label-selector says"
    )
    assert found.doubts == (doubt,)
    idle = "inactive: none of 0 objects of kustomize-controller waits, and none is due soon"
    assert found.reasons == (idle, doubt)
    (doubt,) = assess(trigger(shard="a", namespaces="team-a,team-b")).doubts
    assert "no object of team-a, team-b that" in doubt
    assert "nothing can wait: shard and shardLabel must say what" in doubt
    assert doubt.endswith(", and namespaces where they are")
    (pods,) = (part for part in found.components if part.name == "pods")
    assert "none in flux-system has app=kustomize-controller: it sleeps, or podSelector" in pods.note


def test_a_namespace_without_objects_beside_others_is_doubtful() -> None:
    parsed = trigger(namespaces="apps,app")
    (doubt,) = assess(parsed, [Work("apps/a")]).doubts  # the first of them has it
    assert "no object of app that kustomize-controller takes" in doubt
    assert assess(parsed, [Work("apps/a", "changed")]).doubts == ()


def test_asleep_with_nothing_to_do() -> None:
    found = assess(trigger(shard="shard1"), [Work("apps/a"), Work("apps/b")])
    assert (value(found), found.active) == (0, False)
    assert found.reasons == ("inactive: none of 2 objects of kustomize-controller-shard1 waits, and none is due soon",)


@pytest.mark.parametrize("pods", [(), (RUNNING,)], ids=["asleep", "running"])
def test_a_pending_object_wakes_and_holds_it(pods: tuple[ControllerPod, ...]) -> None:
    works = [Work("apps/a", "changed"), Work("apps/b"), Work("apps/c", "deleted")]
    found = assess(trigger(), works, pods, pages={"http://10.0.0.7:8080/metrics": IDLE})
    assert (value(found), found.active) == (2, True)
    assert found.reasons == ("active: 1 spec changed (apps/a); 1 being deleted (apps/c)",)


def test_the_queue_counts_while_it_runs() -> None:
    busy = {**IDLE, DEPTH: {"kustomization": 7.0, "other": 100.0}, WORKERS: {"kustomization": 4.0}}
    found = assess(trigger(), [Work("apps/a", "changed")], [RUNNING], pages={"http://10.0.0.7:8080/metrics": busy})
    assert (value(found), found.active) == (8, True)


def test_a_worker_at_work_is_not_cut_short() -> None:
    busy = {**IDLE, WORKERS: {"kustomization": 1.0}}
    found = assess(trigger(), [], [RUNNING], pages={"http://10.0.0.7:8080/metrics": busy})
    assert (value(found), found.active) == (0, True)


@pytest.mark.parametrize(
    ("seconds", "pending", "active", "until"),
    [(0, 0, False, NOW + 540), (540, 0, True, NOW + 570), (570, 1, True, float("inf"))],
    ids=["early", "within the lead", "due"],
)
def test_due_objects(seconds: float, pending: int, active: bool, until: float) -> None:  # noqa: FBT001 - a table
    found = assess(trigger(), [Work("apps/a", last=NOW, interval=600)], now=NOW + seconds)
    assert (value(found), found.active, found.until) == (pending, active, until)


def test_without_intervals_only_changes_wake_it() -> None:
    works = [Work("apps/a", last=NOW - 9999, interval=600), Work("apps/b", interval=1)]
    assert assess(trigger(), works).active
    assert not assess(trigger(wakeOnInterval="false"), works).active


def test_retries_age_out() -> None:
    works = [Work("apps/a", failed=NOW + 5, changed=NOW)]
    assert assess(trigger(), works, now=NOW + 599).active
    assert not assess(trigger(), works, now=NOW + 600).active
    assert not assess(trigger(retryHoldSeconds="60"), works, now=NOW + 60).active


def test_sources_of_other_shards_are_read_but_only_the_kinds_that_are_used() -> None:
    parsed = trigger(shard="shard1")
    works = [Work("apps/a", source="GitRepository/flux-system/fleet", attempted="main@sha1:1")]
    readings = {place: listed() for place in parsed.places()} | {parsed.places()[0]: listed(works)}
    (sources,) = parsed.further_places(readings)
    assert isinstance(sources, Objects)
    assert (sources.resource.plural, sources.namespace, sources.selector) == ("gitrepositories", "", "")
    fleet = Artifact("GitRepository/flux-system/fleet", "main@sha1:2", "sha1:2", NOW)
    found = assess(parsed, works, artifacts=[fleet])
    assert (value(found), found.active) == (1, True)
    assert not assess(parsed, [Work("apps/a", source=fleet.name, attempted=fleet.revision)], artifacts=[fleet]).active


def test_a_source_that_is_not_read_is_a_fault() -> None:
    works = [Work("apps/a", source="GitRepository/flux-system/fleet")]
    with pytest.raises(Refused, match=r"GitRepository fleet of namespace flux-system, .* add flux-system"):
        assess(trigger(namespaces="apps"), works)
    assert not assess(trigger(namespaces="apps,flux-system"), works).active
    with pytest.raises(Refused, match="uses a Floppy, a kind of source that is not known here"):
        assess(trigger(), [Work("apps/a", source="Floppy/apps/fleet")])


@pytest.mark.parametrize(
    "pod",
    [
        ControllerPod("p", "10.0.0.7", ready=False, leaving=False),
        ControllerPod("p", "", ready=True, leaving=False),
        ControllerPod("p", "10.0.0.7", ready=True, leaving=True),
    ],
    ids=["starting", "without address", "leaving"],
)
def test_a_pod_without_page_is_no_fault(pod: ControllerPod) -> None:
    found = assess(trigger(), [Work("apps/a", "changed")], [pod])
    assert (value(found), found.active) == (1, True)
    assert [(part.value, part.note) for part in found.components if part.name == "pods"] == [
        (1, "0 ready, 0 of them standing by")
    ]


def test_a_pod_that_stands_by_has_no_queue() -> None:
    second = ControllerPod("second", "fd00::7", ready=True, leaving=False)
    pages: dict[str, Sums] = {
        "http://10.0.0.7:8080/metrics": IDLE | {DEPTH: {"kustomization": 2.0}},
        "http://[fd00::7]:8080/metrics": {LEADER.name: {"": 0.0}},
    }
    assert value(assess(trigger(), [], [RUNNING, second], pages=pages)) == 2


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (LEADS, "neither workqueue_depth nor workqueue_adds_total of kustomization"),
        ({**LEADS, ADDS: {"helmrelease": 1.0}}, "neither workqueue_depth nor workqueue_adds_total of kustom"),
        ({**IDLE, DEPTH: {"kustomization": float("nan")}}, "is no count"),
        ({**IDLE, WORKERS: {"kustomization": float("nan")}}, "is no count"),
    ],
    ids=["no queues", "another controller", "NaN", "NaN workers"],
)
def test_a_page_that_does_not_tell_is_a_fault(page: Sums, message: str) -> None:
    with pytest.raises(Unavailable, match=message):
        assess(trigger(), [], [RUNNING], pages={"http://10.0.0.7:8080/metrics": page})


def test_a_queue_that_was_never_needed_is_empty() -> None:
    # controller-runtime's priority queue has no depth series before its first item
    page = {**LEADS, ADDS: {"kustomization": 0.0}}
    assert value(assess(trigger(), [], [RUNNING], pages={"http://10.0.0.7:8080/metrics": page})) == 0


@pytest.mark.parametrize(
    ("status", "metadata", "expected"),
    [
        (
            {"podIP": "10.0.0.7", "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            {},
            ControllerPod("p", "10.0.0.7", ready=True, leaving=False),
        ),
        (
            {"podIP": "10.0.0.7", "phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
            {},
            ControllerPod("p", "10.0.0.7", ready=False, leaving=False),
        ),
        (
            {"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
            {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            ControllerPod("p", "10.0.0.7", ready=True, leaving=True),
        ),
        ({"phase": "Pending"}, {}, ControllerPod("p", "", ready=False, leaving=False)),
        ({"phase": "Succeeded", "podIP": "10.0.0.7"}, {}, None),
        ({"phase": "Failed", "podIP": "10.0.0.7"}, {}, None),
    ],
    ids=["ready", "not ready", "leaving", "pending", "succeeded", "evicted"],
)
def test_pods(status: dict[str, Any], metadata: dict[str, Any], expected: ControllerPod | None) -> None:
    assert controller_pod({"metadata": {"name": "p", **metadata}, "status": status}) == expected
