from base64 import b64encode
from typing import Any

import pytest

from scaler.sources.argocd.clusters import IN_CLUSTER, cluster, managed
from scaler.sources.argocd.sharding import Cluster


def secret(uid: str = "u1", **data: str) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "name": "cluster-1", "annotations": {"note": "hush"}},
        "data": {key: b64encode(value.encode()).decode() for key, value in data.items()},
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"server": "https://a"}, Cluster("u1", "https://a")),
        ({"server": "https://a/"}, Cluster("u1", "https://a")),
        ({"server": "https://a", "shard": "2"}, Cluster("u1", "https://a", 2)),
        ({"server": "https://a", "shard": "two"}, Cluster("u1", "https://a")),
        ({"server": "https://a", "shard": ""}, Cluster("u1", "https://a")),
    ],
    ids=["server", "slash at the end", "pinned", "pinned to no number", "pinned to nothing"],
)
def test_cluster(data: dict[str, str], expected: Cluster) -> None:
    assert cluster(secret(**data)) == expected


def test_nothing_else_of_a_secret_is_kept() -> None:
    kept = cluster(secret(server="https://a", config='{"bearerToken": "hush"}', name="hush"))
    assert "hush" not in repr(kept)
    assert kept == Cluster("u1", "https://a")


@pytest.mark.parametrize(
    "raw",
    [secret(), {"metadata": {"uid": "u1"}}, {**secret(), "data": {"server": "no base64!"}}],
    ids=["no server", "no data", "not encoded"],
)
def test_a_secret_that_is_none_of_a_cluster_is_a_fault(raw: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        cluster(raw)


def test_the_own_cluster_is_there_without_a_secret() -> None:
    assert managed([], [], in_cluster=True) == (Cluster("", IN_CLUSTER),)
    assert managed([], [], in_cluster=False) == ()
    own = Cluster("u1", IN_CLUSTER, 3)
    assert managed([own], [], in_cluster=True) == (own,)
    assert managed([own], [], in_cluster=False) == ()


def test_secrets_that_share_a_server_are_one_cluster() -> None:
    found = [Cluster("u1", "https://a"), Cluster("u2", "https://b"), Cluster("u3", "https://a", 1)]
    assert set(managed(found, [], in_cluster=False)) == {Cluster("u3", "https://a", 1), Cluster("u2", "https://b")}


def test_applications_are_counted_by_server() -> None:
    found = managed(
        [Cluster("u1", "https://a")], ["https://a", "", "https://a", IN_CLUSTER, "https://gone"], in_cluster=True
    )
    assert found == (Cluster("u1", "https://a", applications=2), Cluster("", IN_CLUSTER, applications=1))
