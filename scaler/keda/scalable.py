"""ScaledObjects and ScaledJobs (keda.sh/v1alpha1) as dataclasses, with the fields for scaling and KEDA's defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from scaler.keda.arithmetic import MetricType
from scaler.keda.behavior import CAMEL_CASE, Behavior
from scaler.keda.hpa import HpaSpec

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
AtLeastOne = Annotated[int, Field(ge=1, le=2**31 - 1)]


def _number(text: str) -> str:
    """Accept a text that Go parses as a number, or ""."""
    if text and not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text):
        raise ValueError("must be a number in quotes")
    return text


NumberText = Annotated[str, AfterValidator(_number)]

# Keys for values from outside of the spec, which the reader of manifests adds; no YAML key has such a name.
NAME, NAMESPACE, FILE, LINE, KEY_LINES = "(name)", "(namespace)", "(file)", "(line)", "(keyLines)"
PAUSED, PAUSED_REPLICAS = "(paused)", "(pausedReplicas)"
PAUSED_SCALE_IN, PAUSED_SCALE_OUT, FORCED = "(pausedScaleIn)", "(pausedScaleOut)", "(forceActivation)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticationRef:
    """The TriggerAuthentication of a trigger."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    name: str
    kind: Literal["TriggerAuthentication", "ClusterTriggerAuthentication"] = "TriggerAuthentication"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One trigger; `line` is its first line in the file, `key_lines` are the lines of its metadata keys."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    type: Annotated[str, Field(min_length=1)]
    metadata: Mapping[str, str] = field(repr=False)  # may have passwords
    name: str = ""
    metric_type: Annotated[
        Literal["AverageValue", "Value", "Utilization"] | None,
        BeforeValidator(lambda text: None if text == "" else text),
    ] = None
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
    """The replacement for a metric that failed more than `failure_threshold` times in a row."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    failure_threshold: Count
    replicas: Count
    behavior: Literal[
        "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower", "scalingModifiers"
    ] = "static"

    def count(self, replicas: int) -> int:
        """Return how many replicas it asks for while there are `replicas`."""
        match self.behavior:
            case "currentReplicas":
                return replicas
            case "currentReplicasIfHigher":
                return max(replicas, self.replicas)
            case "currentReplicasIfLower":
                return min(replicas, self.replicas)
            case _:
                return self.replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingModifiers:
    """A formula over the metrics of all triggers, which replaces these metrics."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    formula: str = ""
    target: NumberText = ""
    activation_target: NumberText = ""
    metric_type: Literal["AverageValue", "Value"] = "AverageValue"

    @property
    def target_value(self) -> float:
        """The target in the HPA; KEDA refuses a formula without a target above 0."""
        return float(self.target or 0)

    @property
    def activation_above(self) -> float:
        """The value of the formula above which a poll counts as active; a push does not look at it."""
        return float(self.activation_target or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizontalPodAutoscalerConfig:
    """Fields that KEDA copies to the HPA."""

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

    name: Annotated[str, Field(min_length=1)]
    api_version: str = "apps/v1"
    kind: str = "Deployment"
    env_source_container_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalable:
    """The common part of ScaledObjects and ScaledJobs; periods are in seconds."""

    __pydantic_config__: ClassVar = CAMEL_CASE
    kind: ClassVar[str]
    unread: ClassVar[frozenset[str]] = frozenset()  # fields of the spec that are not used here

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
    """A ScaledObject; `paused_replicas` and the three flags after it are annotations (`autoscaling.keda.sh/…`).

    `paused_scale_in` and `paused_scale_out` stop KEDA and the HPA in one direction; with `force_activation` every
    trigger counts as active. KEDA reads them at each poll, and keeps the HPA
    (controllers/keda/scaledobject_controller.go).
    """

    kind: ClassVar[str] = "ScaledObject"

    paused_replicas: Annotated[int | None, Field(alias=PAUSED_REPLICAS)] = None
    paused_scale_in: Annotated[bool, Field(alias=PAUSED_SCALE_IN)] = False
    paused_scale_out: Annotated[bool, Field(alias=PAUSED_SCALE_OUT)] = False
    force_activation: Annotated[bool, Field(alias=FORCED)] = False
    scale_target_ref: ScaleTargetRef
    cooldown_period: Count = 300
    initial_cooldown_period: Count = 0
    idle_replica_count: Count | None = None
    fallback: Fallback | None = None
    advanced: Advanced = Advanced()

    @property
    def sleeps(self) -> bool:
        """Whether KEDA scales it to 0 or `idleReplicaCount` while nothing is active."""
        return self.min_replica_count == 0 or self.idle_replica_count is not None

    @property
    def working_fallback(self) -> Fallback | None:
        """The fallback; None if KEDA takes it for invalid: beside `scalingModifiers` their target must be a whole number.

        Source: KEDA pkg/fallback/fallback.go, HasValidFallback.
        """
        modifiers = self.advanced.scaling_modifiers
        whole = modifiers is None or modifiers == ScalingModifiers() or re.fullmatch(r"\+?0*[1-9]\d*", modifiers.target)
        return self.fallback if whole else None

    def sleeps_on_errors(self, replicas: int) -> bool:
        """Tell whether KEDA scales it to 0 or `idleReplicaCount` in the end if its triggers go on failing.

        A fallback that stands in counts as active, but beside a formula by its value.
        """
        if self.fallback is None or not self.sleeps or self.force_activation:
            return False
        fallback, modifiers = self.working_fallback, self.advanced.scaling_modifiers
        if fallback is None:
            return self.fallback.replicas == 0  # KEDA holds it on an error only for another number
        if modifiers is None or not modifiers.formula or fallback.behavior == "scalingModifiers":
            return False
        return modifiers.target_value * fallback.count(replicas) <= modifiers.activation_above

    def held_by(self) -> tuple[str, ...]:
        """Return one sentence for each annotation that is set, about its effect."""
        if self.paused:
            count = "at its replicas" if self.paused_replicas is None else f"at {self.paused_replicas} replicas"
            return (f"paused by annotation: KEDA holds it {count} and has deleted the HPA",)
        effects = (
            (self.paused_scale_in, "paused-scale-in: neither KEDA nor the HPA scales it down"),
            (self.paused_scale_out, "paused-scale-out: neither KEDA nor the HPA scales it up"),
            (self.force_activation, "force-activation: KEDA takes every trigger for active"),
        )
        return tuple(f"annotation autoscaling.keda.sh/{effect}" for in_force, effect in effects if in_force)

    def hpa_spec(self) -> HpaSpec:
        """Return the HPA that KEDA creates; its minimum is at least 1 (KEDA controllers/keda/hpa.go).

        A paused direction becomes `selectPolicy: Disabled`, in a new `behavior` if there is none.
        """
        behavior = self.advanced.horizontal_pod_autoscaler_config.behavior
        if self.paused_scale_in or self.paused_scale_out:
            up, down = (behavior or Behavior()).scale_up, (behavior or Behavior()).scale_down
            behavior = Behavior(
                replace(up, select_policy="Disabled") if self.paused_scale_out else up,
                replace(down, select_policy="Disabled") if self.paused_scale_in else down,
            )
        return HpaSpec(max(1, self.min_replica_count), self.max_replica_count, behavior)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingStrategy:
    """How Jobs are counted."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    strategy: Literal["default", "custom", "accurate", "eager"] = "default"
    custom_scaling_queue_length_deduction: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] = 0
    custom_scaling_running_job_percentage: str = ""
    pending_pod_conditions: tuple[str, ...] = ()
    multiple_scalers_calculation: Literal["max", "min", "avg", "sum"] = "max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What an edit of a ScaledJob does to the Jobs that run: `immediate` deletes them, `gradual` leaves them."""

    __pydantic_config__: ClassVar = CAMEL_CASE

    strategy: Literal["gradual", "immediate"] = "immediate"
    propagation_policy: Literal["foreground", "background"] = "background"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledJob(Scalable):
    """A ScaledJob; it has no HPA, no cooldown and no fallback. Of the annotations only `paused` has an effect."""

    kind: ClassVar[str] = "ScaledJob"
    unread: ClassVar[frozenset[str]] = frozenset({"jobTargetRef"})

    scaling_strategy: ScalingStrategy = ScalingStrategy()
    rollout: Rollout = Rollout()
    rollout_strategy: Literal["gradual", "immediate"] | None = None  # its older place, which comes first
    env_source_container_name: str = ""
    successful_jobs_history_limit: Count = 100
    failed_jobs_history_limit: Count = 100

    @property
    def deletes_running_jobs(self) -> bool:
        """Whether every edit of its spec deletes the Jobs that run."""
        return (self.rollout_strategy or self.rollout.strategy) == "immediate"
