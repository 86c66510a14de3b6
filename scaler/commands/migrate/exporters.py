"""The meaning of queries for exporters' metrics: names, and the arithmetic around them.

Names from the READMEs of sidekiq-prometheus-exporter (Strech), yabeda-sidekiq, prometheus_exporter (Discourse, with its
prefix `ruby_`), gitlab-exporter and GitLab itself, and of client-go's and controller-runtime's work queues.
"""

import re
from dataclasses import dataclass, replace

from scaler.commands.migrate.model import Left
from scaler.commands.migrate.promql import (
    AGGREGATIONS,
    Call,
    Expression,
    NotUnderstoodError,
    Number,
    Selector,
    parse,
)

BUSY, THREADS, PROCESSES, WAITING, LATENCY, DEPTH = "busy", "threads", "processes", "waiting", "latency", "depth"
_ROLES = {
    BUSY: (
        "sidekiq_busy_workers", "sidekiq_queue_busy_workers", "sidekiq_active_workers_count", "sidekiq_process_busy",
        "sidekiq_running_jobs",
    ),
    THREADS: (
        "sidekiq_workers", "sidekiq_queue_workers", "sidekiq_process_concurrency", "sidekiq_concurrency",
        "sidekiq_max_concurrency",
    ),
    PROCESSES: ("sidekiq_processes", "sidekiq_queue_processes", "sidekiq_active_processes"),
    WAITING: (
        "sidekiq_queue_enqueued_jobs", "sidekiq_enqueued_jobs", "sidekiq_jobs_waiting_count", "sidekiq_queue_backlog",
        "sidekiq_queue_size", "sidekiq_stats_enqueued",
    ),
    LATENCY: (
        "sidekiq_queue_latency_seconds", "sidekiq_queue_latency", "sidekiq_queues_latency", "sidekiq_jobs_latency",
    ),
}  # fmt: skip
_BY_NAME = {name: role for role, names in _ROLES.items() for name in names}
_ELSEWHERE = {
    "argocd_repo_pending_request_total": "source argocd with component repo-server reads it, with its threshold as pendingRequests",
    "redis_key_size": "for Sidekiq's lists write source sidekiq with queues, and its threshold as queueLength",
}
"""Metrics that are not translated, and what to write instead."""
_QUEUE_LABELS = frozenset({"queue", "name", "queue_name"})
_QUEUE = r"[A-Za-z0-9_.:-]+"
_SMOOTH = frozenset({"avg_over_time", "max_over_time", "min_over_time", "last_over_time"})
_TRANSPARENT = frozenset({"ceil", "floor", "round", "scalar", "clamp_min", "clamp_max", "clamp", "sort", "sort_desc"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """The meaning of a query: `role` (÷ `per`) times `factor`, of `queues` (None: of all)."""

    role: str = ""
    per: str = ""
    factor: float = 1.0
    queues: tuple[str, ...] | None = ()
    plus_waiting: bool = False
    selector: Selector | None = None
    notes: tuple[str, ...] = ()


def meaning(query: str) -> Meaning:
    """Return the meaning of `query`; raises `Left` that says which part is not known."""
    try:
        return _meaning(parse(query))
    except NotUnderstoodError as error:
        raise Left(f"its query is not understood: {error}") from None


def _meaning(tree: Expression) -> Meaning:
    if isinstance(tree, Number):
        return Meaning(factor=tree.value)
    if isinstance(tree, Selector):
        return _selected(tree)
    if isinstance(tree, Call):
        return _called(tree)
    if tree.op == "or" and _is_zero(tree.right):
        found = _meaning(tree.left)
        return replace(found, notes=(*found.notes, "no data counted as 0; here it is a fault, and replicas are held"))
    return _calculated(tree.op, _meaning(tree.left), _meaning(tree.right))


def _calculated(op: str, left: Meaning, right: Meaning) -> Meaning:
    notes = (*left.notes, *right.notes)
    if op == "*" and not (left.role and right.role):
        return replace(left if left.role else right, factor=left.factor * right.factor, notes=notes)
    divides = right.factor and not right.per and not right.plus_waiting and not (right.role and left.per)
    if op == "/" and divides and not right.role:
        return replace(left, factor=left.factor / right.factor)
    if op == "/" and divides:
        queues = left.queues if left.queues is not None else right.queues
        return replace(left, per=right.role, factor=left.factor / right.factor, queues=queues, notes=notes)
    if op == "+" and left.factor == right.factor and not left.per and not right.per:
        return _added(left, right)
    raise NotUnderstoodError(f"{op!r} between these is not known")


def _selected(selector: Selector) -> Meaning:
    name = selector.name.removeprefix("ruby_")
    if selector.name.endswith("workqueue_depth"):
        return Meaning(DEPTH, queues=_queues(selector, frozenset({"name"})), selector=selector)
    if name not in _BY_NAME:
        hint = f"; {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
        shown = selector.name or "a selector without a name"
        raise NotUnderstoodError(f"{shown} is no metric of a known exporter{hint}")
    return Meaning(_BY_NAME[name], queues=_queues(selector, _QUEUE_LABELS), selector=selector)


def _queues(selector: Selector, labels: frozenset[str]) -> tuple[str, ...] | None:
    """Return the queues that the matchers list; None if they list none."""
    named = [(op, value) for label, op, value in selector.matchers if label in labels]
    if not named or named in ([("=~", ".+")], [("=~", ".*")]):
        return None
    found: list[str] = []
    for op, value in named:
        parts = value.removeprefix("^").removesuffix("$")
        parts = parts[1:-1] if parts.startswith("(") and parts.endswith(")") else parts
        if op == "=" and re.fullmatch(_QUEUE, value):
            found.append(value)
        elif op == "=~" and re.fullmatch(rf"{_QUEUE}(\|{_QUEUE})*", parts) and "." not in parts:
            found += parts.split("|")
        else:
            raise NotUnderstoodError(f"the queues of {op}{value[:80]!r} are not named one by one")
    return tuple(dict.fromkeys(found))


def _called(call: Call) -> Meaning:
    if not call.arguments:
        raise NotUnderstoodError(f"{call.name}() is not known")
    inner = call.arguments[0]
    if call.name in AGGREGATIONS or call.name in _TRANSPARENT:
        found = _meaning(inner)
        if call.name in {"max", "min", "avg"} and found.role == WAITING and len(found.queues or ()) != 1:
            return replace(found, notes=(*found.notes, f"{call.name} of the queues becomes their sum"))
        return found
    if call.name in _SMOOTH:
        found = _meaning(inner)
        note = f"{call.name} is left out: the HPA's stabilisation window smooths instead"
        return replace(found, notes=(*found.notes, note))
    raise NotUnderstoodError(f"{call.name}() is not known")


def _added(left: Meaning, right: Meaning) -> Meaning:
    notes = (*left.notes, *right.notes)
    if left.role == right.role and left.role in {WAITING, BUSY, DEPTH}:
        if left.queues is None or right.queues is None:
            return replace(left, queues=None, notes=notes)
        return replace(left, queues=tuple(dict.fromkeys((*left.queues, *right.queues))), notes=notes)
    if {left.role, right.role} == {BUSY, WAITING}:
        waiting, busy = (left, right) if left.role == WAITING else (right, left)
        return replace(busy, queues=waiting.queues or busy.queues, plus_waiting=True, notes=notes)
    raise NotUnderstoodError("a sum of different things")


def _is_zero(tree: Expression) -> bool:
    return isinstance(tree, Call) and tree.name == "vector" and tree.arguments == (Number(0.0),)
