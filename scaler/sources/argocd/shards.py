"""The shards of the application-controller: how many are worth running, or whether a given one has anything to do."""

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
"""Each pod publishes it for the clusters that it caches, half a minute after its start (clustercollector.go)."""
BEGIN_SECONDS = 60.0
"""After its start, a pod may still be silent about its clusters."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What decides which shard owns which cluster; without `secrets` only the number of clusters is known."""

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
        """Return the clusters at Unix time `now`; from `pages` if there are no Secrets.

        Raises `Unavailable` if these tell of none, or one of them does not tell yet.
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


@dataclass(frozen=True, slots=True)
class FixedShard:
    """One of a fleet of fixed size, each a workload of its own that an HPA may run or not: shard `number` of `shards`."""

    fleet: Fleet
    number: int
    shards: int

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric: the replicas of this shard."""
        return (MetricSpec(metric_name("argocd", f"application-controller-shard-{self.number}"), 1.0),)

    def places(self) -> tuple[Place, ...]:
        """Return what decides who owns what."""
        return self.fleet.places()

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Judge by the clusters that the shard owns: with one or more it runs, with none it may sleep."""
        clusters = self.fleet.clusters(readings, [], now)
        owned = owners(clusters, self.shards, self.fleet.algorithm).count(self.number)
        return Assessment(
            (Metric(self.specs()[0].name, float(owned > 0)),),
            active=owned > 0,
            reasons=(
                f"{'active' if owned else 'inactive'}: shard {self.number} of {self.shards} owns {owned} of {len(clusters)} clusters",
            ),
            components=(
                Component("own clusters", owned, "clusters"),
                Component("clusters", len(clusters), "clusters"),
            ),
        )


@dataclass(frozen=True, slots=True)
class Shards:
    """How many shards are worth running, as its queues and, if `period` is set, its overdue applications have it.

    A shard without a cluster does nothing, so no metric ever asks for a number of shards of which one would own none:
    each is brought down to the largest number, at most `most`, of which every shard owns a cluster.
    """

    queues: WorkqueueTrigger
    pages: tuple[Place, ...]
    fleet: Fleet
    most: int
    overdue_target: float
    period: float | None  # seconds that may pass between two comparisons of an application

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the number of shards, with target 1, and the overdue applications, with as many as a shard may have."""
        shards = MetricSpec(metric_name("argocd", "application-controller-shards"), 1.0)
        late = MetricSpec(metric_name("argocd", "overdue-applications"), self.overdue_target)
        return (shards,) if self.period is None else (shards, late)

    def places(self) -> tuple[Place, ...]:
        """Return the pages, and what decides who owns what."""
        return (*self.pages, *self.fleet.places())

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Judge by min(ceil(items in the queues / queueLength), shards that would all own a cluster), at least 1.

        The HPA takes the larger of both metrics, so the overdue applications are told only up to the largest count
        that asks for such a number of shards. Always active: a controller at zero sees no drift.
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
            told = min(
                float(late), self.overdue_target * self._possible(clusters, math.ceil(late / self.overdue_target))
            )
            values.append(told)
            note = "" if told == late else f"told as {told:g}: more shards would leave one without a cluster"
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
        if self.fleet.secrets is None:  # no UIDs, so that only round-robin without pins is known for certain
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
