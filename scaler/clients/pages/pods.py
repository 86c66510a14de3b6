"""Pods with a page of metrics, and the labels of all pods for a message if none matches."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler.clients.kubernetes.objects import Resource

PODS = Resource("", ("v1",), "pods")
MAX_LABELS = 8
"""Labels named in one message."""
_OF_ONE_POD = ("pod-template-hash", "controller-revision-hash", "pod-template-generation")
_OF_MACHINES = ("statefulset.kubernetes.io/", "apps.kubernetes.io/", "batch.kubernetes.io/")


@dataclass(frozen=True, slots=True)
class Pod:
    """The part of a pod that matters for its page."""

    name: str
    address: str
    leaving: bool


def project_pod(pod: Mapping[str, Any]) -> Pod | None:
    """Return the part of `pod` that matters, or None if it has no page: it has ended, or has no address yet.

    A pod that is not ready may have a page: a standby of a leader election is never ready (Flux source-controller), and
    a starting or crashing pod may have items in its queues that a sum must not lack. A pod without an address has never
    run, so it has no queues.
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
    """Return the labels of `pods` for people: first those with keys of `selector`, then the most frequent ones."""
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
