"""Triggers on Argo CD: what they read, and which metadata are wrong."""

import pytest
from pydantic import ValidationError

from scaler.clients.kubernetes.objects import Objects
from scaler.clients.pages.prometheus_query import PrometheusPages
from scaler.clients.pages.reader import PodPages, UrlPages
from scaler.core.domain import MetricSpec
from scaler.sources.argocd import SOURCE
from scaler.sources.argocd.trigger import ArgocdTrigger
from scaler.sources.base import Claim
from tests.sources.argocd.triggers import controller, trigger


def objects_of(trigger: ArgocdTrigger) -> list[tuple[str, str, str]]:
    found = [place for place in trigger.places() if isinstance(place, Objects)]
    return [(place.resource.plural, place.namespace, place.selector) for place in found]


# What is read


@pytest.mark.parametrize(
    ("component", "port"),
    [("repo-server", 8084), ("application-controller", 8082), ("applicationset-controller", 8080)],
)
def test_pods_of_the_official_manifests(component: str, port: int) -> None:
    (pods,) = (place for place in trigger(component).places() if isinstance(place, PodPages))
    assert (pods.namespace, pods.selector) == ("argocd", f"app.kubernetes.io/name=argocd-{component}")
    assert (pods.port, pods.path) == (port, "/metrics")


def test_other_ways_to_the_pages() -> None:
    (pods,) = trigger("repo-server", namespace="gitops", podSelector="app=repo").places()
    assert isinstance(pods, PodPages)
    assert (pods.namespace, pods.selector, pods.port) == ("gitops", "app=repo", 8084)
    (elsewhere,) = trigger("repo-server", podSelector="app=repo", podNamespace="other", port="9000").places()
    assert isinstance(elsewhere, PodPages)
    assert (elsewhere.namespace, elsewhere.port) == ("other", 9000)
    (url,) = trigger(
        "repo-server", metricsURL="http://argocd-repo-server.argocd.svc.cluster.local.:8084/metrics"
    ).places()
    assert isinstance(url, UrlPages)
    (asked,) = trigger("repo-server", prometheus="main", selector='job="argocd-repo-server"').places()
    assert isinstance(asked, PrometheusPages)
    assert trigger("repo-server", prometheus="main").claims() == (Claim("prometheus", "main"),)


def test_objects() -> None:
    secrets = ("secrets", "argocd", "argocd.argoproj.io/secret-type=cluster")
    assert objects_of(controller()) == [secrets, ("applications", "argocd", "")]
    assert objects_of(controller(resyncSeconds="0")) == [secrets]
    assert objects_of(controller(clusters="metrics", resyncSeconds="0")) == []
    assert objects_of(controller(shard="1", shards="3")) == [secrets]
    assert objects_of(
        controller(
            shard="1",
            shards="3",
            shardingAlgorithm="consistent-hashing",
            namespace="gitops",
            applicationNamespaces="a,b",
        )
    ) == [("secrets", "gitops", secrets[2]), ("applications", "a", ""), ("applications", "b", "")]
    assert objects_of(trigger("repo-server")) == []
    claims = controller(namespace="gitops", applicationNamespaces="a,gitops").claims()
    assert claims == (Claim("kubernetes", "gitops"), Claim("kubernetes", "a"))


def test_the_queues_are_read_as_the_workqueue_source_reads_them() -> None:
    (pages, *_) = controller().places()
    assert isinstance(pages, PodPages)
    assert {family.name for family in pages.wanted.families} == {
        "workqueue_depth",
        "workqueue_adds_total",
        "controller_runtime_active_workers",
    }
    (with_clusters, *_) = controller(clusters="metrics").places()
    assert isinstance(with_clusters, PodPages)
    assert "argocd_cluster_info" in {family.name for family in with_clusters.wanted.families}


def test_specs() -> None:
    assert trigger("repo-server").specs() == (MetricSpec("argocd-repo-server", 3.0),)
    assert trigger("applicationset-controller", queueLength="7").specs() == (
        MetricSpec("argocd-applicationset-controller", 7.0),
    )
    assert controller().specs() == (
        MetricSpec("argocd-application-controller-shards", 1.0),
        MetricSpec("argocd-overdue-applications", 100.0),
    )
    assert controller(resyncSeconds="0").specs() == (MetricSpec("argocd-application-controller-shards", 1.0),)
    assert controller(shard="2", shards="4").specs() == (MetricSpec("argocd-application-controller-shard-2", 1.0),)
    assert SOURCE.trigger is ArgocdTrigger


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"component": "server"}, "application-controller"),
        ({"component": "repo-server", "queueLength": "3"}, "queueLength: has no meaning for component repo-server"),
        ({"component": "repo-server", "shard": "0", "shards": "2"}, "shard: has a meaning only for component"),
        ({"component": "application-controller", "pendingRequests": "3"}, "pendingRequests: has no meaning"),
        ({"component": "application-controller", "shard": "0"}, "shard: must come with shards"),
        ({"component": "application-controller", "shards": "2"}, "shard: must come with shards"),
        ({"component": "application-controller", "shard": "2", "shards": "2"}, "be below it"),
        (
            {"component": "application-controller", "shard": "0", "shards": "2", "clusters": "metrics"},
            "clusters: has no meaning for a fixed shard",
        ),
        (
            {"component": "application-controller", "shard": "0", "shards": "2", "metricsURL": "http://x"},
            "metricsURL: has no meaning for a fixed shard",
        ),
        ({"component": "application-controller", "shardingAlgorithm": "random"}, "legacy"),
        ({"component": "application-controller", "maxShards": "0"}, "1"),
        ({"component": "application-controller", "metricType": "Value"}, "must be AverageValue"),
        ({"component": "repo-server", "metricsURL": "http://x", "podSelector": "a=b"}, "give only one of them"),
        ({"component": "repo-server", "metricsURL": "http://x", "port": "1"}, "port: has a meaning only"),
        ({"component": "repo-server", "namespace": "../x"}, "the name of a namespace"),
    ],
)
def test_wrong_metadata(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        trigger(**metadata)


def test_two_metrics_that_cannot_be_split_are_told_as_that() -> None:
    asker = controller()
    assert len(asker.specs()) == 2
    assert "always has both, so it goes with neither scalingModifiers nor a ScaledJob" in asker.one_metric_each
