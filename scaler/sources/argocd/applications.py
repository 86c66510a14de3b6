"""Applications of Argo CD, and which of them the application-controller has not compared for too long."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scaler.clients.kubernetes.objects import Resource

APPLICATIONS = Resource("argoproj.io", ("v1alpha1",), "applications")
STEP_SECONDS = 5
"""Overdue is judged at multiples of this; of 3,000 applications one becomes overdue every few milliseconds."""


@dataclass(frozen=True, slots=True)
class Application:
    """The part of an Application that matters: `server` of its destination, empty if that has a `name` instead.

    `compared` is the Unix time of its last comparison, or of its creation before the first; infinite if it opts out.
    """

    server: str
    compared: float


def application(raw: Mapping[str, Any]) -> Application:
    """Return the part of `raw`, an object of the API, that matters."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    skipped = (metadata.get("annotations") or {}).get("argocd.argoproj.io/skip-reconcile") == "true"
    compared = datetime.fromisoformat(status.get("reconciledAt") or metadata["creationTimestamp"]).timestamp()
    server = ((raw.get("spec") or {}).get("destination") or {}).get("server") or ""
    return Application(server, math.inf if skipped else compared)


def overdue(applications: Iterable[Application], period: float, now: float) -> tuple[int, float]:
    """Return how many were last compared more than `period` seconds ago, and the Unix time when that may change."""
    step = now // STEP_SECONDS * STEP_SECONDS
    count, until = 0, math.inf
    for each in applications:
        due = each.compared + period
        if due < step:
            count += 1
        elif due < until:
            until = due
    return count, (math.floor(until / STEP_SECONDS) + 1) * STEP_SECONDS if until < math.inf else math.inf
