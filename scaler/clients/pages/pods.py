"""Pods that may have a page of metrics, and what to say where there are none."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler.clients.kubernetes.objects import Resource

PODS = Resource("", ("v1",), "pods")
MAX_LABELS = 8
"""Labels that a message names."""
_OF_ONE_POD = ("pod-template-hash", "controller-revision-hash", "pod-template-generation")
_OF_MACHINES = ("statefulset.kubernetes.io/", "apps.kubernetes.io/", "batch.kubernetes.io/")


@dataclass(frozen=True, slots=True)
class Pod:
    """What matters of a pod that may have a page."""

    name: str
    address: str
    leaving: bool


def project_pod(pod: Mapping[str, Any]) -> Pod | None:
    """Return what matters of `pod`, or None if it has no page: it has ended, or has no address yet.

    A pod that is not ready has one: a standby of a leader election is never ready (Flux source-controller), and what
    a starting or crashing pod has in its queues must not be left out of a sum. A pod without address never ran, so
    that it has no queues; its work is in nobody's queue yet.
    """
    status = pod.get("status", {})
    if status.get("phase") in {"Succeeded", "Failed"} or not status.get("podIP"):
        return None
    metadata = pod["metadata"]
    return Pod(metadata["name"], status["podIP"], "deletionTimestamp" in metadata)


def project_labels(pod: Mapping[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """Return the labels of `pod` if it has a page."""
    if project_pod(pod) is None:
        return None
    return tuple(sorted((pod["metadata"].get("labels") or {}).items()))


def other_labels(selector: str, pods: Iterable[Iterable[tuple[str, str]]]) -> str:
    """Return the labels of `pods` for people, those under the keys of `selector` first, then the most frequent ones."""
    counted = Counter(
        f"{key}={value}"
        for labels in pods
        for key, value in labels
        if key not in _OF_ONE_POD and not key.startswith(_OF_MACHINES)
    )
    ranked = sorted(
        counted,
        key=lambda label: (f"{label.partition('=')[0]}" not in selector, -counted[label], label),
    )
    more = f" and {len(ranked) - MAX_LABELS} more" if len(ranked) > MAX_LABELS else ""
    return ", ".join(ranked[:MAX_LABELS]) + more
