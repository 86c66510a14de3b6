"""What is behind the answers that KEDA gets: one trigger as plain data, for `explain`, the status page and its API."""

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

DEFAULT_POLLING_SECONDS = 30.0
"""KEDA's `pollingInterval` where a ScaledObject or ScaledJob does not set it."""


class Explainer:
    """Explains what ScaledObjects are told."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts it reads
        self,
        registry: Registry,
        answers: Answers,
        snapshots: Snapshots,
        sparing: Sparing,
        clock: Clock,
        cost: CostSettings,
    ) -> None:
        """Explain what these hold; requests cost what `cost` says."""
        self._registry, self._answers, self._snapshots = registry, answers, snapshots
        self._sparing, self._clock, self._cost = sparing, clock, cost

    async def explain(
        self, namespace: str, name: str, metadata: Mapping[str, str], wait_seconds: float
    ) -> dict[str, Any]:
        """Judge a trigger as GetMetrics would, waiting at most `wait_seconds`; an error is part of the explanation."""
        try:
            asker = self._registry.look_up(namespace, name, metadata)
        except ScalerError as error:
            return {"namespace": namespace, "name": name, "state": "error", "error": error_view(error)}
        try:
            await self._answers.answer(asker, wait_seconds)
        except ScalerError as error:
            return {**self.view(asker), "state": "error", "error": error_view(error)}
        await self._sparing.look(asker)
        return self.view(asker)

    def view(self, asker: ScaledObject) -> dict[str, Any]:
        """Return what is known of `asker`, without asking anybody. Ages are seconds; nothing in it is a secret."""
        now = self._clock.now()
        told, error, answer = asker.told, asker.error, asker.answer
        values = {metric.name: metric.value for metric in told.metrics} if told is not None else {}
        places = dict.fromkeys(asker.places)
        statuses = [status for place in places if (status := self._snapshots.status(place)) is not None]
        return {
            "namespace": asker.namespace,
            "name": asker.name,
            "source": asker.trigger.source,
            "state": state_of(asker),
            "error": None if error is None else error_view(error.error),
            "held": None if answer is None or answer.fault is None else self._held_view(asker, answer.fault),
            "metrics": [
                {
                    "name": spec.name,
                    "value": values.get(spec.name),
                    "target": spec.target,
                    "metricType": asker.trigger.metric_type,
                }
                for spec in asker.specs
            ],
            "active": None if told is None else told.active,
            "activeSince": None if math.isnan(asker.active_since) else round(now - asker.active_since, 3),
            "reasons": [] if told is None else list(told.reasons),
            "doubts": [] if told is None else list(told.doubts),
            "components": []
            if told is None
            else [
                {"name": part.name, "value": part.value, "unit": part.unit, "note": part.note}
                for part in told.components
            ],
            "spareBusy": None if asker.spared is None else spared_view(asker.spared),
            "places": [place_view(status) for status in statuses],
            "cost": self._bill(statuses, anew=asker.trigger.refresh_seconds == 0),
            "lastCall": round(now - asker.asked_at, 3) if asker.calls else None,
            "calls": asker.calls,
            "streams": len(asker.listeners),
        }

    def _held_view(self, asker: ScaledObject, fault: Fault) -> dict[str, Any]:
        """Return why the last answer is held, how old it is and how long it goes on being told."""
        age = self._clock.now() - asker.settling.told_at
        left = asker.trigger.stale_seconds + asker.trigger.hold_seconds - age
        return {"why": str(fault), "age": round(age, 3), "secondsLeft": round(max(0.0, left), 3)}

    def _bill(self, statuses: list[PlaceStatus], *, anew: bool) -> dict[str, Any] | None:
        """Return what reading these places at the present intervals costs, or None if nobody bills it.

        Places are shared, so the bills of several triggers do not add up. With `anew` each poll of KEDA is a read,
        however long the places are kept; the server does not know its interval, so it takes KEDA's default.
        """
        most = DEFAULT_POLLING_SECONDS if anew else math.inf
        rates = [(status.place.backend, 3600 / min(status.interval, most)) for status in statuses if status.interval]
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


def state_of(asker: ScaledObject) -> str:
    """Return `error`, `held`, `settling`, `unknown` (not read lately), `active` or `inactive`: what KEDA is told."""
    if asker.error is not None:
        return "error"
    return "unknown" if asker.answer is None else asker.answer.state


def place_view(status: PlaceStatus) -> dict[str, Any]:
    """Return one place as plain data."""
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
