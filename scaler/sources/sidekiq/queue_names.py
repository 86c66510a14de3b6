"""Refuses what is not a queue name: sidekiq.yml and Sidekiq's command line also take weights, a trigger does not."""

import re
from itertools import pairwise

_NO_NAME = re.compile(r"""[\s*?\[\](){}<>"'`|\\;$\x00-\x1f\x7f]""")
"""In no name that Sidekiq's web page would show (web/application.rb: letters, digits and `_:.-`); what is neither is borne."""
_COMMAS = "\N{FULLWIDTH COMMA}\N{IDEOGRAPHIC COMMA}\N{ARABIC COMMA}\N{SMALL COMMA}\N{FULLWIDTH SEMICOLON}"
"""What an input method of another script puts for a comma."""
_WEIGHT = re.compile(r"[0-9]{1,4}(\.[0-9]+)?")
_PRIVATE = re.compile(r"(queue:)?sq\|[^|,]*\|")
"""Before the name of a queue, in the key of a private list: `queue:sq|worker-7f9-x2k:1:5d1c|critical`."""
LOOKED_AT = 4_000
"""Characters of a wrong list in which the names that were meant are looked for."""
_PLAIN = re.compile(r"[:.\-]*+\w[\w:.\-]*+")
"""A word that a suggestion may hold: unlike `=>`, `#` and `%`."""


def check(queues: tuple[str, ...]) -> tuple[str, ...]:
    """Return `queues`; raises `ValueError` with the right form if they are not a list of names."""
    problem = next(filter(None, map(_problem, queues)), None) or _weight(queues)
    if problem is not None:
        names = ",".join(_names(queues)) or "critical,default"
        raise ValueError(f"names of queues with commas between them, such as `{names}`: {problem}")
    return queues


def _problem(queue: str) -> str | None:
    if "://" in queue:
        return "a URL is no name"
    if _PRIVATE.search(queue):
        return '`queue:sq|…` is the private list of one process of Sidekiq Pro; superFetch: "true" reads them'
    namespace, mark, name = queue.partition("queue:")
    if mark and not namespace:
        return "without the `queue:` of their keys"
    if mark and namespace.endswith(":") and name:
        return f"without the `{namespace}{mark}` of their keys; the namespace belongs under keyPrefix"
    unseen = (each for each in queue if each in _COMMAS or not each.isprintable())
    found = _NO_NAME.search(queue)
    character = found[0] if found else next(unseen, None)
    return None if character is None else _in_no_name(character, queue)


def _in_no_name(character: str, queue: str) -> str:
    if character.isspace():
        weighed = any(map(_WEIGHT.fullmatch, queue.split()))
        return "weights are left out here" if weighed else "a name holds no blank, so commas separate them"
    if not character.isprintable():
        return f"the character U+{ord(character):04X}, which cannot be seen, is in no name"
    why = {
        **dict.fromkeys("*?", f"`{character}` stands for no name here, so each queue is written out"),
        **dict.fromkeys(_COMMAS, f"`{character}` is no comma here"),
        "$": "`$` is in no name, and KEDA fills in no variables; queuesFromEnv takes the name of one",
    }
    aside = "brackets and quotes are left out; " if character in "[](){}\"'`" else ""
    return why.get(character, f"{aside}`{character}` is in no name")


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
    """Return the names that were probably meant; none where a program was to fill them in."""
    text = ",".join(queues).partition(" #")[0][:LOOKED_AT]
    if "://" in text or any(mark in text for mark in ("$", "<%", "{{", "%{")):
        return []
    text = _PRIVATE.sub("", text)
    split = _NO_NAME.sub(" ", "".join(each if each.isprintable() and each not in _COMMAS else " " for each in text))
    words = (word.rpartition("queue:")[2] for word in split.replace(",", " ").split())
    meant = [word for word in words if _PLAIN.fullmatch(word) and word not in _OPTIONS and not _WEIGHT.fullmatch(word)]
    return list(dict.fromkeys(meant))[:10]


_OPTIONS = {"-q", "--queue", "w", "i"}
"""Of Sidekiq's command line, and of a Ruby list: `%w[critical default]`."""
