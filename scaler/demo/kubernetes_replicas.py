"""A ReplicaSet of the API double: its pods, and the order in which its controller deletes them."""

import json
import math
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cmp_to_key

from scaler.core.clock import Clock
from scaler.demo.kubernetes import KubernetesDouble
from scaler.demo.kubernetes_store import JsonObject

COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def is_active(pod: JsonObject) -> bool:
    """Tell whether `pod` is active: it has not ended and is not being deleted."""
    return pod["status"]["phase"] not in {"Succeeded", "Failed"} and "deletionTimestamp" not in pod["metadata"]


def deletion_order(pods: Iterable[JsonObject], now: float) -> list[JsonObject]:
    """Return active `pods` of a ReplicaSet in the order in which its controller deletes them at Unix time `now`.

    First come unscheduled pods, then pending ones, those not ready, with the lowest deletion cost, with more pods on
    the same node, ready for a shorter time, restarted more often, created later. Times are compared by the logarithm of
    their age, and equal ones by uid. Source: Kubernetes pkg/controller/controller_utils.go, ActivePodsWithRanks and
    logarithmicRankDiff.
    """
    pods = list(pods)
    nodes = Counter(node for pod in pods if (node := _node(pod)))

    def compare(one: JsonObject, other: JsonObject) -> int:
        for first, second in zip(_before_age(one, nodes), _before_age(other, nodes), strict=True):
            if first != second:
                return -1 if first < second else 1
        ready = _ready_since(one), _ready_since(other)
        if _is_ready(one) and _is_ready(other) and ready[0] != ready[1]:
            return _by_age(one, other, ready, now)
        restarts = _restarts(one), _restarts(other)
        if restarts[0] != restarts[1]:
            return restarts[1] - restarts[0]
        created = _time(one["metadata"]["creationTimestamp"]), _time(other["metadata"]["creationTimestamp"])
        return _by_age(one, other, created, now) if created[0] != created[1] else 0

    return sorted(pods, key=cmp_to_key(compare))


def _before_age(pod: JsonObject, nodes: Counter[str]) -> Sequence[int]:
    annotations = pod["metadata"].get("annotations") or {}
    return (
        bool(_node(pod)),
        _PHASES[pod["status"]["phase"]],
        _is_ready(pod),
        _cost(annotations.get(COST, "0")),
        -nodes[_node(pod)],
    )


def _cost(text: str) -> int:
    """Return the cost in `text` as Kubernetes parses it: 0 if it is malformed."""
    digits = text.removeprefix("-")
    fits = digits.isascii() and digits.isdigit() and (digits == "0" or not digits.startswith("0")) and text != "-0"
    return int(text) if fits and -(2**31) <= int(text) < 2**31 else 0


def _by_age(one: JsonObject, other: JsonObject, times: tuple[float, float], now: float) -> int:
    ranks = [math.floor(math.log2((now - time) * 1e9)) if now > time else -1 for time in times]
    if ranks[0] != ranks[1]:
        return ranks[0] - ranks[1]
    return -1 if one["metadata"]["uid"] < other["metadata"]["uid"] else 1


def _node(pod: JsonObject) -> str:
    return str(pod["spec"].get("nodeName", ""))


def _ready(pod: JsonObject) -> JsonObject:
    return next((each for each in pod["status"].get("conditions", ()) if each["type"] == "Ready"), {})


def _is_ready(pod: JsonObject) -> bool:
    return _ready(pod).get("status") == "True"


def _ready_since(pod: JsonObject) -> float:
    return _time(_ready(pod).get("lastTransitionTime", "1970-01-01T00:00:00Z"))


def _restarts(pod: JsonObject) -> int:
    return max((each["restartCount"] for each in pod["status"].get("containerStatuses", ())), default=0)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


class ReplicaSet:
    """Pods that run at once, spread over `nodes`; a deleted pod runs until `gone` is called."""

    def __init__(self, api: KubernetesDouble, clock: Clock, namespace: str, name: str, nodes: int = 3) -> None:
        """Start without pods."""
        self._api, self._clock = api, clock
        self.namespace, self.name, self._nodes = namespace, name, nodes
        self._uid = f"uid-{namespace}-{name}"
        self._made = 0

    def pods(self) -> list[JsonObject]:
        """Return its pods, also those being deleted."""
        store = self._api.store
        stored = store.snapshot(self._api.kinds["pods"], lambda each: each.namespace == self.namespace, store.version)
        found: list[JsonObject] = [json.loads(each.text) for each in stored]
        return [
            pod for pod in found if self._uid in {each["uid"] for each in pod["metadata"].get("ownerReferences", ())}
        ]

    def scale(self, replicas: int) -> tuple[list[str], list[str]]:
        """Scale to `replicas`; return the names of new pods, and of pods to end."""
        active = [pod for pod in self.pods() if is_active(pod)]
        made = [self._make() for _ in range(replicas - len(active))]
        ending = []
        for pod in deletion_order(active, self._clock.wall())[: max(0, len(active) - replicas)]:
            pod["metadata"]["deletionTimestamp"] = self._stamp()
            self._api.put("pods", pod)
            ending.append(pod["metadata"]["name"])
        return made, ending

    def gone(self, name: str) -> None:
        """Remove the pod `name`, which has ended."""
        self._api.delete("pods", self.namespace, name)

    def _make(self) -> str:
        self._made += 1
        name, now = f"{self.name}-{secrets.token_hex(3)[:5]}", self._stamp()
        owner = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "name": self.name,
            "uid": self._uid,
            "controller": True,
        }
        metadata = {
            "name": name,
            "namespace": self.namespace,
            "ownerReferences": [owner],
            "creationTimestamp": now,
        }
        status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": now}]}
        spec = {"nodeName": f"node-{self._made % self._nodes}"}
        self._api.put("pods", {"metadata": metadata, "spec": spec, "status": status})
        return name

    def _stamp(self) -> str:
        return datetime.fromtimestamp(int(self._clock.wall()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
