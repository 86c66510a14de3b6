"""Options that mean nothing without another one, or beside it: told in one line instead of passed over."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand

from scaler.core.errors import ScalerError


class OptionError(ScalerError):
    """An option was given that would have no effect."""

    code = "INVALID_ARGUMENT"


@dataclass(frozen=True, slots=True)
class Rule:
    """Each of `options` needs one of `needs`, and has no effect beside any of `beside` unless one of `unless` is there."""

    options: tuple[str, ...]
    why: str
    needs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()

    def broken(self, given: Iterable[str]) -> str | None:
        """Return what is wrong with the options that were given, if anything is."""
        given = set(given)
        idle = [option for option in self.options if option in given]
        if not idle or not given.isdisjoint(self.unless):
            return None
        if self.needs and given.isdisjoint(self.needs):
            return f"{listed(idle, 'and')}: no effect without {listed(self.needs, 'or')}; {self.why}"
        other = next((option for option in self.beside if option in given), None)
        return None if other is None else f"{listed(idle, 'and')}: no effect beside {other}; {self.why}"


_CLUSTER = ("--context", "--config")
_LOAD = (
    Rule(("--query", "--column"), "they say which series is the load", needs=("--prometheus",)),
    Rule(("--region",), "it is that of the queue", needs=("--cloudwatch-queue",)),
    Rule(("--hours",), "a CSV is replayed as a whole", needs=("--prometheus", "--cloudwatch-queue")),
    Rule(("--plot-style",), "it says how the picture looks", needs=("--plot",)),
)
RULES: dict[str, tuple[Rule, ...]] = {
    "explain": (
        Rule(("--around",), "it is the time before and after that moment", needs=("--at",)),
        Rule(("--token-file",), "the token is for the status page, whose journal --at reads", needs=("--at",)),
        Rule(
            ("--ca", "--cert", "--key", "--server-name"),
            "TLS is for a running server, and none is asked",
            needs=("--address", "--http", "--forward"),
        ),
        Rule(("--cert", "--key", "--server-name"), "the journal is read over HTTP, with --ca alone", beside=("--at",)),
        Rule(("--env", "--replicas"), "the journal has what was told", beside=("--at",)),
        Rule(("--address",), "the status page is that of --http", beside=("--http",)),
        Rule(
            _CLUSTER,
            "that server reads the backends, with its own configuration",
            beside=("--address",),
            unless=("--namespace", "--forward"),
        ),
        Rule(_CLUSTER, "the journal is read, and no cluster", beside=("--at",), unless=("--forward",)),
    ),
    "top": (
        Rule(("--interval",), "the table is printed once", beside=("--once",)),
        Rule(_CLUSTER, "they say in which cluster the server is found", needs=("--forward",)),
    ),
    "migrate": (Rule(("--config",), "it says how the cluster is reached", needs=("--namespace",)),),
    "simulate": _LOAD,
    "advise": _LOAD,
}
_WORKERS = ("--service-seconds", "--startup-seconds", "--per-replica", "--grace-seconds", "--seed")


def given(context: typer.Context) -> list[str]:
    """Return the options on the command line of `context`, in their long form; one of the environment is none."""
    sources = {parameter: context.get_parameter_source(parameter.name or "") for parameter in context.command.params}
    return [
        max(parameter.opts, key=len)
        for parameter, source in sources.items()
        if source is not None and source.name == "COMMANDLINE" and parameter.opts[0].startswith("-")
    ]


def given_of_workers(context: typer.Context) -> tuple[str, ...]:
    """Return the options about workers on the command line."""
    return tuple(option for option in given(context) if option in _WORKERS)


def listed(words: Iterable[str], last: str) -> str:
    """Return `words` as a part of a sentence."""
    *others, end = words
    return f"{', '.join(others)} {last} {end}" if others else end


class Checked(TyperCommand):
    """A command that refuses options without effect."""

    def invoke(self, ctx: Any) -> Any:  # typer keeps a click of its own, whose Context is no public name
        """Check the options, then run; raises `OptionError`."""
        options = given(ctx)
        for rule in RULES.get(self.name or "", ()):
            problem = rule.broken(options)
            if problem is not None:
                raise OptionError(problem)
        return super().invoke(ctx)
