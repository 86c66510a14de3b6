"""The clusters that Argo CD manages, from its cluster Secrets: of a Secret its UID, server and shard are kept, nothing else."""

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
"""The server of the cluster that Argo CD itself runs in."""


def cluster(raw: Mapping[str, Any]) -> Cluster:
    """Keep what decides the shard of a cluster Secret (argo-cd util/db/cluster.go, `SecretToCluster`).

    A shard that is no number is no pin, as it is to Argo CD.
    """
    data = raw.get("data") or {}
    try:
        pin = int(b64decode(data["shard"], validate=True)) if "shard" in data else None
    except ValueError:
        pin = None
    server = b64decode(data["server"], validate=True).decode().rstrip("/")
    return Cluster(raw["metadata"]["uid"], server, pin)


def managed(found: Iterable[Cluster], destinations: Iterable[str], *, in_cluster: bool) -> tuple[Cluster, ...]:
    """Return the clusters that shards are computed from: one for each server, with its applications counted.

    Of Secrets that share a server one counts, in Argo CD whichever it saw last, here the last of `found`. The own
    cluster is there without a Secret unless `in_cluster` is off (`cluster.inClusterEnabled: "false"`).
    """
    applications = Counter(destinations)
    by_server = {each.server: each for each in found}
    if not in_cluster:
        by_server.pop(IN_CLUSTER, None)
    elif IN_CLUSTER not in by_server:
        by_server[IN_CLUSTER] = Cluster("", IN_CLUSTER)
    return tuple(replace(each, applications=applications[server]) for server, each in by_server.items())
