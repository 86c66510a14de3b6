"""Metadata of source `argocd`, every key at least once, and what its places may hold."""

from typing import Any

from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages.exposition import Page
from scaler.core.domain import Place, Readings
from scaler.sources.argocd.applications import Application
from scaler.sources.argocd.sharding import Cluster
from scaler.sources.argocd.trigger import ArgocdTrigger

QUEUES = ("app_reconciliation_queue", "app_operation_processing_queue", "applicationset")

EXAMPLES = {
    "the repo-server": {"component": "repo-server", "pendingRequests": "2"},
    "the repo-server, by URL": {
        "component": "repo-server",
        "metricsURL": "http://u:hunter2@repo.argocd.svc:8084/metrics",
    },
    "the application-controller": {
        "component": "application-controller",
        "namespace": "argo",
        "queueLength": "40",
        "maxShards": "5",
        "shardingAlgorithm": "round-robin",
        "inCluster": "false",
        "overdueApplications": "50",
        "resyncSeconds": "180",
        "resyncJitterSeconds": "0",
    },
    "without Secrets": {"component": "application-controller", "clusters": "metrics", "applicationNamespaces": "a,b"},
    "through Prometheus": {
        "component": "application-controller",
        "prometheusURL": "https://u:hunter2@prometheus.shop.svc",
        "selector": 'namespace="argocd"',
        "shardingAlgorithm": "consistent-hashing",
    },
    "through a Prometheus by name": {"component": "repo-server", "prometheus": "main"},
    "chosen pods": {
        "component": "applicationset-controller",
        "podSelector": "app=sets",
        "podNamespace": "argo",
        "port": "9999",
        "scheme": "https",
        "path": "/m",
        "queues": "applicationset",
    },
    "a fixed shard": {"component": "application-controller", "shard": "1", "shards": "3"},
}


def readings(trigger: ArgocdTrigger, amount: int, now: float) -> Readings:
    """Return `amount` requests, items, clusters and applications."""
    clusters = tuple(Cluster(f"uid-{number}", f"https://c{number}") for number in range(amount))
    kept: dict[str, tuple[Any, ...]] = {"secrets": clusters, "applications": _applications(amount, now)}
    found: dict[Place, Any] = {}
    for place in trigger.places():
        if isinstance(place, Objects):
            found[place] = ObjectList(kept[place.resource.plural], amount, now)
        else:
            found[place] = (Page("pod-0", _sums(amount)),)
    return found


def _applications(amount: int, now: float) -> tuple[Application, ...]:
    return tuple(Application("https://c0", now - 100_000 * (number % 2)) for number in range(amount))


def _sums(amount: int) -> dict[str, dict[str, float]]:
    return {
        "argocd_repo_pending_request_total": {"": float(amount)},
        "argocd_cluster_info": {f"https://c{number}": 1.0 for number in range(amount + 1)},
        "workqueue_depth": dict.fromkeys(QUEUES, float(amount)),
        "workqueue_adds_total": dict.fromkeys(QUEUES, 1.0),
    }
