"""Triggers on Flux: what they read, their metrics, and which metadata are wrong."""

import pytest
from pydantic import ValidationError

from scaler.clients.kubernetes.objects import Objects
from scaler.core.domain import MetricSpec
from scaler.sources.base import Claim
from scaler.sources.flux import SOURCE
from scaler.sources.flux.trigger import FluxTrigger
from tests.sources.flux.triggers import trigger


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
