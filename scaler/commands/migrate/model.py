"""What a migration is made of: what is known around a trigger, what becomes of it, and what must be granted."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scaler.commands.migrate.edits import Entry
from scaler.keda.authentications import Authentication
from scaler.keda.scalable import ScaledJob, ScaledObject, Trigger

ADDRESS = "keda-queue-scaler.keda.svc.cluster.local:9090"
FROM_ENV = "FromEnv"


@dataclass(frozen=True, slots=True)
class Workload:
    """What the manifest of a workload tells of its Sidekiq: the queues of its command line, the variables it sets."""

    queues: tuple[str, ...] = ()
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, as far as it decides what is written."""

    address: str = ADDRESS
    redis: str | None = None
    """A connection of the configuration for triggers that do not tell their Redis."""
    queues: tuple[str, ...] = ()
    """Queues of Sidekiq for triggers that do not name any."""


@dataclass(frozen=True, slots=True)
class Around:
    """A trigger in its place."""

    owner: ScaledObject | ScaledJob
    trigger: Trigger
    authentication: Authentication | None
    """The TriggerAuthentication of its `authenticationRef`, where it is among the files."""
    workload: Workload
    options: Options

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata as they are written."""
        return self.trigger.metadata

    @property
    def in_formula(self) -> bool:
        """Whether a formula works with the trigger, so that it must have one metric."""
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
        """Return the parameters that the TriggerAuthentication hands over, and from what."""
        found = self.authentication.parameters if self.authentication is not None else ()
        return {parameter.name: parameter.where for parameter in found}

    def given(self, *names: str) -> str | None:
        """Return the first of `names` that has a value: in the metadata, from a variable, or from the authentication."""
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
        """Say where the value of `name` comes from, without telling it."""
        if name in self.metadata:
            return f"the metadata key {name}"
        if name + FROM_ENV in self.metadata:
            return f"the workload's variable {self.metadata[name + FROM_ENV]}"
        return self.parameters().get(name, f"parameter {name}")


class Left(Exception):  # noqa: N818 - the outcome of a trigger, no failure of ours
    """The trigger stays as it is; the text says why, and what a person may do."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A Redis: `url` for the trigger itself, or `name` of an entry of the configuration with the lines that it needs."""

    name: str = ""
    url: str = ""
    variable: str = ""
    """The workload's variable that holds the URL."""
    config: tuple[tuple[str, str], ...] = ()
    doubts: tuple[str, ...] = ()
    assumed: bool = False
    """Whether nothing tells that it is this one, so that what another trigger of the workload tells is better."""

    def entry(self) -> Entry:
        """Return the metadata entry that says it."""
        if self.name:
            return Entry("redis", self.name)
        return Entry("redisURL", self.url) if self.url else Entry("redisURLFromEnv", self.variable)


@dataclass(frozen=True, slots=True)
class Sidekiq:
    """What an old trigger wants of Sidekiq: one of `busy` (a ratio), `waiting` (jobs) and `latency` (seconds)."""

    connection: Connection
    queues: tuple[str, ...]
    kind: str
    target: str
    activation: str = ""
    prefix: str = ""
    was: Mapping[str, str] = field(default_factory=dict)
    """Old metadata keys whose places the new ones take: `queues`, and the key of the target."""
    counts_waiting: bool = False
    """Whether waiting jobs count as if busy."""
    assumed: str = ""
    """Why the queues are only assumed."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Other:
    """The metadata of another source than Sidekiq, without `scalerAddress`; with what a person should look at."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()


Asked = Sidekiq | Other
