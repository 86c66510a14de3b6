"""Plans the new triggers of one ScaledObject or ScaledJob. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaler.commands.migrate import queries, redis, sqs
from scaler.commands.migrate.edits import Entry, Rewrite
from scaler.commands.migrate.model import Asked, Connection, Left, Sidekiq, TriggerContext
from scaler.keda.scalable import ScaledJob, ScaledObject
from scaler.sources.base import Claim
from scaler.sources.triggers import FROM_ENV, check

TRANSLATORS: Mapping[str, Callable[[TriggerContext], Asked]] = {
    "aws-sqs-queue": sqs.translate,
    "redis": redis.translate,
    "redis-sentinel": redis.translate,
    "prometheus": queries.translate_prometheus,
    "metrics-api": queries.translate_metrics_api,
}
MAX_DEPLOYMENT = 46
"""Longest name of a Deployment that source `sidekiq` can recognize in the names of its pods."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes of one owner's triggers, by their indexes."""

    rewrites: Mapping[int, Rewrite]
    merged: Mapping[int, int]
    """Triggers that are removed, each with the one that replaces it."""
    left: Mapping[int, str]
    """Triggers of supported kinds that stay as they are, and why."""
    notes: tuple[tuple[int, str], ...]
    """Notes for a person, each with its trigger."""
    claims: tuple[Claim, ...]
    connections: tuple[Connection, ...]


def plan(contexts: Sequence[TriggerContext]) -> Plan:
    """Plan for all triggers of one owner."""
    asked: dict[int, Asked] = {}
    left: dict[int, str] = {}
    for index, context in enumerate(contexts):
        translate = TRANSLATORS.get(context.trigger.type)
        if translate is None:
            if context.trigger.type.startswith(("redis-cluster", "redis-streams", "redis-cluster-streams")):
                left[index] = "Sidekiq has neither streams nor Redis Cluster, so it stays with KEDA's scaler"
            continue
        try:
            asked[index] = translate(context)
        except Left as why:
            left[index] = str(why)
    asked = _filled_from_others(asked)
    groups = _groups(contexts, asked)
    rewrites: dict[int, Rewrite] = {}
    merged: dict[int, int] = {}
    notes: list[tuple[int, str]] = []
    claims: list[Claim] = []
    connections: list[Connection] = []
    busy_done = any(isinstance(wish, Sidekiq) and wish.kind == "busy" for wish in asked.values())
    for group in groups:
        first = group[0]
        wish = asked[first]
        if isinstance(wish, Sidekiq):
            parts = [part for index in group if isinstance(part := asked[index], Sidekiq)]
            entries = _sidekiq_entries(contexts[first], parts, busy=not busy_done)
            said = list(dict.fromkeys(note for part in parts for note in (*part.connection.doubts, *part.notes)))
        else:
            entries, said = wish.entries, list(wish.notes)
        rewrite, problem, wanted = _finished(contexts[first], entries)
        if rewrite is None:
            left |= dict.fromkeys(group, problem)
            continue
        if isinstance(wish, Sidekiq):
            busy_done = True
            connections.append(wish.connection)
        rewrites[first] = rewrite
        merged |= dict.fromkeys(group[1:], first)
        notes += [(first, note) for note in (*said, *_dropped(contexts[first], rewrite))]
        notes += [(first, "one trigger for several: their queues are added up")] if len(group) > 1 else []
        claims += wanted
    return Plan(rewrites, merged, left, tuple(notes), tuple(claims), tuple(connections))


def _filled_from_others(asked: Mapping[int, Asked]) -> dict[int, Asked]:
    """Return the same, with guesses of one trigger replaced by what other triggers of the workload know."""
    parts = [each for each in asked.values() if isinstance(each, Sidekiq)]
    connections = [part.connection for part in parts if not part.connection.assumed]
    queues = tuple(dict.fromkeys(queue for part in parts if not part.assumed for queue in part.queues))
    found: dict[int, Asked] = {}
    for index, each in asked.items():
        part = each
        if isinstance(part, Sidekiq) and part.connection.assumed and connections:
            part = replace(part, connection=connections[0])
        if isinstance(part, Sidekiq) and part.assumed:
            part = replace(part, queues=queues) if queues else replace(part, notes=(part.assumed, *part.notes))
        found[index] = part
    return found


def _groups(contexts: Sequence[TriggerContext], asked: Mapping[int, Asked]) -> list[list[int]]:
    """Return the groups of triggers that become one: for Sidekiq on one Redis, with one target for each kind of metric.

    First those that differ only in their queues are merged, then those with different metrics of the same queues.
    """
    alone = [[index] for index, wish in asked.items() if not isinstance(wish, Sidekiq) or contexts[index].one_metric]
    alike: dict[Any, list[int]] = defaultdict(list)
    for index, wish in asked.items():
        if isinstance(wish, Sidekiq) and not contexts[index].one_metric:
            key = (wish.connection, wish.prefix, wish.kind, wish.target, wish.activation, wish.counts_waiting)
            alike[key].append(index)
    found: list[tuple[Any, set[str], frozenset[str], list[int]]] = []
    for (connection, prefix, kind, *_), indexes in alike.items():
        queues = frozenset(
            queue for index in indexes if isinstance(wish := asked[index], Sidekiq) for queue in wish.queues
        )
        for place, kinds, others, members in found:
            if place == (connection, prefix) and others == queues and kind not in kinds:
                kinds.add(kind)
                members.extend(indexes)
                break
        else:
            found.append(((connection, prefix), {kind}, queues, list(indexes)))
    return sorted([*alone, *(sorted(members) for *_, members in found)])


def _sidekiq_entries(context: TriggerContext, parts: Sequence[Sidekiq], *, busy: bool) -> tuple[Entry, ...]:
    """Return the metadata of one trigger; with `busy` it is the one with the busy metric of the workload."""
    first = parts[0]
    was = first.was if len(parts) == 1 else {}
    queues = tuple(dict.fromkeys(queue for part in parts for queue in part.queues))
    entries = [Entry("source", "sidekiq"), first.connection.entry()]
    entries.append(Entry("queues", ",".join(queues), was.get("queues")))
    entries += [Entry("keyPrefix", first.prefix)] if first.prefix else []
    entries += _selection(context)
    wanted = {part.kind: part for part in parts}
    if "busy" in wanted:
        entries.append(Entry("busyRatio", wanted["busy"].target, was.get("target")))
        entries += [Entry("countWaiting", "true")] if wanted["busy"].counts_waiting else []
    elif context.one_metric or not busy:
        entries.append(Entry("busyRatio", "off"))
    for kind, key in (("waiting", "queueLength"), ("latency", "queueLatency")):
        if kind in wanted:
            entries.append(Entry(key, wanted[kind].target, was.get("target")))
    activation = next((part.activation for part in parts if part.activation), "")
    entries += [Entry("activationQueueLength", activation, was.get("activation"))] if activation else []
    entries += [Entry("refreshSeconds", "0")] if isinstance(context.owner, ScaledJob) else []
    return tuple(
        entry if entry.was is None or entry.was in context.metadata else replace(entry, was=None) for entry in entries
    )


def _selection(context: TriggerContext) -> list[Entry]:
    """Return the entries that select the processes of the workload."""
    owner = context.owner
    if not isinstance(owner, ScaledObject):
        return []
    name = owner.scale_target_ref.name
    if owner.scale_target_ref.kind == "Deployment" and len(name) <= MAX_DEPLOYMENT:
        return [Entry("deployment", name)]
    if owner.scale_target_ref.kind == "Deployment":
        return [Entry("hostnameRegex", f"^{name[:MAX_DEPLOYMENT]}")]
    if owner.scale_target_ref.kind == "StatefulSet":
        return [Entry("hostnameRegex", f"^{name}-[0-9]+$")]
    return []


def _finished(context: TriggerContext, entries: Sequence[Entry]) -> tuple[Rewrite | None, str, tuple[Claim, ...]]:
    """Return the complete rewrite and its claims; or None and the problem, if `validate` would refuse it."""
    kind = "external"
    if isinstance(context.owner, ScaledObject):
        modifiers = context.owner.advanced.scaling_modifiers
        above = modifiers.activation_above if context.in_formula and modifiers is not None else 0
        kind = "external" if above > 0 else "external-push"  # a push would activate it whatever the formula says
    drop = {"authenticationRef"}
    sidekiq = any(entry == Entry("source", "sidekiq") for entry in entries)
    if sidekiq or isinstance(context.owner, ScaledJob):
        drop.add("metricType")
    elif context.trigger.metric_type == "Value":
        entries = [*entries, Entry("metricType", "Value")]
    if kind == "external-push":
        drop.add("useCachedMetrics")
    entries = [Entry("scalerAddress", context.options.address), *entries]
    metadata = {entry.key: entry.value for entry in entries}
    unresolved = [key for key in metadata if key.endswith(FROM_ENV)]
    parsed, problems = check(metadata, context.owner.namespace, unresolved)
    if problems:
        return None, "; ".join(map(str, problems)), ()
    return Rewrite(kind, tuple(entries), frozenset(drop)), "", parsed.claims() if parsed is not None else ()


def _dropped(context: TriggerContext, rewrite: Rewrite) -> Iterable[str]:
    if context.trigger.metric_type == "Value" and context.trigger.type.startswith("redis"):
        target = context.metadata.get("listLength", "5")
        yield f"metricType Value compared all waiting jobs with {target}; here it is the jobs for each process"
    if context.trigger.use_cached_metrics and "useCachedMetrics" in rewrite.drop:
        yield "useCachedMetrics is left out: with a push the HPA would see the value of the poll before it"
    if any(entry.key == "queueURLFromEnv" for entry in rewrite.metadata):
        yield "the queue comes from a variable of the workload, so what access must grant is not known"
    if any(entry.key == "redisURLFromEnv" for entry in rewrite.metadata):
        yield "what access must grant under urls is in the variable: scheme, host, port and database, without the password"
