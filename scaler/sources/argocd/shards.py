"""The application-controller: how many shards have work, or whether one given shard has any."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scaler.clients.kubernetes.objects import Objects
from scaler.clients.pages.exposition import START, Family, Page
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.core.errors import Unavailable
from scaler.sources.argocd.applications import Application, overdue
from scaler.sources.argocd.clusters import managed
from scaler.sources.argocd.sharding import Algorithm, Cluster, full_fleet, owners
from scaler.sources.names import metric_name
from scaler.sources.workqueue import WorkqueueTrigger

CLUSTER_INFO = Family("argocd_cluster_info", ("server",))
"""Each pod publishes it for its own clusters, from half a minute after its start (clustercollector.go)."""
BEGIN_SECONDS = 60.0
"""A pod that started later may not publish its clusters yet."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """The objects that decide which shard owns which cluster; without `secrets` only the clusters' number is known."""

    secrets: Objects | None
    applications: tuple[Objects, ...]
    algorithm: Algorithm
    in_cluster: bool

    def places(self) -> tuple[Place, ...]:
        """Return the Secrets and Applications."""
        return (*((self.secrets,) if self.secrets else ()), *self.applications)

    def found(self, readings: Readings) -> list[Application]:
        """Return the Applications."""
        return [each for place in self.applications for each in readings[place].objects]

    def clusters(self, readings: Readings, pages: list[Page], now: float) -> tuple[Cluster, ...]:
        """Return the clusters at Unix time `now`, from `pages` if Secrets are not read.

        Raises `Unavailable` if the pages have none, or if a pod does not publish its clusters yet.
        """
        if self.secrets is not None:
            weighed = self.algorithm == "consistent-hashing"
            destinations = [each.server for each in self.found(readings)] if weighed else []
            return managed(readings[self.secrets].objects, destinations, in_cluster=self.in_cluster)
        for page in pages:
            ran = now - page.sums.get(START.name, {}).get("", math.nan)
            if ran < BEGIN_SECONDS and not page.stands_by and CLUSTER_INFO.name not in page.sums:
                raise Unavailable(
                    f"{page.name}: started {max(0.0, ran):.0f} s ago and has no {CLUSTER_INFO.name} yet, so that its clusters "
                    "are not known"
                )
        servers = sorted({server for page in pages for server in page.sums.get(CLUSTER_INFO.name, ())})
        if not servers:
            raise Unavailable(
                f"none of {len(pages)} pages has {CLUSTER_INFO.name}: the application-controller has not begun yet, or "
                "manages no cluster"
            )
        return tuple(Cluster(server, server) for server in servers)

    def doubts(self, readings: Readings) -> tuple[str, ...]:
        """Return why no cluster may be known: there is no Secret of one, as in a namespace that is not Argo CD's."""
        if self.secrets is None or readings[self.secrets].objects:
            return ()
        return (
            f"namespace {self.secrets.namespace} has no Secret of a cluster: is it that of Argo CD? Check `namespace`",
        )


@dataclass(frozen=True, slots=True)
class FixedShard:
    """Shard `number` of a fixed number of `shards`, each a workload of its own, scaled between 0 and 1."""

    fleet: Fleet
    number: int
    shards: int

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric: the replicas of this shard."""
        return (MetricSpec(metric_name("argocd", f"application-controller-shard-{self.number}"), 1.0),)

    def places(self) -> tuple[Place, ...]:
        """Return the objects that decide which shard owns which cluster."""
        return self.fleet.places()

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Judge by the clusters that the shard owns: with one or more it runs, with none it may sleep."""
        clusters = self.fleet.clusters(readings, [], now)
        owned = owners(clusters, self.shards, self.fleet.algorithm).count(self.number)
        doubts = () if owned or self.shards == 1 else self.fleet.doubts(readings)
        return Assessment(
            (Metric(self.specs()[0].name, float(owned > 0)),),
            active=owned > 0,
            reasons=(
                f"{'active' if owned else 'inactive'}: shard {self.number} of {self.shards} owns {owned} of {len(clusters)} clusters",
                *doubts,
            ),
            components=(
                Component("own clusters", owned, "clusters"),
                Component("clusters", len(clusters), "clusters"),
            ),
            doubts=doubts,
        )


@dataclass(frozen=True, slots=True)
class Shards:
    """How many shards have work, by the queues and, if `period` is set, by the overdue applications.

    A shard without a cluster does nothing. So each metric is capped at the largest number of shards, at most `most`,
    with which every shard owns a cluster.
    """

    queues: WorkqueueTrigger
    pages: tuple[Place, ...]
    fleet: Fleet
    most: int
    overdue_target: float
    period: float | None  # seconds that may pass between two comparisons of an application; None: not judged

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the number of shards, with target 1, and the overdue applications, with those per shard as target."""
        shards = MetricSpec(metric_name("argocd", "application-controller-shards"), 1.0)
        late = MetricSpec(metric_name("argocd", "overdue-applications"), self.overdue_target)
        return (shards,) if self.period is None else (shards, late)

    def places(self) -> tuple[Place, ...]:
        """Return the pages, and the objects that decide which shard owns which cluster."""
        return (*self.pages, *self.fleet.places())

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess min(ceil(items in the queues / queueLength), shards that all own a cluster), at least 1.

        The HPA takes the larger of both metrics, so the overdue applications are capped at the largest count that asks
        for such a number of shards. Always active, because a controller with zero pods would notice no drift.
        """
        theirs = dict(zip(self.queues.places(), (readings[place] for place in self.pages), strict=True))
        load = self.queues.assess(theirs, now)
        clusters = self.fleet.clusters(readings, [page for place in self.pages for page in readings[place]], now)
        wanted = math.ceil(load.metrics[0].value / self.queues.queue_length)
        shards = self._possible(clusters, wanted)
        values, until = [float(shards)], math.inf
        parts = [*load.components, *self._parts(clusters, wanted, shards)]
        if self.period is not None:
            late, until = overdue(self.fleet.found(readings), self.period, now)
            capped = min(
                float(late), self.overdue_target * self._possible(clusters, math.ceil(late / self.overdue_target))
            )
            values.append(capped)
            note = "" if capped == late else f"counted as {capped:g}: more shards would leave one without a cluster"
            parts.append(Component("overdue applications", late, "applications", note))
        reason = (
            f"active: always; {load.metrics[0].value:g} items ask for {wanted} shards of {self.queues.queue_length:g}, "
            f"and {shards} are worth running for {len(clusters)} clusters"
        )
        return Assessment(
            tuple(Metric(spec.name, value) for spec, value in zip(self.specs(), values, strict=True)),
            active=True,
            reasons=(reason,),
            components=tuple(parts),
            until=until,
        )

    def _possible(self, clusters: tuple[Cluster, ...], wanted: int) -> int:
        most = min(wanted, self.most)
        if self.fleet.secrets is None:  # without UIDs only round-robin without pins is certain
            return max(1, min(most, len(clusters)))
        return full_fleet(clusters, most, self.fleet.algorithm)

    def _parts(self, clusters: tuple[Cluster, ...], wanted: int, shards: int) -> Iterator[Component]:
        yield Component("clusters", len(clusters), "clusters", "with distinct servers")
        yield Component("shards wanted", wanted, "shards", f"items / queueLength; maxShards is {self.most}")
        if self.fleet.secrets is None:
            note = "at most one for each cluster; `clusters: secrets` knows their owners"
        else:
            note = f"the largest number of which each owns a cluster ({self.fleet.algorithm})"
        yield Component("shards worth running", shards, "shards", note)
