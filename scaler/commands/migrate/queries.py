"""Migrates KEDA's `prometheus` and `metrics-api` triggers: queries for Sidekiq's exporters and work queues."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from scaler.commands.migrate import exporters
from scaler.commands.migrate.edits import Entry
from scaler.commands.migrate.exporters import BUSY, DEPTH, LATENCY, PROCESSES, THREADS, WAITING, Meaning
from scaler.commands.migrate.model import Asked, Connection, Left, Other, Sidekiq, TriggerContext

MAX_RATIO = 1.5
"""A higher target of busy threads is probably a percentage, unless waiting jobs count too."""
DEFAULT_QUEUE = "default"
"""Sidekiq's queue for jobs that name none."""
_SECURED = ("authModes", "authMode", "customHeaders", "queryParameters", "unsafeSsl", "cortexOrgID")
_STATS = {"sidekiq.enqueued": WAITING, "sidekiq.default_latency": LATENCY}


def translate_prometheus(context: TriggerContext) -> Asked:
    """Return the new trigger for a query; raises `Left` for one that is not supported."""
    query = context.metadata.get("query", "")
    if not query:
        raise Left("it has no query that could be read")
    found = exporters.meaning(query)
    target = _number(context, "threshold")
    if found.role == DEPTH:
        return _work_queue(context, found, target, {"prometheusURL": "serverAddress"}, sums=_sums(query))
    return _sidekiq(context, found, target, {"target": "threshold"})


def translate_metrics_api(context: TriggerContext) -> Asked:
    """Return the new trigger for a page; raises `Left` if it is neither Sidekiq's nor one with work queues."""
    location, url = context.metadata.get("valueLocation", ""), context.metadata.get("url", "")
    target = _number(context, "targetValue")
    if context.metadata.get("format", "json") == "prometheus":
        found = exporters.meaning(location)
        if found.role == DEPTH:
            return _work_queue(context, found, target, {"metricsURL": "url"}, sums=True)
        return _sidekiq(context, found, target, {"target": "targetValue"})
    path = urlsplit(url).path.rstrip("/")
    if path.endswith("/stats/queues") and re.fullmatch(r"[A-Za-z0-9_-]+", location):
        return _sidekiq(context, Meaning(WAITING, queues=(location,)), target, {"target": "targetValue"})
    if path.endswith("/stats") and location in _STATS:
        queues = (DEFAULT_QUEUE,) if location == "sidekiq.default_latency" else None
        return _sidekiq(context, Meaning(_STATS[location], queues=queues), target, {"target": "targetValue"})
    raise Left(
        f"value {location[:80] or 'without a valueLocation'} of its page is none that Sidekiq or a work queue tells"
    )


def _number(context: TriggerContext, key: str) -> float:
    try:
        value = float(context.metadata.get(key, ""))
    except ValueError:
        raise Left(f"its {key} is no number that stands there") from None
    if not 0 < value < 1e12:
        raise Left(f"its {key} is no target that an HPA could have")
    return value


def _sidekiq(context: TriggerContext, found: Meaning, threshold: float, was: Mapping[str, str]) -> Sidekiq:
    kind = _kind(found)
    target = threshold / found.factor
    if kind == BUSY and target > MAX_RATIO and found.factor == 1.0 and not found.plus_waiting:
        raise Left(f"its threshold {threshold:g} is no ratio, and nothing in the query makes it a percentage")
    queues, said, assumed = _queues(context, found, kind)
    notes = [*said, *found.notes, *_other_division(context, found, kind, target)]
    activation = context.metadata.get("activationThreshold") or context.metadata.get("activationTargetValue") or ""
    if activation and not (kind == WAITING and activation.isdigit()):
        notes.append(
            f"its activation threshold {activation[:20]} is left out: any waiting job wakes, and busy threads keep awake"
        )
        activation = ""
    return Sidekiq(
        _connection(context),
        queues,
        kind,
        written(target),
        activation,
        was=dict(was),
        counts_waiting=found.plus_waiting,
        assumed=assumed,
        notes=tuple(notes),
    )


def _kind(found: Meaning) -> str:
    """Return the target of source `sidekiq` that fits a query; raises `Left` if none does."""
    if found.factor <= 0:
        raise Left("its query multiplies by nothing or by less")
    if found.role == BUSY and found.per == THREADS:
        return BUSY
    if found.role == BUSY:
        raise Left(
            "it counts busy threads: write source sidekiq with busyRatio, its threshold ÷ the threads of a process"
        )
    if (found.role == WAITING and found.per in {"", PROCESSES}) or (found.role == LATENCY and not found.per):
        return found.role
    raise Left("its query tells of Sidekiq, but nothing that source sidekiq has a target for")


def _other_division(context: TriggerContext, found: Meaning, kind: str, target: float) -> Iterator[str]:
    """Yield a note if the HPA divided by the number of pods and no longer does, or the other way round."""
    by_value = context.trigger.metric_type == "Value"
    if kind == WAITING and by_value and not found.per:
        yield f"metricType Value compared all waiting jobs with {target:g}; here it is the jobs for each process"
    elif kind != WAITING and not by_value:
        unit = "the share of busy threads" if kind == BUSY else "the seconds that the oldest job may wait"
        yield f"metricType AverageValue divided it by the number of pods; here {target:g} is {unit}"


def _queues(context: TriggerContext, found: Meaning, kind: str) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the queues, notes about where they come from, and why they are a guess, or ""."""
    if found.queues:
        return found.queues, (), ""
    if context.options.queues:
        return context.options.queues, (), ""
    if context.workload.queues:
        return context.workload.queues, ("its queues are those of the workload's command line",), ""
    if kind != BUSY:
        raise Left("its query counts every queue: name those of this workload with --queues")
    note = (
        f"no queue is named anywhere, so {DEFAULT_QUEUE} is assumed, and jobs in others wake nothing: use --queues, or put "
        "in all that this workload fetches"
    )
    return (DEFAULT_QUEUE,), (), note


def _connection(context: TriggerContext) -> Connection:
    """Return the Redis of the workload, as a query does not name one."""
    if context.options.redis:
        return Connection(name=context.options.redis, config=(("url", "redis://HOST:6379/0"),))
    variable = next((name for name in ("REDIS_URL", "SIDEKIQ_REDIS_URL") if name in context.workload.variables), "")
    if variable:
        return Connection(variable=variable)
    doubt = (
        "its Redis is taken from the workload's variable REDIS_URL, which Sidekiq reads by default; with another, change "
        "redisURLFromEnv, or use --redis NAME for a connection of the configuration"
    )
    return Connection(variable="REDIS_URL", doubts=(doubt,), assumed=True)


def _sums(query: str) -> bool:
    return re.match(r"\s*(?:sum\b|[A-Za-z_]+\s*(?:\{|$))", query) is not None


def _work_queue(
    context: TriggerContext, found: Meaning, target: float, places: Mapping[str, str], *, sums: bool
) -> Other:
    if not found.queues or found.selector is None:
        raise Left("its query names no single work queue (label name)")
    if not sums or found.factor != 1.0 or found.per or context.trigger.metric_type == "Value":
        raise Left("source workqueue adds the queues up and divides by the replicas, and its query does something else")
    ((new, old),) = places.items()
    if secured := [key for key in _SECURED if context.given(key)] or (
        ["authenticationRef"] if context.trigger.authentication_ref else []
    ):
        way = (
            "put the server under `prometheus` of the scaler's configuration, and write source workqueue with prometheus"
            if new == "prometheusURL"
            else "put the URL under `pages` of the scaler's configuration, and write source workqueue with metricsURL"
        )
        raise Left(f"{', '.join(secured)}: triggers hold no secret; {way}")
    entries = [
        Entry("source", "workqueue"),
        Entry(new, context.metadata.get(old, ""), old),
        Entry("queues", ",".join(found.queues)),
    ]
    # `up` must have the labels of the selector, and those of the series say nothing more than `queues`.
    matchers = [each for each in found.selector.matchers if each[0] not in {"name", "controller", "priority"}]
    selector = ",".join(f'{label}{op}"{value}"' for label, op, value in matchers)
    if selector and new == "prometheusURL":
        entries.append(Entry("selector", selector))
    if found.selector.name != "workqueue_depth":
        entries.append(Entry("metricName", found.selector.name))
    entries.append(
        Entry(
            "queueLength", written(target), next(key for key in ("threshold", "targetValue") if key in context.metadata)
        )
    )
    notes = [
        *found.notes,
        "items that are being worked on count too (countActive), so that no replica is stopped under them",
    ]
    if any(label == "priority" for label, _, _ in found.selector.matchers):
        notes.append("its query counts one priority; here all priorities of the queue count")
    return Other(tuple(entries), tuple(notes))


def written(target: float) -> str:
    """Return a target for metadata: with at most four decimals, more than an HPA keeps."""
    return f"{target:.4f}".rstrip("0").rstrip(".")
