"""The content of the page and its API as plain data: rows, triggers of a ScaledObject, backends. No secrets."""

import asyncio
import math
from collections.abc import Iterable
from statistics import median
from typing import Any

from scaler.answers.registry import Registry
from scaler.answers.scaledobject import ScaledObject
from scaler.core.clock import Clock
from scaler.observe.explainer import Explainer, place_view, state_of
from scaler.observe.journal import View
from scaler.observe.journal.refusals import Refusal
from scaler.observe.page.rows import Row
from scaler.observe.traffic import STEP_SECONDS, Traffic
from scaler.sources.prices import dollars_per_month
from scaler.sources.sqs.prices import CostSettings
from scaler.store.snapshots import PlaceStatus, Snapshots

ROWS_AT_ONCE = 500
"""After so many rows the event loop gets a turn, for KEDA's calls."""
SHARED_SECONDS = 1.0
"""The rows are cached for so long, for all viewers."""
SHOWN_SECONDS = 900.0
"""Refused metadata is shown for as long as a ScaledObject is remembered after its last call."""
LATE_INTERVALS = 3
"""A place is overdue if its next read is late by more than so many of its intervals."""
MAX_PLACES = 200
"""Places shown of one backend, failing and slow ones first."""


class Status:
    """Collects the state of the scaler for people, without reading any backend."""

    def __init__(  # noqa: PLR0913, PLR0917 - these are the parts that it reads
        self,
        registry: Registry,
        snapshots: Snapshots,
        explainer: Explainer,
        traffic: Traffic,
        journal: View,
        clock: Clock,
        cost: CostSettings,
    ) -> None:
        self._registry, self._snapshots, self._explainer = registry, snapshots, explainer
        self._traffic, self._clock, self.cost = traffic, clock, cost
        self.journal = journal
        self._rows: list[Row] = []
        self._rows_at = -math.inf

    # ScaledObjects

    async def rows(self) -> list[Row]:
        """Return a row for each known trigger."""
        if self._clock.now() - self._rows_at < SHARED_SECONDS:
            return self._rows
        rows = self.refused()
        for index, scaled_object in enumerate(self._registry, 1):
            rows.append(self.row(scaled_object))
            if index % ROWS_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._rows, self._rows_at = rows, self._clock.now()
        return rows

    def row(self, scaled_object: ScaledObject) -> Row:
        """Return the row of `scaled_object`; it is stale if its backend fails or its answer is too old."""
        now, places = self._clock.now(), scaled_object.places
        known = [status for place in places if (status := self._snapshots.status(place)) is not None]
        state = state_of(scaled_object)
        age = None if math.isinf(scaled_object.settling.told_at) else now - scaled_object.settling.told_at
        if scaled_object.listeners and known and all(status.age is not None for status in known):
            # With an open stream a trigger is judged again when a reading changes, so its answer is as new as the
            # readings.
            age = max(status.age or 0.0 for status in known)
        failing = next((status for status in known if status.fault is not None), None)
        late = any(status.interval and status.overdue_seconds > LATE_INTERVALS * status.interval for status in known)
        slowest = max((place.min_refresh_seconds for place in places), default=0.0)
        too_old = age is not None and age > scaled_object.trigger.stale_seconds + slowest
        return Row(
            scaled_object,
            state,
            stale=state in {"active", "inactive", "settling"} and (failing is not None or too_old),
            age=age,
            overdue=late,
            doubtful=scaled_object.told is not None and bool(scaled_object.told.doubts),
            backend="" if failing is None else failing.place.backend,
            fault="" if failing is None else str(failing.fault),
        )

    def refused(self) -> list[Row]:
        """Return a row for each recent refusal of metadata."""
        return [
            Row(each, "refused", stale=False, age=None) for each in self.journal.journal.refusals.present(SHOWN_SECONDS)
        ]

    def row_view(self, row: Row) -> dict[str, Any]:
        """Return a row with the explanation of its trigger and the values of the last hour."""
        scaled_object, now = row.scaled_object, self._clock.now()
        if isinstance(scaled_object, Refusal):
            return refusal_view(scaled_object, now)
        view = self._explainer.view(scaled_object)
        faults = [place["fault"] for place in view["places"] if place["fault"] is not None]
        return {
            **view,
            "stale": row.stale,
            "overdue": row.overdue,
            "doubtful": row.doubtful,
            "readingAge": None if row.age is None else round(row.age, 3),
            "fault": faults[0] if faults else None,
            "lastErrorAge": round(now - error_at, 3)
            if math.isfinite(error_at := scaled_object.settling.error_at)
            else None,
            "recent": self.recent(value=self.journal.recent(scaled_object.line), target=scaled_object.specs[0].target),
        }

    def triggers(self, namespace: str, name: str) -> list[dict[str, Any]]:
        """Return the known triggers of one ScaledObject, in a stable order."""
        scaled_objects = [
            scaled_object
            for scaled_object in self._registry
            if scaled_object.namespace == namespace and scaled_object.name == name
        ]
        scaled_objects.sort(key=lambda scaled_object: ([spec.name for spec in scaled_object.specs], scaled_object.key))
        rows = [
            row for row in self.refused() if (row.scaled_object.namespace, row.scaled_object.name) == (namespace, name)
        ]
        return [self.row_view(row) for row in (*rows, *map(self.row, scaled_objects))]

    # Backends

    def backends(self) -> list[dict[str, Any]]:
        """Return every backend with places or with requests in the last hour."""
        by_backend: dict[str, list[PlaceStatus]] = {name: [] for name in self._traffic.backends()}
        by_backend |= {status.backend: [] for status in self._snapshots.backends()}
        for status in self._snapshots.statuses():
            by_backend.setdefault(status.place.backend, []).append(status)
        return [self._backend(name, places) for name, places in sorted(by_backend.items())]

    def backend(self, name: str) -> dict[str, Any] | None:
        """Return one backend with its places and its last hour, or None if it is unknown."""
        places = [status for status in self._snapshots.statuses() if status.place.backend == name]
        if not places and name not in self._traffic.backends():
            return None
        places.sort(key=lambda status: (status.fault is None, -status.read_seconds, str(status.place)))
        steps = self._traffic.recent(name)[:-1]  # the current half minute is not complete
        per_minute = 60 / STEP_SECONDS
        return {
            **self._backend(name, places),
            "placeDetails": [place_view(status) for status in places[:MAX_PLACES]],
            "recent": self.recent(
                requestsPerMinute=[step.requests * per_minute if step else 0 for step in steps],
                meanMilliseconds=[
                    1000 * step.read_seconds / step.reads if step and step.reads else None for step in steps
                ],
                faultsPerMinute=[step.faults * per_minute if step else 0 for step in steps],
            ),
        }

    def _backend(self, name: str, places: Iterable[PlaceStatus]) -> dict[str, Any]:
        places, rate = list(places), self._traffic.rate(name)
        lane = next((status for status in self._snapshots.backends() if status.backend == name), None)
        failing = [status for status in places if status.fault is not None]
        return {
            "backend": name,
            "places": len(places),
            "failing": len(failing),
            "fault": str(failing[0].fault) if failing else None,
            "faultFor": round(max(status.fault_seconds for status in failing), 3) if failing else None,
            "readSecondsMedian": round(median(status.read_seconds for status in places), 4) if places else None,
            "readSecondsMean": rate.mean_seconds,
            "readSecondsSlowest": rate.slowest_seconds,
            "reads": rate.reads,
            "faults": rate.faults,
            "rateSeconds": round(rate.seconds, 3),
            "requestsPerHour": rate.requests_per_hour,
            "dollarsPerMonth": dollars_per_month(name, rate.requests_per_hour, self.cost),
            "limitPerSecond": lane.limit if lane else None,
            "allowedPerSecond": lane.rate if lane else None,
            "waiting": lane.waiting if lane else 0,
            "lag": round(lane.lag_seconds, 3) if lane else 0.0,
        }

    def recent(self, **series: Any) -> dict[str, Any]:
        """Return series of the last hour, oldest first; `end` is the Unix time of the last step."""
        return {"stepSeconds": STEP_SECONDS, "end": round(self._clock.wall()), "series": series}


def refusal_view(refusal: Refusal, now: float) -> dict[str, Any]:
    """Return refused metadata with the same keys as a trigger."""
    return {
        "namespace": refusal.namespace,
        "name": refusal.name,
        "source": refusal.source,
        "state": "refused",
        "error": {"code": refusal.code, "message": refusal.message},
        "held": None,
        "metrics": [],
        "active": None,
        "activeSince": None,
        "reasons": [],
        "components": [],
        "spareBusy": None,
        "places": [],
        "cost": None,
        "lastCall": round(now - refusal.last, 3),
        "calls": refusal.count,
        "refusedFor": round(now - refusal.first, 3),
        "streams": 0,
        "stale": False,
        "overdue": False,
        "doubtful": False,
        "doubts": [],
        "readingAge": None,
        "fault": None,
        "lastErrorAge": round(now - refusal.last, 3),
        "recent": None,
    }
