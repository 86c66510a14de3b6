"""Refuses what is not a queue name: sidekiq.yml and Sidekiq's command line also take weights, a trigger does not."""

import re
from itertools import pairwise

_NO_NAME = re.compile(r"""[\s*?\[\](){}<>"'`|\\;$\x00-\x1f\x7f]""")
"""Characters that no queue name has. Sidekiq's web page shows letters, digits and `_:.-` (web/application.rb); all
other characters are accepted."""
_WEIGHT = re.compile(r"[0-9]{1,4}(\.[0-9]+)?")


def check(queues: tuple[str, ...]) -> tuple[str, ...]:
    """Return `queues`; raises `ValueError` with the right form if they are not a list of names."""
    problem = next(filter(None, map(_problem, queues)), None) or _weight(queues)
    if problem is not None:
        names = ",".join(_names(queues)) or "critical,default"
        raise ValueError(f"names of queues with commas between them, such as `{names}`: {problem}")
    return queues


def _problem(queue: str) -> str | None:
    if queue.startswith("queue:"):
        return "without the `queue:` of their keys"
    found = _NO_NAME.search(queue)
    if found is None:
        return None
    character = found[0]
    if character in "*?":
        return f"`{character}` stands for no name here, so each queue is written out"
    if character.isspace():
        weighed = any(map(_WEIGHT.fullmatch, queue.split()))
        return "weights are left out here" if weighed else "a name holds no blank, so commas separate them"
    aside = "brackets and quotes are left out; " if character in "[](){}\"'`" else ""
    return f"{aside}`{character}` is in no name"


def _weight(queues: tuple[str, ...]) -> str | None:
    """Return the error for a weight after a name: `critical,2`. A number is accepted as a name if it comes first."""
    for before, queue in pairwise(queues):
        if _WEIGHT.fullmatch(queue) and not _WEIGHT.fullmatch(before):
            return (
                f"`{queue}` looks like the weight of `{before}`, which is left out here "
                f"(a queue that is really called {queue} is written before the others)"
            )
    return None


def _names(queues: tuple[str, ...]) -> list[str]:
    """Return the names that were probably meant."""
    words = [word for queue in queues for word in _NO_NAME.sub(" ", queue.removeprefix("queue:")).split()]
    meant = [word.removesuffix(",") for word in words if word not in {"-", "-q"} and not _WEIGHT.fullmatch(word)]
    return list(dict.fromkeys(filter(None, meant)))[:10]
