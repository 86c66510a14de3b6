"""The clusters that Argo CD manages. Of a cluster Secret only its UID, server and shard are kept."""

from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from scaler.clients.kubernetes.objects import Resource
from scaler.sources.argocd.sharding import Cluster

SECRETS = Resource("", ("v1",), "secrets")
CLUSTER_SECRETS = "argocd.argoproj.io/secret-type=cluster"
IN_CLUSTER = "https://kubernetes.default.svc"
"""The server of the cluster in which Argo CD itself runs."""


def cluster(raw: Mapping[str, Any]) -> Cluster:
    """Return what decides the shard of a cluster Secret (argo-cd util/db/cluster.go, `SecretToCluster`).

    A `shard` that is not a number is ignored, as Argo CD does.
    """
    data = raw.get("data") or {}
    try:
        pin = int(b64decode(data["shard"], validate=True)) if "shard" in data else None
    except ValueError:
        pin = None
    server = b64decode(data["server"], validate=True).decode().rstrip("/")
    return Cluster(raw["metadata"]["uid"], server, pin)


def managed(found: Iterable[Cluster], destinations: Iterable[str], *, in_cluster: bool) -> tuple[Cluster, ...]:
    """Return the clusters that are distributed to shards: one for each server, with the number of its applications.

    Of Secrets with the same server one counts: in Argo CD the one that it saw last, here the last of `found`. The own
    cluster needs no Secret unless `in_cluster` is False (`cluster.inClusterEnabled: "false"`).
    """
    applications = Counter(destinations)
    by_server = {each.server: each for each in found}
    if not in_cluster:
        by_server.pop(IN_CLUSTER, None)
    elif IN_CLUSTER not in by_server:
        by_server[IN_CLUSTER] = Cluster("", IN_CLUSTER)
    return tuple(replace(each, applications=applications[server]) for server, each in by_server.items())
