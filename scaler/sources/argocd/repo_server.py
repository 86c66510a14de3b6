"""The pending requests of the repo-server, from the pages of all of its pods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scaler.clients.pages.exposition import Family, Page
from scaler.clients.pages.reader import Wanted
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.core.errors import Unavailable
from scaler.sources.names import metric_name

PENDING = "argocd_repo_pending_request_total"
"""Requests that run, or wait for a lock or for `--parallelismlimit` (argo-cd reposerver/repository/repository.go)."""
AFTER = "argocd_repo_parallelism_wait_duration_seconds_count"
"""Counted up after `PENDING`, for the same requests, from Argo CD 3.5 on."""
OWN = frozenset({PENDING, "argocd_git_request_total", AFTER})
"""Series that only a repo-server has; each exists from the first time that it is counted up."""
NEVER = (
    f"no page has {PENDING}: no manifest was generated since the repo-servers started, or something on the way, such as a "
    "relabelling, leaves the series out"
)
ANY = "go_info"
WANTED = Wanted(frozenset(map(Family, OWN | {ANY})), OWN | {ANY}, "is it the metrics port (8084) of the repo-server?")


def pending_requests(pages: Sequence[Page]) -> dict[str, float]:
    """Return the pending requests of each repo-server page.

    A repo-server without any request so far has none of these series: a replica that was just added, to which there is
    no connection yet. It counts as 0 if other pages have them. Raises `Unavailable` if no page has, or a value is no
    count.
    """
    if not any(page.sums.keys() & OWN for page in pages):
        raise Unavailable(
            f"none of {len(pages)} pages has {PENDING}: either the repo-server had no request since it started, or these "
            "are not its pages"
        )
    for page in pages:
        if page.sums.get(AFTER, {}).get("", 0.0) > 0 and PENDING not in page.sums:
            raise Unavailable(
                f"{page.name}: {AFTER} says that it had requests, but {PENDING} is missing: the page is not whole, or "
                "something on the way leaves the series out"
            )
    pending = {page.name: page.sums.get(PENDING, {}).get("", 0.0) for page in pages}
    for name, requests in pending.items():
        if not math.isfinite(requests):
            raise Unavailable(f"{name}: {PENDING} is no count (NaN, negative or infinite)")
    return pending


@dataclass(frozen=True, slots=True)
class RepoServer:
    """The repo-server, scaled on its pending requests, with `target` of them per replica."""

    pages: tuple[Place, ...]
    target: float

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric."""
        return (MetricSpec(metric_name("argocd", "repo-server"), self.target),)

    def places(self) -> tuple[Place, ...]:
        """Return its pages."""
        return self.pages

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess the pending requests of all pods; always active, as with zero pods nothing counts requests."""
        del now
        pending = pending_requests([page for place in self.pages for page in readings[place]])
        total = math.fsum(pending.values())
        note = "" if any(PENDING in page.sums for place in self.pages for page in readings[place]) else NEVER
        busiest = max(pending, key=lambda name: pending[name])
        return Assessment(
            (Metric(self.specs()[0].name, total),),
            active=True,
            reasons=(f"active: always; {total:g} requests are pending on {len(pending)} pods",),
            components=(
                Component(
                    "pending requests", total, "requests", note or "in hand, or waiting for a lock or a free slot"
                ),
                Component("pods", len(pending), "pods"),
                Component("busiest pod", pending[busiest], "requests", busiest),
            ),
        )
