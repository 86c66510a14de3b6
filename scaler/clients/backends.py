"""What readers reach the outside with: the configured connections, the address guard, the clock and the counters."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from scaler.clients.addresses import Addresses
from scaler.clients.aws import AwsSettings
from scaler.clients.kubernetes import Kubernetes
from scaler.clients.prometheus import PrometheusServer
from scaler.clients.redis import RedisServer
from scaler.clock import Clock, SystemClock


def _uncounted(_backend: str, _operation: str, _requests: int) -> None:
    """Count nothing: for commands that have no metrics."""


@dataclass(frozen=True, slots=True)
class Backends:
    """Handed to every reader when it is made; the only way from a source to the configuration."""

    clock: Clock = field(default_factory=SystemClock)
    addresses: Addresses = field(default_factory=Addresses)
    aws: AwsSettings = field(default_factory=AwsSettings)
    redis: Mapping[str, RedisServer] = field(default_factory=dict)
    prometheus: Mapping[str, PrometheusServer] = field(default_factory=dict)
    kubernetes: Kubernetes = field(default_factory=Kubernetes)
    count_requests: Callable[[str, str, int], None] = _uncounted
    """Called with the backend (`Place.backend`), the operation (`GetQueueAttributes`) and how many were sent."""
