"""Least privilege, verb by verb: what each source may do is what its places need, and nothing else."""

from collections.abc import Iterable
from typing import Any

import pytest

from scaler.clients.kubernetes.objects import Objects, Resource
from scaler.clients.pages.reader import PODS, PodPages
from scaler.core.domain import Place
from scaler.sources.flux.kinds import ARTIFACTS, CONTROLLERS
from scaler.sources.triggers import parse

Grant = tuple[str, str, str, str]  # namespace (`*`: all), group, resource, verb
FLUX = {kind.resource for kinds in CONTROLLERS.values() for kind in kinds} | {
    resource for resource, _ in ARTIFACTS.values()
}


def granted(objects: Any) -> set[Grant]:
    """Return what the ServiceAccount of the chart may do, checking that every binding leads to it."""
    account = objects.one("ServiceAccount")["metadata"]
    found = set()
    for kind in ("Role", "ClusterRole"):
        for role in objects.of(kind):
            (binding,) = [
                binding
                for binding in objects.of(f"{kind}Binding")
                if binding["roleRef"]
                == {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role["metadata"]["name"]}
                and binding["metadata"].get("namespace") == role["metadata"].get("namespace")
            ]
            (subject,) = binding["subjects"]
            assert subject == {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
            found |= {
                (role["metadata"].get("namespace", "*"), group, resource, verb)
                for rule in role["rules"]
                for group in rule.get("apiGroups", ())
                for resource in rule["resources"]
                for verb in rule["verbs"]
            }
    return found


def read(namespace: str, *resources: Resource) -> set[Grant]:
    return {(namespace, resource.group, resource.plural, verb) for resource in resources for verb in ("list", "watch")}


APPLICATIONS, SECRETS = Resource("argoproj.io", ("v1alpha1",), "applications"), Resource("", ("v1",), "secrets")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        pytest.param({}, set(), id="none"),
        pytest.param({"workqueue": {"podDiscovery": True}}, read("*", PODS), id="pods anywhere"),
        pytest.param(
            {"workqueue": {"podDiscovery": True, "namespaces": ["a", "b"]}},
            read("a", PODS) | read("b", PODS),
            id="pods",
        ),
        pytest.param({"argocd": {"enabled": True}}, read("argocd", PODS, APPLICATIONS), id="argocd"),
        pytest.param(
            {"argocd": {"enabled": True, "clusterSecrets": True, "namespace": "cd", "applicationNamespaces": ["a"]}},
            read("cd", PODS, APPLICATIONS, SECRETS) | read("a", APPLICATIONS),
            id="argocd with Secrets",
        ),
        pytest.param({"flux": {"enabled": True}}, read("flux-system", PODS) | read("*", *FLUX), id="flux"),
        pytest.param(
            {"flux": {"enabled": True, "namespaces": ["flux-system", "a"]}},
            read("flux-system", PODS, *FLUX) | read("a", *FLUX),
            id="flux in namespaces",
        ),
        pytest.param(
            {"workqueue": {"podDiscovery": True, "namespaces": ["argocd"]}, "argocd": {"enabled": True}},
            read("argocd", PODS, APPLICATIONS),
            id="two sources in one namespace",
        ),
    ],
)
def test_a_source_may_do_this_and_nothing_else(chart: Any, sources: dict[str, Any], expected: set[Grant]) -> None:
    assert granted(chart.render({"sources": sources})) == expected


def test_where_busy_pods_are_spared_their_pods_may_be_patched(chart: Any) -> None:
    values = {"spareBusy": {"namespaces": ["shop", "mail"]}}
    patch = {(namespace, "", "pods", "patch") for namespace in ("shop", "mail")}
    objects = chart.render(values)
    assert granted(objects) == read("shop", PODS) | read("mail", PODS) | patch
    assert objects.pod["automountServiceAccountToken"] is True
    beside = {**values, "sources": {"workqueue": {"podDiscovery": True, "namespaces": ["shop"]}}}
    assert granted(chart.render(beside)) == granted(objects)


def test_a_token_that_is_shown_to_pages_may_read_their_metrics(chart: Any) -> None:
    page = {"urls": ["https://*.operators.svc:8443/*"], "serviceAccountToken": True}

    def render(pages: list[dict[str, Any]], **rbac: bool) -> Any:
        return chart.render({"config": {"pages": pages}, "rbac": rbac})

    objects = render([{"urls": ["http://*"]}, page])
    (role,) = objects.of("ClusterRole")
    assert role["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    assert granted(objects) == set()
    assert objects.pod["automountServiceAccountToken"] is True
    assert objects.config["pages"] == [{"urls": ["http://*"]}, page]
    without = render([{**page, "serviceAccountToken": False}])
    assert not without.of("ClusterRole")
    assert without.pod["automountServiceAccountToken"] is False
    assert not render([page], metricsReader=False).of("ClusterRole")
    assert not render([page], create=False).of("ClusterRole")


def test_secrets_are_off_by_default_and_never_cluster_wide(chart: Any) -> None:
    for sources in (
        {"argocd": {"enabled": True}},
        {"argocd": {"enabled": True, "clusterSecrets": True}, "flux": {"enabled": True}},
    ):
        where = {
            namespace
            for namespace, _, resource, _ in granted(chart.render({"sources": sources}))
            if resource == "secrets"
        }
        assert where <= ({"argocd"} if sources["argocd"].get("clusterSecrets") else set())


def test_roles_may_be_left_to_others(chart: Any) -> None:
    objects = chart.render({"rbac": {"create": False}, "sources": {"flux": {"enabled": True}}})
    assert not granted(objects)
    assert objects.pod["automountServiceAccountToken"] is True


def needs(places: Iterable[Place]) -> set[Grant]:
    """Return the rights that reading `places` takes."""
    found = set()
    for place in places:
        if isinstance(place, Objects):
            found |= read(place.namespace or "*", place.resource)
        elif isinstance(place, PodPages):
            found |= read(place.namespace, PODS)
    return found


@pytest.mark.parametrize(
    ("metadata", "sources"),
    [
        (
            {"source": "workqueue", "podSelector": "app=x", "queues": "q"},
            {"workqueue": {"podDiscovery": True, "namespaces": ["shop"]}},
        ),
        ({"source": "argocd", "component": "repo-server"}, {"argocd": {"enabled": True}}),
        ({"source": "argocd", "component": "applicationset-controller"}, {"argocd": {"enabled": True}}),
        (
            {"source": "argocd", "component": "application-controller", "clusters": "metrics"},
            {"argocd": {"enabled": True}},
        ),
        (
            {"source": "argocd", "component": "application-controller"},
            {"argocd": {"enabled": True, "clusterSecrets": True}},
        ),
        (
            {
                "source": "argocd",
                "component": "application-controller",
                "shard": "0",
                "shards": "3",
                "shardingAlgorithm": "consistent-hashing",
            },
            {"argocd": {"enabled": True, "clusterSecrets": True}},
        ),
        *(({"source": "flux", "controller": controller}, {"flux": {"enabled": True}}) for controller in CONTROLLERS),
        (
            {"source": "flux", "controller": "helm-controller", "namespaces": "flux-system,apps"},
            {"flux": {"enabled": True, "namespaces": ["flux-system", "apps"]}},
        ),
    ],
    ids=lambda value: "-".join(value.values()) if "source" in value else "",
)
def test_the_rights_are_enough_for_every_trigger(chart: Any, metadata: dict[str, str], sources: dict[str, Any]) -> None:
    needed = needs(parse(metadata, "shop").places())
    assert needed
    assert needed <= granted(chart.render({"sources": sources}))
