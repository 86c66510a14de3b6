"""The base of every source: metadata types, `Trigger`, `Claim`, and `Source`, which declares a source."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel
from yarl import URL

from scaler.clients.http.fetch import checked_url, shown
from scaler.clients.kubernetes.selectors import parse_selector
from scaler.core.domain import Assessment, MetricSpec, Place, Reader, Readings


def _integer(value: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", value):
            raise ValueError("a whole number")
        return int(value)
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > 40 or not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value):
            raise ValueError("a number")
        number = float(value)
        if not math.isfinite(number):
            raise ValueError("a number")
        return number
    return value


def _boolean(value: Any) -> Any:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("true or false")
        return value == "true"
    return value


def _comma_list(value: Any) -> Any:
    if isinstance(value, str):
        items = tuple(item.strip() for item in value.split(","))
        if not all(items):
            raise ValueError("a comma-separated list without empty items")
        if len(items) > MAX_LIST:
            raise ValueError(f"a comma-separated list of at most {MAX_LIST} items")
        return tuple(dict.fromkeys(items))
    return value


def _interval(value: float) -> float:
    if 0 < value < 0.1:
        raise ValueError("0, or 0.1 or more")
    return value


def matching(pattern: str, allowed: str) -> AfterValidator:
    """Require a text that matches `pattern` from end to end; the error says what is `allowed`."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(allowed)
        return text

    return AfterValidator(check)


def _label_selector(text: str) -> str:
    try:
        parse_selector(text)
    except ValueError:
        raise ValueError("a label selector, such as app=x, x in (a, b), x notin (a), x or !x") from None
    return text


MAX_LIST = 200
"""Items of one comma-separated value; each is a place to read, so the limit keeps a trigger from naming 10,000."""

Count = Annotated[int, BeforeValidator(_integer), Field(ge=0, le=2**63 - 1)]
Number = Annotated[float, BeforeValidator(_decimal)]
Target = Annotated[float, BeforeValidator(_decimal), Field(ge=0.001, le=1e12)]
"""A target of the HPA, which keeps three decimals and refuses 0 (KEDA `pkg/scalers/scaler.go`)."""
Seconds = Annotated[float, BeforeValidator(_decimal), Field(ge=0, le=86_400)]
Interval = Annotated[float, BeforeValidator(_decimal), AfterValidator(_interval), Field(ge=0, le=3_600)]
Flag = Annotated[bool, BeforeValidator(_boolean)]
CommaList = Annotated[tuple[str, ...], BeforeValidator(_comma_list)]
LabelSelector = Annotated[str, AfterValidator(_label_selector)]
NamespaceName = Annotated[str, matching("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "the name of a namespace")]
Url = Annotated[str, AfterValidator(checked_url)]
"""`http` or `https`, in a field of `url_field`, as it may have a user name and password."""

NAMESPACE = "(namespace)"
"""The field of a trigger that holds the ScaledObject's namespace; no metadata key can set it."""

MetricType = Literal["AverageValue", "Value"]


def refresh_field(default: float) -> Any:
    """Declare `refreshSeconds` with the default of a source."""
    return Field(
        default,
        description="How old a reading may be, in seconds, while the backend answers; with `0` every GetMetrics waits for a read that begins after it, and no older value is ever told (for ScaledJobs).",
    )


def idle_refresh_field(default: float) -> Any:
    """Declare `idleRefreshSeconds` with the default of a source."""
    return Field(default, description="The same while inactive and a push stream is open: how fast it wakes.")


def settle_field(default: float) -> Any:
    """Declare `settleSeconds` with the default of a source."""
    return Field(
        default,
        description="How many seconds an inactive or lower reading must be seen after a fault before it is told.",
    )


def url_field(key: str, description: str, default: Any = ...) -> Any:
    """Declare `key`, whose value is a URL and shown nowhere; without `default` it is required."""
    return Field(default, alias=key, repr=False, json_schema_extra={"secret": True}, description=description)


@dataclass(frozen=True, slots=True)
class Claim:
    """One thing that a trigger wants to use; the access rules must allow it.

    `kind` is `sqs` (a queue's ARN), `role` (an ARN), `endpoint` (a URL for AWS requests), `redis` or `prometheus`
    (a name in the configuration), `url` (a URL that is fetched) or `kubernetes` (a namespace whose objects are read,
    `*` for all of them; with `spareBusy` its pods are also annotated).
    """

    kind: Literal["sqs", "role", "endpoint", "redis", "prometheus", "url", "kubernetes"]
    value: str


def url_claim(url: str) -> Claim:
    """Return the claim for a URL of a field of `url_field`: without credentials and query."""
    return Claim("url", shown(URL(url)))


class Trigger(BaseModel, ABC):
    """The parsed metadata of one trigger. Frozen, hashable, and without I/O.

    Each source subclasses it: the fields are the metadata keys (camelCase by alias; `Field(description=…)` becomes the
    reference page), the methods are the rules of the source. Validators raise `ValueError` whose text says what is
    allowed.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        defer_build=True,  # validators of unused sources would take memory
    )

    namespace: str = Field(alias=NAMESPACE)
    """The namespace of the ScaledObject, as KEDA sends it."""

    source: str = Field(description="Which source reads the metric.")
    metric_type: MetricType = Field(
        "AverageValue",
        description="Set it to `Value` when the trigger itself has `metricType: Value`, so that ratios and ages are reported in the form that this HPA type needs.",
    )
    refresh_seconds: Interval = refresh_field(10)
    idle_refresh_seconds: Interval = idle_refresh_field(1)
    settle_seconds: Seconds = settle_field(0)
    stale_seconds: Seconds = Field(
        60,
        description="How many seconds the last good reading counts as known when the backend fails.",
    )
    hold_seconds: Seconds = Field(
        3_600,
        description="How many seconds after that an active trigger goes on telling its last answer instead of an error; `0`: not at all.",
    )

    @field_validator("idle_refresh_seconds")
    @classmethod
    def _check_idle(cls, seconds: float) -> float:
        if seconds == 0:
            raise ValueError("0.1 or more")
        return seconds

    @abstractmethod
    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the metrics of this trigger, at least one, from the metadata alone."""

    @abstractmethod
    def places(self) -> tuple[Place, ...]:
        """Return the places to read before this trigger can be assessed, without duplicates."""

    def further_places(self, readings: Readings) -> tuple[Place, ...]:
        """Return the places besides `places()` that their readings name (the queues of a listing); usually none."""
        del readings
        return ()

    @abstractmethod
    def claims(self) -> tuple[Claim, ...]:
        """Return everything that the access rules must allow."""

    wakes: ClassVar[bool] = True
    """Whether its work is known while the workload that does it has no pod."""

    counts: ClassVar[tuple[str, ...]] = ()
    """The counts that `imagined` takes, for `simulate`: first the waiting work, then the running work, then others."""

    def imagined(self, counts: Mapping[str, float], replicas: int, now: float) -> Readings:
        """Return the readings that the source would find with `counts` while `replicas` run, at Unix time `now`."""
        raise NotImplementedError(f"source {self.source} cannot be imagined from {sorted(counts)}, {replicas}, {now}")

    @property
    def one_metric_each(self) -> str:
        """What to do where a trigger may have one metric alone, and this one has several."""
        return "split it into several triggers"

    def cautions(self, target_kind: str, max_replicas: int, target_name: str = "") -> tuple[str, ...]:
        """Return what is allowed but will not do what its author thinks, for `explain` and `validate`; usually nothing.

        `target_kind` is the kind of the workload that is scaled (`Deployment`, `StatefulSet`, `Job`), and `target_name`
        its name, where it has one.
        """
        del target_kind, max_replicas, target_name
        return ()

    def job_cautions(self, strategy: str) -> tuple[str, ...]:
        """Return what will not do what its author thinks in a ScaledJob of this `scalingStrategy`; usually nothing."""
        del strategy
        return ()

    @property
    def spares_busy(self) -> bool:
        """Whether `deletion_costs` are written to the pods, so that scaling in removes idle ones first."""
        return False

    def deletion_costs(self, readings: Readings, now: float) -> Mapping[str, int]:
        """Return the deletion cost of each pod of the workload by its name, at Unix time `now`; 0 is idle."""
        raise NotImplementedError(f"source {self.source} knows no pods from {len(readings)} readings at {now}")

    @abstractmethod
    def assess(self, readings: Readings, now: float) -> Assessment:
        """Return the assessment at Unix time `now`, with one metric for every spec, in the order of `specs()`.

        `readings` has one reading for each of `places()` and `further_places()`. Pure: equal readings give an equal
        assessment until `Assessment.until`. Raises `Fault` if the readings do not contain what is needed.
        """


@dataclass(frozen=True, slots=True)
class Rate:
    """The default rate limit of each backend of a kind (the first part of `Place.backend`), in requests per second."""

    kind: str
    per_second: float
    description: str


def free(_backend: str, _cost: Any) -> float | None:
    """Return None: most backends do not bill requests."""
    return None


@dataclass(frozen=True, slots=True)
class Source:
    """One line of the registry: the name for `source:`, the trigger class, and the readers of its places.

    `rates` are the rate limits of backend kinds that no earlier source has declared. `price_per_million` returns what a
    million requests to a backend cost in US dollars, by the section `cost:` of the configuration, or None if they are
    free.

    `least_cooldown_seconds` and `least_window_seconds` are the shortest `cooldownPeriod` and scale-in
    `stabilizationWindowSeconds` that `advise` tries: real readings lag and vary, simulated ones do not.
    """

    name: str
    trigger: type[Trigger]
    readers: tuple[type[Reader], ...]
    rates: tuple[Rate, ...] = ()
    price_per_million: Callable[[str, Any], float | None] = free
    least_cooldown_seconds: int = 0
    least_window_seconds: int = 0
