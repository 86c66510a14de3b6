"""Explains the answers that KEDA gets: one trigger as plain data, for `explain`, the status page and its API."""

import math
from collections.abc import Mapping
from typing import Any

from scaler.answers.answer import Answers
from scaler.answers.registry import Registry
from scaler.answers.scaledobject import ScaledObject
from scaler.answers.sparing import Sparing
from scaler.core.clock import Clock
from scaler.core.errors import Fault, ScalerError
from scaler.observe.spared import spared_view
from scaler.sources.prices import HOURS_PER_MONTH, dollars_per_month
from scaler.sources.sqs.prices import CostSettings
from scaler.store.snapshots import PlaceStatus, Snapshots


class Explainer:
    """Explains what KEDA is told about ScaledObjects."""

    def __init__(  # noqa: PLR0913, PLR0917 - these are the parts that it reads
        self,
        registry: Registry,
        answers: Answers,
        snapshots: Snapshots,
        sparing: Sparing,
        clock: Clock,
        cost: CostSettings,
    ) -> None:
        """Read these parts; `cost` has the prices of requests."""
        self._registry, self._answers, self._snapshots = registry, answers, snapshots
        self._sparing, self._clock, self._cost = sparing, clock, cost

    async def explain(
        self, namespace: str, name: str, metadata: Mapping[str, str], wait_seconds: float
    ) -> dict[str, Any]:
        """Judge a trigger as GetMetrics does, waiting at most `wait_seconds`, and explain its answer or its error."""
        try:
            scaled_object = self._registry.look_up(namespace, name, metadata)
        except ScalerError as error:
            return {"namespace": namespace, "name": name, "state": "error", "error": error_view(error)}
        try:
            await self._answers.answer(scaled_object, wait_seconds)
        except ScalerError as error:
            return {**self.view(scaled_object), "state": "error", "error": error_view(error)}
        await self._sparing.look(scaled_object)
        return self.view(scaled_object)

    def view(self, scaled_object: ScaledObject) -> dict[str, Any]:
        """Return what is known about `scaled_object`, without reading anything. Ages are in seconds; has no secret."""
        now = self._clock.now()
        told, error, answer = scaled_object.told, scaled_object.error, scaled_object.answer
        values = {metric.name: metric.value for metric in told.metrics} if told is not None else {}
        places = dict.fromkeys(scaled_object.places)
        statuses = [status for place in places if (status := self._snapshots.status(place)) is not None]
        return {
            "namespace": scaled_object.namespace,
            "name": scaled_object.name,
            "source": scaled_object.trigger.source,
            "state": state_of(scaled_object),
            "error": None if error is None else error_view(error.error),
            "held": None if answer is None or answer.fault is None else self._held_view(scaled_object, answer.fault),
            "metrics": [
                {
                    "name": spec.name,
                    "value": values.get(spec.name),
                    "target": spec.target,
                    "metricType": scaled_object.trigger.metric_type,
                }
                for spec in scaled_object.specs
            ],
            "active": None if told is None else told.active,
            "activeSince": None
            if math.isnan(scaled_object.active_since)
            else round(now - scaled_object.active_since, 3),
            "reasons": [] if told is None else list(told.reasons),
            "doubts": [] if told is None else list(told.doubts),
            "components": []
            if told is None
            else [
                {"name": part.name, "value": part.value, "unit": part.unit, "note": part.note}
                for part in told.components
            ],
            "spareBusy": None if scaled_object.spared is None else spared_view(scaled_object.spared),
            "places": [place_view(status) for status in statuses],
            "cost": self._bill(statuses),
            "lastCall": round(now - scaled_object.asked_at, 3) if scaled_object.calls else None,
            "calls": scaled_object.calls,
            "streams": len(scaled_object.listeners),
        }

    def _held_view(self, scaled_object: ScaledObject, fault: Fault) -> dict[str, Any]:
        """Return why the last answer is held, how old it is, and how much longer it is held."""
        age = self._clock.now() - scaled_object.settling.told_at
        left = scaled_object.trigger.stale_seconds + scaled_object.trigger.hold_seconds - age
        return {"why": str(fault), "age": round(age, 3), "secondsLeft": round(max(0.0, left), 3)}

    def _bill(self, statuses: list[PlaceStatus]) -> dict[str, Any] | None:
        """Return the cost of reading these places at their current intervals, or None if it is free.

        Places are shared, so the bills of several triggers must not be added up.
        """
        rates = [(status.place.backend, 3600 / status.interval) for status in statuses if status.interval]
        bills = [
            (rate, dollars)
            for backend, rate in rates
            if (dollars := dollars_per_month(backend, rate, self._cost)) is not None
        ]
        if not bills:
            return None
        return {
            "requestsPerMonth": round(math.fsum(rate for rate, _ in bills) * HOURS_PER_MONTH),
            "dollarsPerMonth": round(math.fsum(dollars for _, dollars in bills), 4),
            "priceDate": self._cost.price_date,
        }


def state_of(scaled_object: ScaledObject) -> str:
    """Return `error`, `held`, `settling`, `unknown` (not read lately), `active` or `inactive`: what KEDA is told."""
    if scaled_object.error is not None:
        return "error"
    return "unknown" if scaled_object.answer is None else scaled_object.answer.state


def place_view(status: PlaceStatus) -> dict[str, Any]:
    """Return a place as plain data."""
    return {
        "place": str(status.place),
        "backend": status.place.backend,
        "age": None if status.age is None else round(status.age, 3),
        "fault": None if status.fault is None else str(status.fault),
        "faultFor": None if status.fault is None else round(status.fault_seconds, 3),
        "interval": status.interval,
        "readSeconds": round(status.read_seconds, 4),
        "overdueFor": round(status.overdue_seconds, 3),
        "proof": None if status.proof is None else str(status.proof),
    }


def error_view(error: ScalerError) -> dict[str, str]:
    """Return an error as KEDA gets it: code and message."""
    return {"code": error.code, "message": str(error)}
