"""Source `argocd`: repo-server requests, application-controller shards, and the applicationset-controller's queue."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from scaler.clients.kubernetes.objects import Objects
from scaler.clients.pages.exposition import START
from scaler.core.domain import Assessment, Metric, MetricSpec, Place, Readings
from scaler.core.version import page
from scaler.sources.argocd.applications import APPLICATIONS, application
from scaler.sources.argocd.clusters import CLUSTER_SECRETS, SECRETS, cluster
from scaler.sources.argocd.repo_server import WANTED, RepoServer
from scaler.sources.argocd.sharding import Algorithm
from scaler.sources.argocd.shards import CLUSTER_INFO, FixedShard, Fleet, Shards
from scaler.sources.base import (
    NAMESPACE,
    Claim,
    CommaList,
    Count,
    Flag,
    Interval,
    NamespaceName,
    Seconds,
    Target,
    Trigger,
    idle_refresh_field,
    refresh_field,
)
from scaler.sources.names import metric_name
from scaler.sources.page_keys import WAYS, PageKeys
from scaler.sources.workqueue import Series, WorkqueueTrigger

PAGE_FIELDS = PageKeys.model_fields.keys() - Trigger.model_fields.keys()
PORTS = {"repo-server": 8084, "application-controller": 8082, "applicationset-controller": 8080}
"""The metrics ports in the official manifests."""
QUEUES = {
    "application-controller": ("app_reconciliation_queue", "app_operation_processing_queue"),
    "applicationset-controller": ("applicationset",),
}
"""The queues of each component: of the application-controller those that its shards divide among them. Its operation
queue also gets items that turn out to need no work."""
FLEET_KEYS = frozenset({"sharding_algorithm", "in_cluster", "application_namespaces"})
KEYS = {
    "repo-server": PAGE_FIELDS | {"pending_requests"},
    "applicationset-controller": PAGE_FIELDS | {"queues", "queue_length"},
    "application-controller": PAGE_FIELDS
    | FLEET_KEYS
    | {
        "queues",
        "queue_length",
        "max_shards",
        "clusters",
        "overdue_applications",
        "resync_seconds",
        "resync_jitter_seconds",
    },
    "shard": FLEET_KEYS | {"shard", "shards"},
}
"""The fields that apply to each component, and to a fixed shard of the application-controller."""


@dataclass(frozen=True, slots=True)
class ApplicationSets:
    """The queue of the applicationset-controller; always active, and of several replicas only the leader works."""

    queues: WorkqueueTrigger

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric."""
        return (MetricSpec(metric_name("argocd", "applicationset-controller"), self.queues.queue_length),)

    def places(self) -> tuple[Place, ...]:
        """Return its pages."""
        return self.queues.places()

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess the items in the queue and in progress."""
        load = self.queues.assess(readings, now)
        items = load.metrics[0].value
        return replace(
            load,
            metrics=(Metric(self.specs()[0].name, items),),
            active=True,
            reasons=(f"active: always; {items:g} ApplicationSets wait or are at work",),
        )


class ArgocdTrigger(PageKeys):
    """Scales on the pending work of a component of Argo CD."""

    component: Literal["repo-server", "application-controller", "applicationset-controller"] = Field(
        description="The component that is measured."
    )
    argocd_namespace: NamespaceName = Field("argocd", alias="namespace", description="Namespace of Argo CD.")
    pending_requests: Target = Field(3, description="`repo-server`: target, pending requests per replica.")
    queues: CommaList | None = Field(
        None, description="Names of the work queues; left out, those of the component that shards or replicas share."
    )
    queue_length: Target = Field(50, description="Items in the queues per shard.")
    sharding_algorithm: Algorithm = Field(
        "legacy", description="The value of `ARGOCD_CONTROLLER_SHARDING_ALGORITHM`, which decides who owns a cluster."
    )
    max_shards: Count = Field(
        20, ge=1, le=64, description="Never more shards than this; set it to `maxReplicaCount` or below."
    )
    clusters: Literal["secrets", "metrics"] = Field(
        "secrets",
        description="Where clusters are found: in their Secrets, or without the right to read these in `argocd_cluster_info`, which tells how many there are but not who owns them.",
    )
    in_cluster: Flag = Field(
        True, description="Whether Argo CD manages its own cluster too (`cluster.inClusterEnabled`)."
    )
    application_namespaces: CommaList | None = Field(
        None, description="Namespaces of Applications; left out, that of Argo CD."
    )
    overdue_applications: Target = Field(100, description="Second metric: overdue applications that a shard may have.")
    resync_seconds: Seconds = Field(
        120, description="`timeout.reconciliation` (180 before Argo CD 3.0); 0: no resync, and no second metric."
    )
    resync_jitter_seconds: Seconds = Field(60, description="`timeout.reconciliation.jitter` (0 before Argo CD 3.0).")
    shard: Count | None = Field(
        None, description="With `shards`: active when this shard of a fixed fleet owns a cluster; counted from 0."
    )
    shards: Count | None = Field(
        None, ge=1, le=64, description="How many shards the fixed fleet has (`ARGOCD_CONTROLLER_REPLICAS`)."
    )
    # The page of an application-controller has megabytes, and the HPA polls every 15 s. Only fixed shards can be idle,
    # and these need no page: watches deliver their clusters.
    refresh_seconds: Interval = refresh_field(15)
    idle_refresh_seconds: Interval = idle_refresh_field(0.5)

    @model_validator(mode="before")
    @classmethod
    def _fill_in_pods(cls, metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        """Default to the pods of the official manifests, whose label the argo-helm chart also uses."""
        component = metadata.get("component")
        if component not in PORTS or "shard" in metadata or "shards" in metadata:
            return metadata
        if not metadata.keys() & WAYS.keys():
            metadata = {"podSelector": f"app.kubernetes.io/name=argocd-{component}", **metadata}
        if "podSelector" in metadata:
            metadata = {"podNamespace": metadata.get("namespace", "argocd"), "port": PORTS[component], **metadata}
        return metadata

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        fixed = self.shard is not None or self.shards is not None
        if fixed and self.component != "application-controller":
            raise ValueError("shard: has a meaning only for component application-controller")
        if fixed and (self.shard is None or self.shards is None or self.shard >= self.shards):
            raise ValueError("shard: must come with shards, and be below it: shards count from 0")
        meant = (
            KEYS["shard" if fixed else self.component] | Trigger.model_fields.keys() | {"component", "argocd_namespace"}
        )
        for field in sorted(self.model_fields_set - meant):
            key = type(self).model_fields[field].alias
            raise ValueError(f"{key}: has no meaning for {'a fixed shard' if fixed else f'component {self.component}'}")
        if self.metric_type == "Value" and self.component == "application-controller":
            raise ValueError("metricType: must be AverageValue, because the value is a number of shards already")
        return self

    def _queues(self) -> WorkqueueTrigger:
        """Return a `workqueue` trigger for the queues, on the same pages."""
        return WorkqueueTrigger.model_validate(
            {
                NAMESPACE: self.namespace,
                "source": "workqueue",
                "queues": self.queues or QUEUES[self.component],
                "queueLength": self.queue_length,
                **self.model_dump(by_alias=True, include=set(PAGE_FIELDS), exclude_unset=True),
            }
        )

    def _fleet(self, *, count_applications: bool) -> Fleet:
        """Return the objects that decide which shard owns a cluster; Applications only if they are needed."""
        namespaces = self.application_namespaces or (self.argocd_namespace,)
        secrets = Objects(SECRETS, self.argocd_namespace, CLUSTER_SECRETS, cluster)
        return Fleet(
            secrets=secrets if self.clusters == "secrets" else None,
            applications=tuple(Objects(APPLICATIONS, namespace, "", application) for namespace in namespaces)
            if count_applications or self.sharding_algorithm == "consistent-hashing"
            else (),
            algorithm=self.sharding_algorithm,
            in_cluster=self.in_cluster,
        )

    @property
    def view(self) -> RepoServer | ApplicationSets | Shards | FixedShard:
        """The component of this trigger, with its rules."""
        if self.component == "repo-server":
            return RepoServer(self.page_places(WANTED), self.pending_requests)
        if self.component == "applicationset-controller":
            return ApplicationSets(self._queues())
        if self.shard is not None and self.shards is not None:
            return FixedShard(self._fleet(count_applications=False), self.shard, self.shards)
        queues = self._queues()
        wanted = Series(queues.metric_name).wanted
        if self.clusters == "metrics":
            wanted = replace(wanted, families=wanted.families | {CLUSTER_INFO, START})
        return Shards(
            queues=queues,
            pages=self.page_places(wanted),
            fleet=self._fleet(count_applications=self.resync_seconds > 0),
            most=self.max_shards,
            overdue_target=self.overdue_applications,
            period=self.resync_seconds + self.resync_jitter_seconds if self.resync_seconds else None,
        )

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the metrics of the component."""
        return self.view.specs()

    def places(self) -> tuple[Place, ...]:
        """Return the pages and objects that the component needs."""
        return self.view.places()

    @property
    def one_metric_each(self) -> str:
        """Tell that this component has both of its metrics in each trigger."""
        return f"component {self.component} always has both, so it goes with neither scalingModifiers nor a ScaledJob"

    def cautions(self, target_kind: str, max_replicas: int, target_name: str = "") -> tuple[str, ...]:
        """Tell that Argo CD does not follow the replicas of its application-controller, nor shares an ApplicationSet's."""
        del target_name
        drives = self.component == "application-controller" and self.shard is None
        if drives and target_kind in {"Deployment", "StatefulSet"}:
            text = (
                "Argo CD does not follow the replicas of its application-controller: without setting "
                f"ARGOCD_CONTROLLER_REPLICAS and a restart, clusters are orphaned or owned twice; see {page('argocd.md#why-not-the-replicas-of-the-application-controller')}"
            )
            return (text,)
        if self.component == "applicationset-controller" and max_replicas > 1:
            return (f"maxReplicaCount {max_replicas}: {self.component} gains nothing from a second replica; use 1",)
        return ()

    def claims(self) -> tuple[Claim, ...]:
        """Return the claims of the pages, and the namespaces whose objects are read."""
        read = [Claim("kubernetes", place.namespace) for place in self.places() if isinstance(place, Objects)]
        return tuple(dict.fromkeys((*self.page_claims(), *read)))

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess by the component's rules; raises `Unavailable` if the pages lack something."""
        return self.view.assess(readings, now)
