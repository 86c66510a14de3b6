"""Source `sqs`: the backlog of queues, counted as KEDA's built-in `aws-sqs-queue` does."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from scaler.clients.aws.settings import REGION, partition_of, region_of_host
from scaler.core.domain import Assessment, Component, Metric, MetricSpec, Place, Readings
from scaler.core.errors import Refused
from scaler.sources.base import (
    Claim,
    CommaList,
    Count,
    Flag,
    Interval,
    Seconds,
    Trigger,
    idle_refresh_field,
    matching,
    refresh_field,
    settle_field,
)
from scaler.sources.names import metric_name
from scaler.sources.sqs.dead_letters import dead_alone, likely_dead, shown
from scaler.sources.sqs.places import QUEUE_NAME, Account, Counts, Listed, Listing, Queue, queue_name
from scaler.sources.sqs.urls import HOST, QUEUE_URL, ambiguous, each_once, queue_problem, region_of

_GLOB = re.compile(r"[A-Za-z0-9_.*?!\[\]-]{1,100}")
Prefix = Annotated[str, matching(QUEUE_NAME.pattern, "1 to 80 letters, digits, '-' and '_'")]
Region = Annotated[str, matching("[A-Za-z0-9][A-Za-z0-9-]{0,62}", "a region such as eu-west-1")]
_ROLE = "arn:[a-z-]+:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]{1,512}"
RoleArn = Annotated[str, matching(_ROLE, "arn:aws:iam::ACCOUNT:role/NAME")]
_OWNED = (
    "left out, or operator: this scaler reads with its own identity; to read with another, "
    "set awsRoleArn to a role that its configuration grants to this namespace"
)
Owner = Annotated[str, matching("operator", _OWNED)]
_ENDPOINT = re.compile(rf"https?://{HOST}/?")  # no user, path or query, because signed requests are sent there


class SqsTrigger(Trigger):
    """Scales on the messages of one or several SQS queues."""

    queue_url: CommaList | None = Field(
        None, alias="queueURL", description="URL or name of the queue; a comma-separated list is added up."
    )
    queue_name_prefix: Prefix | None = Field(
        None,
        description="Every queue of this region and account whose name begins so, found again every 60 s; without the dead-letter queues of those found.",
    )
    exclude_queues: CommaList | None = Field(
        None, description="Names of queues, globbed (`*-test`), that `queueNamePrefix` leaves out."
    )
    queue_length: Count = Field(5, gt=0, le=10**12, description="Target: messages per replica.")
    activation_queue_length: Count = Field(0, description="Active above this many messages.")
    aws_region: Region | None = Field(
        None, description="Region of the queues; needed where `queueURL` does not name it."
    )
    aws_endpoint: str | None = Field(
        None, description="Another endpoint: AWS's own, or one that the configuration allows."
    )
    aws_role_arn: RoleArn | None = Field(
        None, description="Role to assume; the configuration must grant it to the namespace."
    )
    identity_owner: Owner | None = Field(None, description="Only `operator`, as in `aws-sqs-queue`; may be left out.")
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
        if problem := next(filter(None, map(queue_problem, queues or ())), None):
            raise ValueError(problem)
        return queues

    @field_validator("exclude_queues")
    @classmethod
    def _check_globs(cls, globs: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if not all(_GLOB.fullmatch(glob) for glob in globs or ()):
            raise ValueError("a comma-separated list of queue names, in which * and ? match any characters")
        return globs

    @field_validator("aws_endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint is None:
            return None
        if not _ENDPOINT.fullmatch(endpoint):
            raise ValueError("https://HOST or http://HOST:PORT")
        return endpoint.rstrip("/").lower()

    @model_validator(mode="after")
    def _check_together(self) -> "SqsTrigger":
        if (self.queue_url is None) == (self.queue_name_prefix is None):
            raise ValueError("queueURL: give either queueURL or queueNamePrefix")
        if self.exclude_queues is not None and self.queue_name_prefix is None:
            raise ValueError("excludeQueues: has a meaning only together with queueNamePrefix")
        if self.aws_role_arn is None and (names := ambiguous(self.queue_url or ())):
            raise ValueError(f"queueURL: {names[0]} is given by name and by URLs of several accounts; give all by URL")
        of_endpoint = region_of_host(urlsplit(self.aws_endpoint).hostname or "") if self.aws_endpoint else None
        self._check_region_name(of_endpoint)
        regions = {region for queue in self.queue_url or () if (region := region_of(queue))}
        if self.aws_region is not None:
            if self.aws_endpoint is None and regions - {self.aws_region}:
                raise ValueError(
                    f"awsRegion: '{self.aws_region}' is not the region in queueURL ({', '.join(sorted(regions))})"
                )
        elif len(regions) != 1 or not all(region_of(queue) for queue in self.queue_url or ()):
            raise ValueError("awsRegion: required, because queueURL does not name one region for all queues")
        if of_endpoint not in {None, self.region}:
            raise ValueError(f"awsEndpoint: is in region {of_endpoint}, while the queues are in {self.region}")
        return self

    def _check_region_name(self, of_endpoint: str | None) -> None:
        """Raise `ValueError` for a region that AWS cannot have; another endpoint than AWS's may have any."""
        if self.aws_region is None or (self.aws_endpoint is not None and of_endpoint is None):
            return
        if not re.fullmatch(REGION, self.aws_region):
            raise ValueError(
                "awsRegion: must be a region such as eu-west-1; other names only with an awsEndpoint that is not AWS's own"
            )

    @property
    def region(self) -> str:
        """The region of the metadata, or that of the queues' URLs."""
        return self.aws_region or next(filter(None, map(region_of, self.queue_url or ())))

    @property
    def account(self) -> Account:
        """The account, region and identity of this trigger's reads."""
        role = self.aws_role_arn
        return Account(self.region, self.aws_endpoint, role, self.namespace if role else "")

    def specs(self) -> tuple[MetricSpec, ...]:
        """Return the one metric, the backlog, with `queueLength` messages per replica."""
        prefix = self.queue_name_prefix
        names = [prefix] if prefix else [queue_name(each.queue) for each in self._queues()]
        return (MetricSpec(metric_name("sqs", *names), float(self.queue_length)),)

    def places(self) -> tuple[Place, ...]:
        """Return the queues, or the listing that finds them."""
        if self.queue_name_prefix is not None:
            return (Listing(self.account, self.queue_name_prefix),)
        return self._queues()

    def _queues(self) -> tuple[Queue, ...]:
        return each_once(self.queue_url or (), self.account)

    def further_places(self, readings: Readings) -> tuple[Place, ...]:
        """Return the queues of the listing that are not excluded."""
        if self.queue_name_prefix is None:
            return ()
        listed: Listed = readings[Listing(self.account, self.queue_name_prefix)]
        return tuple(Queue(self.account, url) for url in listed.queues if not self._is_excluded(url))

    def _is_excluded(self, url: str) -> bool:
        return any(fnmatchcase(queue_name(url), glob) for glob in self.exclude_queues or ())

    def claims(self) -> tuple[Claim, ...]:
        """Return the ARNs of the queues, the endpoint and the role.

        A queue given by name is in the account of the identity that reads; its ARN here has no account.
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
        if url := QUEUE_URL.fullmatch(queue):
            account = url["account"]
        else:
            account = self.aws_role_arn.split(":")[4] if self.aws_role_arn else ""
        return f"arn:{partition_of(self.region)}:sqs:{self.region}:{account}:{queue_name(queue)}"

    def job_cautions(self, strategy: str) -> tuple[str, ...]:
        """Warn of a strategy that does not go with what is counted (KEDA pkg/scaling/executor/scale_jobs.go)."""
        if self.scale_on_in_flight and strategy in {"accurate", "eager"}:
            each = "each message that a Job is at work on"
            return (f'strategy {strategy} starts another Job at every poll for {each}; write scaleOnInFlight: "false"',)
        if not self.scale_on_in_flight and strategy == "default":
            why = "subtracts the Jobs that run from the messages that wait, so that these wait until enough Jobs have ended"
            return (f"strategy default {why}; write scalingStrategy: {{strategy: accurate}}",)
        return ()

    counts: ClassVar[tuple[str, ...]] = ("visible", "inFlight", "delayed")

    def imagined(self, counts: Mapping[str, float], replicas: int, now: float) -> Readings:
        """Return all messages in the first queue, because only the sum counts."""
        del replicas, now
        visible, in_flight, delayed = (round(counts.get(name, 0)) for name in self.counts)
        full, empty = Counts(visible, in_flight, delayed), Counts(0, 0, 0)
        if self.queue_name_prefix is not None:
            (listing,) = self.places()
            queue = self.queue_name_prefix
            return {listing: Listed((queue,)), Queue(self.account, queue): full}
        return {place: full if number == 0 else empty for number, place in enumerate(self.places())}

    def assess(self, readings: Readings, now: float) -> Assessment:
        """Assess backlog = visible (+ in flight) (+ delayed) over all queues, as `aws-sqs-queue` does."""
        del now
        queues = [place for place in (*self.places(), *self.further_places(readings)) if isinstance(place, Queue)]
        counts = [readings[queue] for queue in queues]
        if not queues:
            raise Refused(
                f"every queue with the prefix {self.queue_name_prefix} is a dead-letter queue or excluded by excludeQueues; "
                "give those to be counted by queueURL"
            )
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
            *self._left_out(readings),
            *(likely_dead(queues) if self.queue_name_prefix else ()),
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
        dead = dead_alone(queues, counts) if self.queue_name_prefix else ()
        return Assessment((Metric(self.specs()[0].name, float(backlog)),), above or held, (reason, *dead), components)

    def _left_out(self, readings: Readings) -> Iterable[Component]:
        if self.queue_name_prefix is None:
            return
        listed: Listed = readings[Listing(self.account, self.queue_name_prefix)]
        excluded = [queue_name(url) for url in listed.queues if self._is_excluded(url)]
        for what, names in (("dead-letter queues", listed.dead_letter), ("excluded queues", excluded)):
            if names:
                yield Component(what, len(names), "queues", f"not counted: {shown(names)}")


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
