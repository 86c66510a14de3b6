"""Metadata of source `flux`, every key at least once, and what its places may hold."""

from typing import Any

from scaler.clients.kubernetes.objects import ObjectList, Objects
from scaler.clients.pages.exposition import LEADER, Page
from scaler.clients.pages.reader import UrlPages
from scaler.core.domain import Place, Readings
from scaler.sources.flux.pods import ControllerPod
from scaler.sources.flux.trigger import FluxTrigger

EXAMPLES = {
    "a main controller": {"controller": "kustomize-controller"},
    "a shard": {"controller": "helm-controller", "shard": "Shard_1", "wakeOnInterval": "false", "pendingObjects": "3"},
    "a label of one's own": {"controller": "helm-controller", "shard": "a", "shardLabel": "acme.io/shard"},
    "the controller's flag": {
        "controller": "source-controller",
        "watchLabelSelector": "sharding.fluxcd.io/key notin (platform)",
    },
    "some namespaces": {"controller": "source-controller", "namespaces": "a,b", "dueLeadSeconds": "0"},
    "images": {"controller": "image-reflector-controller", "retryHoldSeconds": "60"},
    "automations": {"controller": "image-automation-controller"},
    "chosen pods": {
        "controller": "kustomize-controller",
        "podSelector": "app=k",
        "podNamespace": "gitops",
        "port": "9999",
        "path": "/m",
    },
}


def readings(trigger: FluxTrigger, amount: int, now: float) -> Readings:
    """Return `amount` objects whose spec has changed, and a pod that leads."""
    *works, pods = trigger.places()
    found: dict[Place, Any] = {place: ObjectList((), 0, now) for place in works}
    assert isinstance(works[0], Objects)
    objects = tuple(works[0].project(_changed(number)) for number in range(amount))
    assert None not in objects
    pod = ControllerPod("pod-0", "10.0.0.7", ready=True, leaving=False)
    found |= {works[0]: ObjectList(objects, amount, now), pods: ObjectList((pod,), 1, now)}
    for place in trigger.further_places(found):
        found[place] = (Page(place.url, _sums(works)),) if isinstance(place, UrlPages) else ObjectList((), 0, now)
    return found


def _changed(number: int) -> dict[str, Any]:
    """Return an object of any kind of Flux that the controller has not seen yet."""
    return {
        "metadata": {
            "namespace": "apps",
            "name": f"o{number}",
            "generation": 2,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"interval": "1h"},
        "status": {"observedGeneration": 1},
    }


def _sums(works: list[Any]) -> dict[str, dict[str, float]]:
    queues = {place.resource.plural.removesuffix("s") for place in works} | {"gitrepository", "ocirepository"}
    queues |= {f"{place.resource.plural.removesuffix('ies')}y" for place in works} | {"imagerepository", "imagepolicy"}
    known = dict.fromkeys(queues | {"helmrepository", "helmchart", "bucket"}, 0.0)
    return {LEADER.name: {"": 1.0}, "workqueue_depth": known, "workqueue_adds_total": dict.fromkeys(known, 1.0)}
