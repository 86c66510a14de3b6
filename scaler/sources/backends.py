"""The clients of the process; each reader gets those that the parameters of its constructor name."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from scaler.clients.aws.settings import AwsSettings
from scaler.clients.http.addresses import Addresses
from scaler.clients.http.names import Names
from scaler.clients.kubernetes.client import Kubernetes
from scaler.clients.pages.settings import PagesSettings, PrometheusServer
from scaler.clients.redis.server import RedisServer
from scaler.core.budget import Budget
from scaler.core.clock import Clock, SystemClock
from scaler.core.domain import CountRequests, uncounted
from scaler.sources.access import Access

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Backends:
    """The only way from a reader to the configuration."""

    clock: Clock = field(default_factory=SystemClock)
    addresses: Addresses = field(default_factory=Addresses)
    names: Names = field(default_factory=Names)
    aws: AwsSettings = field(default_factory=AwsSettings)
    redis: Mapping[str, RedisServer] = field(default_factory=dict)
    prometheus: Mapping[str, PrometheusServer] = field(default_factory=dict)
    pages: Sequence[PagesSettings] = ()
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    access: Access = field(default_factory=Access)
    budget: Budget = field(default_factory=lambda: Budget(64 * 2**20))
    count_requests: CountRequests = uncounted

    @property
    def may_fetch(self) -> Callable[[str], None]:
        """Checks redirects: raises `Refused` for a URL that the tenant of the current read may not fetch."""
        return self.access.check_hop

    @property
    def known_names(self) -> Callable[[str, Iterable[str]], str]:
        """Returns the end of a message about a name that a section of the configuration does not have."""
        return self.access.known_names

    def hand(self, make: Callable[..., Made]) -> Made:
        """Call `make` with the clients that its parameters name; a parameter with a default may have any name.

        Raises `AttributeError` for a parameter without a default that does not name a client.
        """
        parameters = inspect.signature(make).parameters.values()
        wanted = [each.name for each in parameters if hasattr(self, each.name) or each.default is each.empty]
        return make(**{name: getattr(self, name) for name in wanted})
