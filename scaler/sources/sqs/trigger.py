"""Source `sqs`: the backlog of queues as KEDA's built-in `aws-sqs-queue` counts it, and what keeps workers alive."""

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar

from pydantic import Field, field_validator, model_validator

from scaler.clients.aws.settings import REGION, partition_of, region_of_host
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.sources.base import (
    Claim,
    CommaList,
    Count,
    Flag,
    Interval,
    Seconds,
    Trigger,
    idle_refresh_field,
    refresh_field,
    settle_field,
)
from scaler.sources.names import metric_name
from scaler.sources.sqs.places import QUEUE_NAME, Account, Counts, Listing, Queue, queue_name

_HOST = r"(?P<host>[A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_QUEUE_URL = re.compile(rf"https?://{_HOST}/(?P<account>[A-Za-z0-9_-]+)/(?P<name>[^/]+)")
_ENDPOINT = re.compile(rf"https?://{_HOST}/?")  # no user, path or query: signed requests go there


class SqsTrigger(Trigger):
    """Scales on the messages of one or several SQS queues."""

    queue_url: CommaList | None = Field(
        None, alias="queueURL", description="URL or name of the queue; a comma-separated list is added up."
    )
    queue_name_prefix: str | None = Field(
        None, description="Every queue of this region and account whose name begins so, found again every 60 s."
    )
    queue_length: Count = Field(5, gt=0, le=10**12, description="Target: messages per replica.")
    activation_queue_length: Count = Field(0, description="Active above this many messages.")
    aws_region: str | None = Field(None, description="Region of the queues; needed where `queueURL` does not tell it.")
    aws_endpoint: str | None = Field(
        None, description="Another endpoint: AWS's own, or one that the configuration allows."
    )
    aws_role_arn: str | None = Field(
        None, description="Role to assume; the configuration must grant it to the namespace."
    )
    identity_owner: str | None = Field(None, description="Only `operator`, as in `aws-sqs-queue`; may be left out.")
    scale_on_in_flight: Flag = Field(True, description="Add messages in flight (received, not deleted) to the backlog.")
    scale_on_delayed: Flag = Field(False, description="Add delayed messages to the backlog.")
    hold_in_flight: Flag = Field(
        True, description="Messages in flight keep the workload active, however the backlog is counted."
    )
    refresh_seconds: Interval = refresh_field(10)
    idle_refresh_seconds: Interval = idle_refresh_field(1)
    settle_seconds: Seconds = settle_field(60)

    @field_validator("queue_url")
    @classmethod
    def _check_queues(cls, queues: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for queue in queues or ():
            if "://" in queue and _QUEUE_URL.fullmatch(queue) is None:
                raise ValueError("https://HOST/ACCOUNT/NAME, or the name of the queue")
            if not QUEUE_NAME.fullmatch(queue_name(queue)):
                raise ValueError("a URL, or a name of up to 80 letters, digits, '-' and '_', which may end in .fifo")
        return queues

    @field_validator("queue_name_prefix")
    @classmethod
    def _check_prefix(cls, prefix: str | None) -> str | None:
        if prefix is not None and not QUEUE_NAME.fullmatch(prefix):
            raise ValueError("1 to 80 letters, digits, '-' and '_'")
        return prefix

    @field_validator("aws_region")
    @classmethod
    def _check_region(cls, region: str | None) -> str | None:
        if region is not None and not re.fullmatch(REGION, region):
            raise ValueError("a region such as eu-west-1")
        return region

    @field_validator("aws_endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        if not _ENDPOINT.fullmatch(endpoint):
            raise ValueError("https://HOST or http://HOST:PORT")
        return endpoint.rstrip("/").lower()

    @field_validator("aws_role_arn")
    @classmethod
    def _check_role(cls, arn: str | None) -> str | None:
        if arn is not None and not re.fullmatch(r"arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}", arn):
            raise ValueError("arn:aws:iam::ACCOUNT:role/NAME")
        return arn

    @field_validator("identity_owner")
    @classmethod
    def _check_owner(cls, owner: str | None) -> str | None:
        if owner not in {None, "operator"}:
            raise ValueError(
                "left out, or operator: this scaler reads with its own identity; to read with another, "
                "set awsRoleArn to a role that its configuration grants to this namespace"
            )
        return owner

    @model_validator(mode="after")
    def _check_together(self) -> "SqsTrigger":
        if (self.queue_url is None) == (self.queue_name_prefix is None):
            raise ValueError("queueURL: give either queueURL or queueNamePrefix")
        regions = {region for queue in self.queue_url or () if (region := _region_of(queue))}
        if self.aws_region is not None:
            if self.aws_endpoint is None and regions - {self.aws_region}:
                raise ValueError(
                    f"awsRegion: '{self.aws_region}' is not the region that queueURL tells ({', '.join(sorted(regions))})"
                )
        elif len(regions) != 1 or not all(_region_of(queue) for queue in self.queue_url or ()):
            raise ValueError("awsRegion: required, because queueURL does not tell one region for all queues")
        return self

    @property
    def region(self) -> str:
        """The region: as given, or as the URLs tell it."""
        return self.aws_region or next(filter(None, map(_region_of, self.queue_url or ())))

    @property
    def account(self) -> Account:
        """As whom and where this trigger reads."""
        role = self.aws_role_arn
        return Account(self.region, self.aws_endpoint, role, self.namespace if role else "")

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric, the backlog, with `queueLength` messages per replica."""
        names = [self.queue_name_prefix] if self.queue_name_prefix else map(queue_name, self.queue_url or ())
        return (MetricSpec(metric_name("sqs", *names), float(self.queue_length)),)

    def places(self) -> tuple[Place, ...]:
        """Return the queues, or the listing that finds them."""
        if self.queue_name_prefix is not None:
            return (Listing(self.account, self.queue_name_prefix),)
        return tuple(Queue(self.account, queue) for queue in self.queue_url or ())

    def found(self, readings: Readings) -> tuple[Place, ...]:
        """Return the queues of the listing."""
        if self.queue_name_prefix is None:
            return ()
        return tuple(Queue(self.account, url) for url in readings[Listing(self.account, self.queue_name_prefix)])

    def claims(self) -> tuple[Claim, ...]:
        """Return the ARNs of the queues, the endpoint and the role.

        A queue given by name is in the account of the identity that reads, which an ARN without account stands for.
        """
        claims = [Claim("sqs", self._arn(queue)) for queue in self.queue_url or ()]
        if self.queue_name_prefix is not None:
            claims.append(Claim("sqs", self._arn(self.queue_name_prefix) + "*"))
        if self.aws_endpoint is not None:
            claims.append(Claim("endpoint", self.aws_endpoint))
        if self.aws_role_arn is not None:
            claims.append(Claim("role", self.aws_role_arn))
        return tuple(claims)

    def _arn(self, queue: str) -> str:
        if url := _QUEUE_URL.fullmatch(queue):
            account = url["account"]
        else:
            account = self.aws_role_arn.split(":")[4] if self.aws_role_arn else ""
        return f"arn:{partition_of(self.region)}:sqs:{self.region}:{account}:{queue_name(queue)}"

    counts: ClassVar[tuple[str, ...]] = ("visible", "inFlight", "delayed")

    def imagined(self, counts: Mapping[str, float], replicas: int, now: float) -> Readings:
        """Return all messages in the first queue; what they add up to is the same."""
        del replicas, now
        visible, in_flight, delayed = (round(counts.get(name, 0)) for name in self.counts)
        full, empty = Counts(visible, in_flight, delayed), Counts(0, 0, 0)
        if self.queue_name_prefix is not None:
            (listing,) = self.places()
            queue = self.queue_name_prefix
            return {listing: (queue,), Queue(self.account, queue): full}
        return {place: full if number == 0 else empty for number, place in enumerate(self.places())}

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Judge by backlog = visible (+ in flight) (+ delayed), as `aws-sqs-queue` does, over all queues."""
        del now
        queues = [place for place in (*self.places(), *self.found(readings)) if isinstance(place, Queue)]
        counts = [readings[queue] for queue in queues]
        visible, in_flight, delayed = (
            sum(getattr(count, name) for count in counts) for name in ("visible", "in_flight", "delayed")
        )
        backlog = visible + in_flight * self.scale_on_in_flight + delayed * self.scale_on_delayed
        components = (
            Component("visible", visible, "messages"),
            Component(
                "in flight", in_flight, "messages", _note(counted=self.scale_on_in_flight, key="scaleOnInFlight")
            ),
            Component("delayed", delayed, "messages", _note(counted=self.scale_on_delayed, key="scaleOnDelayed")),
            *(_per_queue(queues, counts) if len(queues) > 1 or self.queue_name_prefix else ()),
        )
        above = backlog > self.activation_queue_length
        held = self.hold_in_flight and in_flight > 0
        if above:
            reason = f"active: backlog {backlog} is above activationQueueLength {self.activation_queue_length}"
        elif held:
            reason = f"active: {in_flight} messages in flight are being worked on (holdInFlight)"
        else:
            reason = (
                f"inactive: backlog {backlog} is not above activationQueueLength {self.activation_queue_length} "
                f"({visible} visible, {in_flight} in flight, {delayed} delayed; queues: {len(queues)})"
            )
        return Assessment((Metric(self.specs()[0].name, float(backlog)),), above or held, (reason,), components)


def _region_of(queue: str) -> str | None:
    url = _QUEUE_URL.fullmatch(queue)
    return region_of_host(url["host"]) if url else None


def _note(*, counted: bool, key: str) -> str:
    return "" if counted else f"not counted: {key} is false"


def _per_queue(queues: Iterable[Queue], counts: Iterable[Counts]) -> Iterable[Component]:
    for queue, count in zip(queues, counts, strict=True):
        yield Component(
            f"queue {queue_name(queue.queue)}",
            count.visible,
            "messages",
            f"visible; {count.in_flight} in flight, {count.delayed} delayed",
        )
