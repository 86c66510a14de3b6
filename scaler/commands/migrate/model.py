"""The types of a migration: what is known about a trigger, and what it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scaler.commands.migrate.edits import Entry
from scaler.keda.authentications import Authentication
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger

ADDRESS = "keda-queue-scaler.keda.svc.cluster.local:9090"
FROM_ENV = "FromEnv"


@dataclass(frozen=True, slots=True)
class Workload:
    """The Sidekiq settings in the manifest of a workload: queues of its command line, and its variables."""

    queues: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Options:
    """The options that decide what is written."""

    address: str = ADDRESS
    redis: str | None = None
    """A connection of the configuration, for triggers that do not say which Redis they use."""
    queues: tuple[str, ...] = ()
    """Queues of Sidekiq, for triggers that do not name any."""


@dataclass(frozen=True, slots=True)
class TriggerContext:
    """A trigger, and what is known about it: its owner, its authentication, its workload."""

    owner: ScaledObject | ScaledJob
    trigger: Trigger
    authentication: Authentication | None
    """The TriggerAuthentication of its `authenticationRef`, if it is in the files."""
    workload: Workload
    options: Options

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata as written."""
        return self.trigger.metadata

    @property
    def in_formula(self) -> bool:
        """Whether a formula uses the trigger, so that it must have exactly one metric."""
        return (
            isinstance(self.owner, ScaledObject)
            and self.owner.advanced.scaling_modifiers is not None
            and bool(self.owner.advanced.scaling_modifiers.formula)
        )

    @property
    def one_metric(self) -> bool:
        """Whether only one metric of the trigger would be used."""
        return self.in_formula or isinstance(self.owner, ScaledJob)

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the TriggerAuthentication, and from where each comes."""
        found = self.authentication.parameters if self.authentication is not None else ()
        return {parameter.name: parameter.where for parameter in found}

    def given(self, *names: str) -> str | None:
        """Return the first of `names` that is set: in the metadata, by a variable, or by the authentication."""
        parameters = self.parameters()
        return next(
            (
                name
                for name in names
                if self.metadata.get(name) or self.metadata.get(name + FROM_ENV) or name in parameters
            ),
            None,
        )

    def where(self, name: str) -> str:
        """Return where the value of `name` comes from, without the value."""
        if name in self.metadata:
            return f"the metadata key {name}"
        if name + FROM_ENV in self.metadata:
            return f"the workload's variable {self.metadata[name + FROM_ENV]}"
        return self.parameters().get(name, f"parameter {name}")


class Left(Exception):  # noqa: N818 - not an error but a result
    """The trigger is left as it is; the text says why, and what a person can do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A Redis: a `url` for the trigger itself, or the `name` of an entry of the configuration, with its settings."""

    name: str = ""
    url: str = ""
    variable: str = ""
    """The variable of the workload with the URL."""
    config: tuple[tuple[str, str], ...] = ()
    mounts: tuple[tuple[str, str], ...] = ()
    """The chart's `secretMounts` for its files: the name of each, and its Secret, or a placeholder."""
    doubts: tuple[str, ...] = ()
    assumed: bool = False
    """Whether it is a guess, so that the connection of another trigger of the workload is preferred."""

    def entry(self) -> Entry:
        """Return the metadata entry for it."""
        if self.name:
            return Entry("redis", self.name)
        return Entry("redisURL", self.url) if self.url else Entry("redisURLFromEnv", self.variable)


@dataclass(frozen=True, slots=True)
class Sidekiq:
    """The target of an old trigger for Sidekiq: one of `busy` (a ratio), `waiting` (jobs) and `latency` (seconds)."""

    connection: Connection
    queues: tuple[str, ...]
    kind: str
    target: str
    activation: str = ""
    prefix: str = ""
    was: Mapping[str, str] = field(default_factory=dict)
    """The old metadata keys that the new ones replace: for `queues`, and for the target."""
    counts_waiting: bool = False
    """Whether waiting jobs count as busy."""
    assumed: str = ""
    """Why the queues are a guess; "" if they are not."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """The metadata for another source than Sidekiq, without `scalerAddress`; and notes for a person."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


Asked = Sidekiq | Other
