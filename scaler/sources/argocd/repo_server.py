"""The requests that the repo-server has in hand, from the pages of all of its pods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scaler.clients.pages.exposition import Family, Page
from scaler.clients.pages.reader import Wanted
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.core.errors import Unavailable
from scaler.sources.names import metric_name

PENDING = "argocd_repo_pending_request_total"
"""In flight and waiting for a lock or for `--parallelismlimit` (argo-cd reposerver/repository/repository.go)."""
OWN = frozenset({PENDING, "argocd_git_request_total", "argocd_repo_parallelism_wait_duration_seconds_count"})
"""Series that only a repo-server has, each from the first time that it counts something."""
ANY = "go_info"
WANTED = Wanted(frozenset(map(Family, OWN | {ANY})), OWN | {ANY}, "is it the metrics port (8084) of the repo-server?")


def pending_requests(pages: Sequence[Page]) -> dict[str, float]:
    """Return the pending requests of each page that is a repo-server's.

    One that had no request yet has none of its own series. It counts as 0 beside others that have them: a replica
    that was just added, which no open connection leads to. Raises `Unavailable` if none has, or one has no count.
    """
    if not any(page.sums.keys() & OWN for page in pages):
        raise Unavailable(
            f"none of {len(pages)} pages has {PENDING}: either the repo-server had no request since it started, or these "
            "are not its pages"
        )
    pending = {page.name: page.sums.get(PENDING, {}).get("", 0.0) for page in pages}
    for name, requests in pending.items():
        if not math.isfinite(requests):
            raise Unavailable(f"{name}: {PENDING} is no count (NaN, negative or infinite)")
    return pending


@dataclass(frozen=True, slots=True)
class RepoServer:
    """The component that an HPA may drive: its pending requests, with `target` of them per replica."""

    pages: tuple[Place, ...]
    target: float

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric."""
        return (MetricSpec(metric_name("argocd", "repo-server"), self.target),)

    def places(self) -> tuple[Place, ...]:
        """Return its pages."""
        return self.pages

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Judge by the pending requests of all pods; always active: without a repo-server nothing tells of requests."""
        del now
        pending = pending_requests([page for place in self.pages for page in readings[place]])
        total = math.fsum(pending.values())
        busiest = max(pending, key=lambda name: pending[name])
        return Assessment(
            (Metric(self.specs()[0].name, total),),
            active=True,
            reasons=(f"active: always; {total:g} requests are pending on {len(pending)} pods",),
            components=(
                Component("pending requests", total, "requests", "in hand, or waiting for a lock or a free slot"),
                Component("pods", len(pending), "pods"),
                Component("busiest pod", pending[busiest], "requests", busiest),
            ),
        )
