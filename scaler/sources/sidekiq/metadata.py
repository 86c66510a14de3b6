"""The metadata of source `sidekiq`: its keys, and what is allowed for each."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from scaler.sources.base import (
    CommaList,
    Count,
    Flag,
    Interval,
    Seconds,
    Target,
    idle_refresh_field,
    matching,
    refresh_field,
    settle_field,
)
from scaler.sources.redis_keys import RedisKeys
from scaler.sources.sidekiq import queue_names
from scaler.sources.sidekiq.workload import compile_pattern

MAX_BUSY_RATIO = 16.0
"""Above 1 makes sense for several processes in a pod or for `countWaiting`; a percentage is a mistake."""
OFF = "off"
MAX_DEPLOYMENT_NAME = 46
"""A pod name has 58 characters before the five random ones (Kubernetes names/generate.go), 12 for the hash."""


_TOO_LONG = f"at most {MAX_DEPLOYMENT_NAME} characters, since the names of pods are cut; use hostnameRegex instead"
Deployment = Annotated[
    str,
    matching("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "the name of a Deployment"),
    matching(f".{{1,{MAX_DEPLOYMENT_NAME}}}", _TOO_LONG),
]


class SidekiqMetadata(RedisKeys):
    """The metadata keys of source `sidekiq`."""

    queues: Annotated[CommaList, AfterValidator(queue_names.check)] = Field(
        description="The queues that wake this workload, separated by commas."
    )
    deployment: Deployment | None = Field(None, description="Only processes in pods of this Deployment.")
    hostname_regex: str | None = Field(
        None, description="Only processes whose host name has a part that fits this regular expression (RE2)."
    )
    tag: str | None = Field(None, description="Only processes with this tag (`:tag:` in sidekiq.yml, `-g`).")
    label: str | None = Field(None, description="Only processes with this label (`:labels:` in sidekiq.yml).")
    capsule: str | None = Field(
        None, description="Only this capsule of each process, which Sidekiq reports from 8.0.9 on."
    )
    busy_ratio: Target | None = Field(
        0.75,
        le=MAX_BUSY_RATIO,
        description="Target share of busy threads; `off` leaves this metric out.",
        json_schema_extra={"words": [OFF]},
    )
    queue_length: Target | None = Field(None, description="Target of a second metric: waiting jobs per process.")
    queue_latency: Target | None = Field(
        None, description="Target of a third metric: seconds that the oldest waiting job may have waited."
    )
    count_waiting: Flag = Field(
        False, description="Count waiting jobs as if busy, so that one step reaches the needed size."
    )
    concurrency: Count | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Threads per process, for `countWaiting` while no process reports it; otherwise learned.",
    )
    activation_queue_length: Count = Field(0, description="Active above this many waiting jobs.")
    schedule_lead_seconds: Seconds = Field(
        30, description="Wake for scheduled and retried jobs that are due within this time."
    )
    hold_busy: Flag = Field(
        True, description="Busy threads, on quiet (terminating) processes too, keep the workload active."
    )
    super_fetch: Flag = Field(
        False,
        description="Sidekiq Pro: jobs in the private queues of processes that are gone count as waiting.",
    )
    spare_busy: Literal["off", "prefer", "hold"] = Field(
        "off",
        description="`prefer`: scale-in takes idle pods first. `hold`: besides, never fewer replicas than busy pods.",
    )
    key_prefix: str = Field("", description="Namespace of redis-namespace, with Sidekiq 6 and older.")
    refresh_seconds: Interval = refresh_field(5)
    idle_refresh_seconds: Interval = idle_refresh_field(0.25)
    settle_seconds: Seconds = settle_field(15)

    @field_validator("busy_ratio", mode="before")
    @classmethod
    def _take_off(cls, ratio: Any) -> Any:
        if isinstance(ratio, str) and ratio != OFF and ratio.isalpha():
            raise ValueError(f"a number, or `{OFF}`")
        return None if ratio == OFF else ratio

    @field_validator("hostname_regex")
    @classmethod
    def _check_regex(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)
        return pattern

    @field_validator("key_prefix")
    @classmethod
    def _end_with_colon(cls, prefix: str) -> str:
        """Accept the bare namespace too, after which redis-namespace puts a colon."""
        return prefix if not prefix or prefix.endswith(":") else f"{prefix}:"

    @model_validator(mode="after")
    def _keep_a_metric(self) -> Self:
        if self.busy_ratio is None and self.queue_length is None and self.queue_latency is None:
            raise ValueError("busyRatio: `off` leaves no metric; give queueLength or queueLatency too")
        return self
