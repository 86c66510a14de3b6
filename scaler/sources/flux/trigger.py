"""Source `flux`: the pending objects of a Flux controller, or of one shard of it."""

import re
from binascii import crc32
from collections.abc import Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from scaler.clients.kubernetes.objects import Objects
from scaler.clients.kubernetes.selectors import LABEL_KEY, parse_selector
from scaler.clients.pages.exposition import Page
from scaler.clients.pages.reader import PODS, UrlPages
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.core.errors import Refused
from scaler.sources.base import (
    Claim,
    CommaList,
    Count,
    Flag,
    Interval,
    LabelSelector,
    NamespaceName,
    Seconds,
    Target,
    Trigger,
    idle_refresh_field,
    matching,
    refresh_field,
)
from scaler.sources.flux.judge import Findings, Rules, judge
from scaler.sources.flux.kinds import ARTIFACTS, CONTROLLERS, Controller
from scaler.sources.flux.pods import Queues, controller_pod, pages_of, queues_of
from scaler.sources.flux.work import Artifact, Work
from scaler.sources.names import metric_name

SHARD_LABEL = "sharding.fluxcd.io/key"
LabelKey = Annotated[str, matching(LABEL_KEY, "the key of a label, such as sharding.fluxcd.io/key")]
COUNTED = {
    "requested": "asked to be reconciled",
    "changed": "spec changed",
    "revision": "source has a new revision",
    "deleted": "being deleted",
    "unfinished": "being reconciled, or cut short",
    "retrying": "failing, tried again",
    "due": "interval has passed",
}
"""The causes of `judge` that make an object pending, with the words for people."""


class FluxTrigger(Trigger):
    """Scales on the pending objects of a Flux controller, and on its work queues."""

    controller: Controller = Field(description="The controller whose objects are counted.")
    shard: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$",
        description="Value of the label `shardLabel`; left out, the main controller is meant, which takes objects without it.",
    )
    shard_label: LabelKey = Field(SHARD_LABEL, description="The label that names the shard of an object.")
    watch_label_selector: LabelSelector | None = Field(
        None,
        description="Instead of `shard`: the controller's own flag `--watch-label-selector`, word for word.",
    )
    namespaces: CommaList | None = Field(
        None, description="Namespaces whose objects are counted; left out, all of them."
    )
    pending_objects: Target = Field(10, description="Target: objects that wait, per replica.")
    due_lead_seconds: Seconds = Field(
        30, description="Active this long before an interval passes, so that the controller has started by then."
    )
    retry_hold_seconds: Seconds = Field(
        600, description="How long after a change an object that fails is held to wait for Flux's next try."
    )
    wake_on_interval: Flag = Field(
        True, description="Wake for `spec.interval` too; otherwise only changes and requests wake the controller."
    )
    pod_selector: LabelSelector | None = Field(
        None,
        min_length=1,
        description="Labels of the controller's pods; left out, `app=<controller>` or `app=<controller>-<shard>`. Needed where `watchLabelSelector` does not name one shard.",
    )
    pod_namespace: NamespaceName = Field("flux-system", description="Namespace of the controller's pods.")
    port: Count = Field(8080, ge=1, le=65_535, description="Port of the pods' metrics.")
    path: str = Field("/metrics", pattern="^/", description="Path of the pods' metrics.")
    # Watches keep the objects up to date, so reading them sends no request; at zero pods there is no page to fetch.
    refresh_seconds: Interval = refresh_field(5)
    idle_refresh_seconds: Interval = idle_refresh_field(0.5)

    @field_validator("namespaces")
    @classmethod
    def _check_namespaces(cls, namespaces: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for namespace in namespaces or ():
            if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", namespace):
                raise ValueError("a comma-separated list of namespaces, without patterns")
        return namespaces

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.watch_label_selector is not None:
            if self.model_fields_set & {"shard", "shard_label"}:
                raise ValueError("watchLabelSelector: says all of it; leave out shard and shardLabel")
            if self.pod_selector is None and self._shard() is None:
                raise ValueError(
                    "podSelector: required, because watchLabelSelector does not name one shard, and so not whose pods "
                    f"are meant; give the labels of the controller's pods, such as app={self.controller}"
                )
        return self

    @property
    def selection(self) -> str:
        """The label selector of the objects of this controller, as in its own flag."""
        if self.watch_label_selector is not None:
            return self.watch_label_selector
        return f"{self.shard_label}={self.shard}" if self.shard else f"!{self.shard_label}"

    def _shard(self) -> str | None:
        """Return the name of the shard: "" for the main controller, which excludes shards; None if unknown."""
        if self.watch_label_selector is None:
            return self.shard or ""
        positive = [each for each in parse_selector(self.watch_label_selector) if each.operator in {"in", "exists"}]
        if not positive:
            return ""
        values = [value for each in positive for value in each.values]
        return values[0] if len(positive) == len(values) == 1 and values[0] else None

    @property
    def workload(self) -> str:
        """The name of the controller's Deployment in Flux's documentation, for people."""
        shard = self._shard()
        if shard is None:
            return f"{self.controller} ({self.selection})"
        return f"{self.controller}-{shard}" if shard else self.controller

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric: pending objects, with `pendingObjects` of them per replica."""
        own = self.shard_label if self.shard_label != SHARD_LABEL else None
        parts = filter(None, (self.controller, own, self.shard, self.watch_label_selector))
        return (MetricSpec(metric_name("flux", *parts), self.pending_objects),)

    def _pods(self) -> Objects:
        return Objects(PODS, self.pod_namespace, self.pod_selector or f"app={self.workload}", controller_pod)

    def _works(self) -> tuple[Objects, ...]:
        return tuple(
            Objects(kind.resource, namespace, self.selection, kind.keep)
            for kind in CONTROLLERS[self.controller]
            for namespace in self.namespaces or ("",)
        )

    def _sources(self, readings: Readings) -> tuple[Objects, ...]:
        """Return the lists of all source kinds that objects refer to, of any shard.

        Raises `Refused` if a reference leads out of `namespaces`, because its revision could not be seen.
        """
        references = {work.source for work in self._all_works(readings) if work.source}
        kinds = {reference.partition("/")[0] for reference in references}
        if unknown := kinds - ARTIFACTS.keys():
            raise Refused(f"{self.workload}: an object uses a {min(unknown)}, a kind of source that is not known here")
        if self.namespaces:
            for reference in sorted(references):
                _, namespace, name = reference.split("/")
                if namespace not in self.namespaces:
                    raise Refused(
                        f"{self.workload}: an object uses {reference.partition('/')[0]} {name} of namespace {namespace}, "
                        f"which `namespaces` does not list, so that its new revisions would wake nothing; add {namespace}"
                    )
        return tuple(
            Objects(resource, namespace, "", keep)
            for kind in sorted(kinds)
            for resource, keep in (ARTIFACTS[kind],)
            for namespace in self.namespaces or ("",)
        )

    def _all_works(self, readings: Readings) -> Iterable[Work]:
        for place in self._works():
            yield from readings[place].objects

    def places(self) -> tuple[Place, ...]:
        """Return the objects of the controller and shard, and its pods."""
        return (*self._works(), self._pods())

    def further_places(self, readings: Readings) -> tuple[Place, ...]:
        """Return the sources that the objects refer to, and the pages of the pods that are ready."""
        return (*self._sources(readings), *pages_of(readings[self._pods()].objects, self.port, self.path))

    def cautions(self, target_kind: str, max_replicas: int, target_name: str = "") -> tuple[str, ...]:
        """Tell that replicas beyond the first only stand by."""
        del target_kind, target_name
        if max_replicas == 1:
            return ()
        text = (
            f"maxReplicaCount {max_replicas}: a Flux controller has one leader, and replicas beyond the first stand "
            "by; use 1, and shards for more"
        )
        return (text,)

    def claims(self) -> tuple[Claim, ...]:
        """Return the namespaces whose objects are read, `*` for all, and that of the pods."""
        namespaces = (*(self.namespaces or ("*",)), self.pod_namespace)
        return tuple(Claim("kubernetes", namespace) for namespace in dict.fromkeys(namespaces))

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess pending objects + depth of the work queues of a running controller.

        Active while that is above 0, a worker is busy, or an object falls due within `dueLeadSeconds`. Without pods
        there are no queues, and the objects alone decide. Raises `Unavailable` if the page of a ready pod lacks the
        queues.
        """
        pages = [page for place, scraped in readings.items() if isinstance(place, UrlPages) for page in scraped]
        queues = queues_of(pages, [kind.queue for kind in CONTROLLERS[self.controller]])
        works = list(self._all_works(readings))
        artifacts: dict[str, Artifact] = {
            artifact.name: artifact
            for place, listed in readings.items()
            if isinstance(place, Objects) and (place.resource, place.project) in ARTIFACTS.values()
            for artifact in listed.objects
        }
        found = judge(works, artifacts, self._rules(), now)
        pending = sum(found.counts.get(cause, 0) for cause in COUNTED)
        active = bool(pending or queues.depth or queues.workers or found.counts.get("soon"))
        there = {place.namespace for place in self._works() if readings[place].objects}
        empty = () if active else tuple(each for each in self.namespaces or ("",) if each not in there)
        doubts = (self._nothing(empty),) if empty else ()
        return Assessment(
            (Metric(self.specs()[0].name, pending + queues.depth),),
            active,
            (self._reason(found, queues, len(works), active=active), *doubts),
            (*self._components(found), *self._running(readings[self._pods()].objects, pages, queues)),
            found.until,
            doubts=doubts,
        )

    def _nothing(self, namespaces: tuple[str, ...]) -> str:
        keys = "watchLabelSelector" if self.watch_label_selector is not None else "shard and shardLabel"
        where = f" of {', '.join(namespaces)}" if self.namespaces else ""
        return (
            f"no object{where} that {self.controller} takes has the labels {self.selection}, or all that have them are "
            f"suspended, so nothing can wait: {keys} must say what the controller's flag --watch-label-selector says"
            + (", and namespaces where they are" if self.namespaces else "")
        )

    def _rules(self) -> Rules:
        return Rules(
            lead=self.due_lead_seconds,
            retry_hold=self.retry_hold_seconds,
            wake_on_interval=self.wake_on_interval,
            phase=crc32(self.workload.encode()),
        )

    def _reason(self, found: Findings, queues: Queues, total: int, *, active: bool) -> str:
        if not active:
            return f"inactive: none of {total} objects of {self.workload} waits, and none is due soon"
        parts = [
            f"{found.counts[cause]} {words} ({', '.join(found.examples[cause])}{', …' * (found.counts[cause] > len(found.examples[cause]))})"
            for cause, words in (*COUNTED.items(), ("soon", "due soon"))
            if cause in found.counts
        ]
        if queues.depth or queues.workers:
            parts.append(f"{queues.depth:g} in the queue and {queues.workers:g} being worked on")
        return f"active: {'; '.join(parts)}"

    def _components(self, found: Findings) -> Iterable[Component]:
        for cause, words in COUNTED.items():
            yield Component(words, found.counts.get(cause, 0), "objects")
        lead = f"not counted, but keeps it active: dueLeadSeconds is {self.due_lead_seconds:g}"
        yield Component("due soon", found.counts.get("soon", 0), "objects", lead)

    def _running(self, pods: Sequence[object], pages: Sequence[Page], queues: Queues) -> Iterable[Component]:
        place = self._pods()
        asleep = f"none in {place.namespace} has {place.selector}: it sleeps, or podSelector has to name its labels"
        yield Component("queue depth", queues.depth, "items", "" if pages else "no pod is ready, so there is no queue")
        yield Component("active workers", queues.workers, "workers", "not counted, but keep it active")
        ready = f"{len(pages)} ready, {queues.standing_by} of them standing by"
        yield Component("pods", len(pods), "pods", ready if pods else asleep)
