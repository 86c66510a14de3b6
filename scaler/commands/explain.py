"""The command `explain`: what KEDA is told about each trigger now, the HPA's decision, and what blocks scaling."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scaler.commands import scaling, traps
from scaler.commands.manifests import is_ours, resolved
from scaler.core.errors import MetadataError
from scaler.keda.authentications import Authentication
from scaler.keda.findings import Manifests
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger
from scaler.sources.prices import HOURS_PER_MONTH, dollars_per_month
from scaler.sources.sqs.prices import CostSettings
from scaler.sources.triggers import FROM_ENV, check

Ask = Callable[[str, str, Mapping[str, str]], Awaitable[dict[str, Any]]]
"""Returns the explanation of a trigger, given namespace, name and metadata as KEDA sends them."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How to get explanations, and what is known besides the manifests."""

    ask: Ask
    env: Mapping[str, str]
    authentications: tuple[Authentication, ...]


async def explain(manifests: Manifests, ask: Ask, env: Mapping[str, str], replicas: int | None) -> list[dict[str, Any]]:
    """Return an explanation of each owner in `manifests` with a trigger of ours; docs/explain.md describes its keys.

    `env` replaces the environment of the workload's container. `replicas` is the current number of the workload (by
    default its minimum, and at least one if a trigger is active) or, for a ScaledJob, of running Jobs (by default
    none).
    """
    return [
        await _explain_owner(owner, Asking(ask, env, manifests.authentications), replicas)
        for owner in manifests.objects
        if any(map(is_ours, owner.triggers))
    ]


async def _explain_owner(owner: ScaledObject | ScaledJob, asking: Asking, replicas: int | None) -> dict[str, Any]:
    triggers = [
        await _explain_trigger(owner, index, trigger, asking)
        for index, trigger in enumerate(owner.triggers)
        if is_ours(trigger)
    ]
    others = sum(not is_ours(trigger) for trigger in owner.triggers)
    return {
        "kind": owner.kind,
        "namespace": owner.namespace,
        "name": owner.name,
        "file": owner.file,
        "line": owner.line,
        "triggers": triggers,
        "otherTriggers": others,
        "scaling": (
            scaling.of_job(owner, triggers, others, replicas)
            if isinstance(owner, ScaledJob)
            else scaling.of_object(owner, triggers, others, replicas)
        ),
        "warnings": [{"line": trap.line, "key": trap.key, "text": trap.text} for trap in traps.of_owner(owner)],
    }


async def _explain_trigger(
    owner: ScaledObject | ScaledJob, index: int, trigger: Trigger, asking: Asking
) -> dict[str, Any]:
    sent, missing = resolved(trigger, asking.env)
    parsed, _ = check(sent, owner.namespace)
    answer = await asking.ask(owner.namespace, owner.name, sent)
    refused = bool(answer["error"]) and answer["error"]["code"] == MetadataError.code
    if missing and refused:
        answer = {**answer, "error": _unset(missing, answer["error"])}
    warnings = [] if parsed is None else list(traps.of_trigger(owner, trigger, parsed))
    warnings += traps.of_connection(trigger)
    warnings += traps.of_authentication(owner, trigger, asking.authentications)
    if not refused:
        warnings += [traps.Trap(trigger.line, "FromEnv", _not_here(name)) for name in missing]
    if parsed is not None and parsed.refresh_seconds == 0 and answer.get("cost"):
        answer = {**answer, "cost": _at_each_poll(answer, owner.polling_interval)}
    return {
        "source": sent.get("source") or sent.get(f"source{FROM_ENV}", ""),  # also if the metadata is refused
        **answer,
        "index": index,
        "type": trigger.type,
        "line": trigger.line,
        "metricType": trigger.target_type,
        "warnings": [{"line": trap.line, "key": trap.key, "text": trap.text} for trap in warnings],
    }


def _at_each_poll(answer: Mapping[str, Any], polling_seconds: float) -> dict[str, Any]:
    """Return the cost of reading the places at every poll; the scaler itself does not know the pollingInterval."""
    cost: dict[str, Any] = answer["cost"]
    intervals = [
        min(place["interval"], polling_seconds)
        for place in answer["places"]
        if place["interval"] and dollars_per_month(place["backend"], 1.0, CostSettings()) is not None
    ]
    requests = round(sum(3600 / seconds for seconds in intervals) * HOURS_PER_MONTH)
    dollars = round(cost["dollarsPerMonth"] * requests / cost["requestsPerMonth"], 4)
    return {**cost, "requestsPerMonth": requests, "dollarsPerMonth": dollars}


def _unset(missing: Iterable[str], error: Mapping[str, str]) -> dict[str, str]:
    """Return `error` with its probable cause first: variables that are missing here but may be set in the workload."""
    return {**error, "message": f"{'; '.join(map(_not_here, missing))} (without it: {error['message']})"}


def _not_here(name: str) -> str:
    return f"{name} is not set here; KEDA takes it from the workload's container: give it with --env {name}=…"
