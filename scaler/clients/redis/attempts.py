"""Limits attempts to connect to a Redis after failures, so that many wrong passwords do not keep a host busy."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from scaler.core.clock import Clock
from scaler.core.errors import Fault, Refused

FIRST_PAUSE_SECONDS = 0.5
"""The pause after the second failure in a row; after the first there is none."""
LONGEST_PAUSE_SECONDS = 4.0
LONGEST_REFUSED_PAUSE_SECONDS = 30.0
"""The longest pause after refused logins, which time does not cure."""
HOST_PER_SECOND = 5.0
"""Attempts at one host of all identities together whose last attempt has failed."""
HOST_AT_ONCE = 10.0


@dataclass(slots=True)
class _Failing:
    kind: type[Fault]
    text: str  # not the fault itself, which would keep its traceback alive
    failures: int
    until: float
    host_worked: int  # the host's number of successes before that


@dataclass(slots=True)
class _Host:
    """A host: the tokens left for attempts of failing identities, and the number of successes."""

    left: float
    at: float
    worked: int = 0
    failing: dict[Hashable, _Failing] = field(default_factory=dict)


class Attempts:
    """Remembers the last failure of each identity at each host, until it succeeds or is forgotten."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._hosts: dict[Hashable, _Host] = {}

    def check(self, host: Hashable, identity: Hashable) -> None:
        """Raise the last fault of `identity` again during its pause, or if the host has had too many failures."""
        known = self._hosts.get(host)
        failing = known.failing.get(identity) if known is not None else None
        if known is None or failing is None:
            return
        if known.worked > failing.host_worked and not issubclass(failing.kind, Refused):
            return  # another identity has succeeded since, so the host is back
        now = self._clock.now()
        if now < failing.until:
            raise failing.kind(failing.text)
        known.left = min(HOST_AT_ONCE, known.left + (now - known.at) * HOST_PER_SECOND)
        known.at = now
        if known.left < 1:
            raise failing.kind(failing.text)
        known.left -= 1

    def failed(self, host: Hashable, identity: Hashable, fault: Fault) -> None:
        """Note that an attempt has failed with `fault`."""
        now = self._clock.now()
        known = self._hosts.setdefault(host, _Host(HOST_AT_ONCE, now))
        before = known.failing.get(identity)
        failures = 1 if before is None else before.failures + 1
        longest = LONGEST_REFUSED_PAUSE_SECONDS if isinstance(fault, Refused) else LONGEST_PAUSE_SECONDS
        pause = 0.0 if failures == 1 else min(longest, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 2, 20))
        known.failing[identity] = _Failing(type(fault), str(fault), failures, now + pause, known.worked)

    def worked(self, host: Hashable, identity: Hashable) -> None:
        """Note that an attempt has succeeded; identities that could not reach the host may try again."""
        if (known := self._hosts.get(host)) is not None:
            known.worked += 1
            self.forget(host, identity)

    def forget(self, host: Hashable, identity: Hashable) -> None:
        """Forget the failures of `identity`."""
        if (known := self._hosts.get(host)) is not None:
            known.failing.pop(identity, None)
            if not known.failing:
                del self._hosts[host]
