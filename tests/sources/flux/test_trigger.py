import itertools
from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages.exposition import LEADER, Page, Sums
from scaler.clients.pages.reader import UrlPages
from scaler.core.domain import Assessment, MetricSpec, Place
from scaler.core.errors import Refused, Unavailable
from scaler.sources.base import NAMESPACE, Claim
from scaler.sources.flux import SOURCE
from scaler.sources.flux.pods import ControllerPod, controller_pod
from scaler.sources.flux.trigger import FluxTrigger
from scaler.sources.flux.work import Artifact, Work

NOW = 1_000_000.0
DEPTH, ADDS, WORKERS = "workqueue_depth", "workqueue_adds_total", "controller_runtime_active_workers"
VERSIONS = itertools.count()
RUNNING = ControllerPod("kustomize-controller-shard1-0", "10.0.0.7", ready=True, leaving=False)
LEADS = {LEADER.name: {"": 1.0}}
IDLE: Sums = {**LEADS, ADDS: {"kustomization": 3.0}, DEPTH: {"kustomization": 0.0}, WORKERS: {"kustomization": 0.0}}


def trigger(**metadata: str) -> FluxTrigger:
    controller = metadata.pop("controller", "kustomize-controller")
    return FluxTrigger.model_validate({NAMESPACE: "apps", "source": "flux", "controller": controller, **metadata})


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


@pytest.mark.parametrize(
    ("controller", "shard", "plurals", "selector", "pods"),
    [
        (
            "kustomize-controller",
            None,
            ["kustomizations"],
            "!sharding.fluxcd.io/key",
            "app=kustomize-controller",
        ),
        ("helm-controller", "a", ["helmreleases"], "sharding.fluxcd.io/key=a", "app=helm-controller-a"),
        (
            "source-controller",
            "a",
            ["gitrepositories", "ocirepositories", "helmrepositories", "helmcharts", "buckets"],
            "sharding.fluxcd.io/key=a",
            "app=source-controller-a",
        ),
        (
            "image-reflector-controller",
            None,
            ["imagerepositories", "imagepolicies"],
            "!sharding.fluxcd.io/key",
            "app=image-reflector-controller",
        ),
        (
            "image-automation-controller",
            None,
            ["imageupdateautomations"],
            "!sharding.fluxcd.io/key",
            "app=image-automation-controller",
        ),
    ],
)
def test_places(controller: str, shard: str | None, plurals: list[str], selector: str, pods: str) -> None:
    parsed = trigger(controller=controller, **({"shard": shard} if shard else {}))
    *works, pods_place = parsed.places()
    assert [
        (place.resource.plural, place.namespace, place.selector) for place in works if isinstance(place, Objects)
    ] == [(plural, "", selector) for plural in plurals]
    assert isinstance(pods_place, Objects)
    assert (pods_place.resource.plural, pods_place.namespace, pods_place.selector) == ("pods", "flux-system", pods)


def test_namespaces_and_pods_of_ones_own() -> None:
    parsed = trigger(namespaces="apps,infra", podSelector="app.kubernetes.io/part-of=flux", podNamespace="gitops")
    assert [place.namespace for place in parsed.places() if isinstance(place, Objects)] == ["apps", "infra", "gitops"]
    assert parsed.claims() == tuple(Claim("kubernetes", namespace) for namespace in ("apps", "infra", "gitops"))
    assert trigger().claims() == (Claim("kubernetes", "*"), Claim("kubernetes", "flux-system"))


@pytest.mark.parametrize(
    ("metadata", "selector", "pods"),
    [
        ({"shardLabel": "team"}, "!team", "kustomize-controller"),
        ({"shardLabel": "acme.io/shard", "shard": "a"}, "acme.io/shard=a", "kustomize-controller-a"),
        ({"watchLabelSelector": "!team"}, "!team", "kustomize-controller"),
        ({"watchLabelSelector": "team notin (platform)"}, "team notin (platform)", "kustomize-controller"),
        ({"watchLabelSelector": "team!=a, env notin (x,y)"}, "team!=a, env notin (x,y)", "kustomize-controller"),
        ({"watchLabelSelector": "team==a"}, "team==a", "kustomize-controller-a"),
        ({"watchLabelSelector": "team in (a),!b"}, "team in (a),!b", "kustomize-controller-a"),
    ],
    ids=str,
)
def test_the_objects_are_those_of_the_controllers_own_flag(metadata: dict[str, str], selector: str, pods: str) -> None:
    works, pods_place = trigger(**metadata).places()
    assert isinstance(works, Objects)
    assert isinstance(pods_place, Objects)
    assert (works.selector, pods_place.selector) == (selector, f"app={pods}")


@pytest.mark.parametrize("selector", ["team in (a,b)", "team", "team=a,env=b", "team=a,env", "team="])
def test_where_the_flag_does_not_name_one_shard_the_pods_must_be_named(selector: str) -> None:
    with pytest.raises(ValidationError, match="podSelector: required, because watchLabelSelector does not name one"):
        trigger(watchLabelSelector=selector)
    parsed = trigger(watchLabelSelector=selector, podSelector="app=k")
    assert parsed.workload == f"kustomize-controller ({selector})"


def test_selections_have_metrics_of_their_own() -> None:
    different = [{}, {"shard": "a"}, {"shardLabel": "team"}, {"shardLabel": "team", "shard": "a"}]
    different += [{"watchLabelSelector": "team=a"}, {"watchLabelSelector": "team!=a"}]
    assert len({trigger(**metadata).specs()[0].name for metadata in different}) == len(different)
    assert trigger(shard="a").specs()[0].name == "flux-kustomize-controller-a"


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
    (pods,) = (part for part in found.components if part.name == "pods")
    assert "none in flux-system has app=kustomize-controller: it sleeps, or podSelector" in pods.note


def test_defaults_and_specs() -> None:
    parsed = trigger()
    assert parsed.specs() == (MetricSpec("flux-kustomize-controller", 10.0),)
    assert (parsed.refresh_seconds, parsed.idle_refresh_seconds, parsed.settle_seconds) == (5, 0.5, 0)
    assert (parsed.due_lead_seconds, parsed.retry_hold_seconds, parsed.wake_on_interval) == (30, 600, True)
    names = {trigger(shard=shard).specs()[0].name for shard in ("shard1", "Shard1", "shard-1")}
    assert len(names) == 3
    assert all(name.startswith("flux-kustomize-controller-shard") for name in names)
    assert trigger(pendingObjects="2.5").specs()[0].target == 2.5
    assert SOURCE.trigger is FluxTrigger


@pytest.mark.parametrize(
    "metadata",
    [
        {"controller": "notification-controller"},
        {"shard": "a b"},
        {"shard": "-a"},
        {"namespaces": "apps,"},
        {"namespaces": "team-*"},
        {"namespaces": "../secrets"},
        {"podNamespace": "../x"},
        {"podSelector": "app=a=b"},
        {"shardLabel": "a/b/c"},
        {"shardLabel": "!a"},
        {"watchLabelSelector": "a in b"},
        {"watchLabelSelector": "a>1"},
        {"watchLabelSelector": "a=1", "shard": "1"},
        {"watchLabelSelector": "a=1", "shardLabel": "a"},
        {"port": "0"},
        {"port": "65536"},
        {"path": "metrics"},
        {"pendingObjects": "0"},
        {"wakeOnInterval": "no"},
        {"metricsURL": "http://x"},
    ],
    ids=lambda metadata: "-".join(metadata.values()),
)
def test_wrong_metadata(metadata: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        trigger(**metadata)


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
