"""ScaledObjects and ScaledJobs (keda.sh/v1alpha1) as dataclasses: the fields that decide about scaling, KEDA's defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scaler.keda.arithmetic import MetricType
from scaler.keda.behavior import CAMEL_CASE, Behavior
from scaler.keda.hpa import HpaSpec

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
AtLeastOne = Annotated[int, Field(ge=1, le=2**31 - 1)]

# The keys by which the reader of manifests hands over what does not stand in the spec; no YAML key is called that.
NAME, NAMESPACE, FILE, LINE, KEY_LINES = "(name)", "(namespace)", "(file)", "(line)", "(keyLines)"
PAUSED, PAUSED_REPLICAS = "(paused)", "(pausedReplicas)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationRef:
    """The TriggerAuthentication of a trigger."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    name: str
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] = "TriggerAuthentication"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One trigger; `line` is where it begins in its file, `key_lines` where each key of its metadata stands."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    type: str
    metadata: Mapping[str, str] = field(repr=False)  # may hold passwords
    name: str = ""
    metric_type: Literal["AverageValue", "Value", "Utilization"] | None = None
    use_cached_metrics: bool = False
    authentication_ref: AuthenticationRef | None = None
    line: Annotated[int, Field(alias=LINE)] = 0
    key_lines: Annotated[Mapping[str, int], Field(alias=KEY_LINES)] = field(default_factory=dict)

    @property
    def target_type(self) -> MetricType:
        """The type of the HPA's target for an external metric."""
        return "Value" if self.metric_type == "Value" else "AverageValue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """What stands in for a metric that failed more than `failure_threshold` times in a row."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    failure_threshold: Count
    replicas: Count
    behavior: Literal[
        "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower", "scalingModifiers"
    ] = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingModifiers:
    """A formula over the metrics of all triggers, in place of the metrics themselves."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    formula: str = ""
    target: str = ""
    activation_target: str = ""
    metric_type: Literal["AverageValue", "Value"] = "AverageValue"


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalPodAutoscalerConfig:
    """What KEDA passes on to the HPA as it is."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    behavior: Behavior | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advanced:
    """`spec.advanced`."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    horizontal_pod_autoscaler_config: HorizontalPodAutoscalerConfig = HorizontalPodAutoscalerConfig()
    scaling_modifiers: ScalingModifiers | None = None
    restore_to_original_replica_count: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTargetRef:
    """The workload that is scaled."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    name: str
    api_version: str = "apps/v1"
    kind: str = "Deployment"
    env_source_container_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalable:
    """What ScaledObjects and ScaledJobs have in common; periods are in seconds."""

    __pydantic_config__: ClassVar = CAMEL_CASE
    kind: ClassVar[str]
    unread: ClassVar[frozenset[str]] = frozenset()  # fields of the spec that nothing here depends on

    name: Annotated[str, Field(alias=NAME)]
    namespace: Annotated[str, Field(alias=NAMESPACE)] = "default"
    file: Annotated[str, Field(alias=FILE)] = ""
    line: Annotated[int, Field(alias=LINE)] = 0
    paused: Annotated[bool, Field(alias=PAUSED)] = False  # by annotation
    triggers: tuple[Trigger, ...]
    polling_interval: AtLeastOne = 30
    min_replica_count: Count = 0
    max_replica_count: AtLeastOne = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledObject(Scalable):
    """A ScaledObject; `paused_replicas` is the count that the annotation `paused-replicas` holds it at."""

    kind: ClassVar[str] = "ScaledObject"

    paused_replicas: Annotated[int | None, Field(alias=PAUSED_REPLICAS)] = None
    scale_target_ref: ScaleTargetRef
    cooldown_period: Count = 300
    initial_cooldown_period: Count = 0
    idle_replica_count: Count | None = None
    fallback: Fallback | None = None
    advanced: Advanced = Advanced()

    def hpa_spec(self) -> HpaSpec:
        """Return the HPA that KEDA makes; one never goes below 1 (KEDA controllers/keda/hpa.go)."""
        behavior = self.advanced.horizontal_pod_autoscaler_config.behavior
        return HpaSpec(max(1, self.min_replica_count), self.max_replica_count, behavior)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledJob(Scalable):
    """A ScaledJob; it has no HPA, no cooldown and no fallback."""

    kind: ClassVar[str] = "ScaledJob"
    unread: ClassVar[frozenset[str]] = frozenset(
        {
            "envSourceContainerName",
            "failedJobsHistoryLimit",
            "jobTargetRef",
            "rollout",
            "rolloutStrategy",
            "scalingStrategy",
            "successfulJobsHistoryLimit",
        }
    )
