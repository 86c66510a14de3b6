"""The pods of a Flux controller, and its work queues from the metrics pages of the ready ones."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yarl import URL

from scaler.clients.pages.exposition import LEADER, Page
from scaler.clients.pages.reader import UrlPages, Wanted
from scaler.core.errors import Unavailable
from scaler.sources.workqueue import WHY_MISSING, Series

SERIES = Series("workqueue_depth")
WANTED = Wanted(SERIES.wanted.families | {LEADER}, SERIES.wanted.proof | {LEADER.name}, WHY_MISSING)
"""The leader election series also proves a page, because a pod on standby has no queues."""


@dataclass(frozen=True, slots=True)
class ControllerPod:
    """A pod that has not ended; its page is read if it is `ready` and not `leaving`."""

    name: str
    address: str
    ready: bool
    leaving: bool


def controller_pod(raw: Mapping[str, Any]) -> ControllerPod | None:
    """Return the part of `raw` that matters, None for a pod that has ended."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    if status.get("phase") in {"Succeeded", "Failed"}:
        return None
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions") or ()
    )
    return ControllerPod(metadata["name"], status.get("podIP", ""), ready, "deletionTimestamp" in metadata)


def pages_of(pods: Iterable[ControllerPod], port: int, path: str) -> tuple[UrlPages, ...]:
    """Return the pages of the pods whose page is read.

    A starting pod, or a source-controller on standby, is not ready and serves no page; a pod that is being deleted may
    be gone at any moment. They can be left out, because the objects show their pending work.
    """
    return tuple(
        UrlPages(str(URL.build(scheme="http", host=pod.address, port=port, path=path)), WANTED)
        for pod in pods
        if pod.ready and not pod.leaving and pod.address
    )


@dataclass(frozen=True, slots=True)
class Queues:
    """Waiting items and busy workers of the leading pods, and how many pods are on standby."""

    depth: float = 0.0
    workers: float = 0.0
    standing_by: int = 0


def queues_of(pages: Sequence[Page], queues: Collection[str]) -> Queues:
    """Add up `queues` over `pages`; raises `Unavailable` if the page of a leading pod lacks one."""
    leading = [page for page in pages if not page.stands_by]
    for page in leading:
        if missing := set(queues) - SERIES.queues(page):
            raise Unavailable(
                f"{page.name}: the page has neither {SERIES.depth} nor {SERIES.adds} of {', '.join(sorted(missing))}: "
                f"{WHY_MISSING}"
            )
    loads = [SERIES.load(page, queues) for page in leading]
    return Queues(
        depth=math.fsum(depth for load in loads for depth in load.waiting.values()),
        workers=math.fsum(load.active or 0.0 for load in loads),
        standing_by=len(pages) - len(leading),
    )
