"""Runs `simulate`: from its options to its output and pictures."""

import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import Progress

from scaler.commands.manifests import is_ours, read
from scaler.commands.plot import Look, Picture, checked, plot_runs, plot_sweep
from scaler.commands.recorded import Recording, load
from scaler.commands.reporting import recommended, span, sweep_table, table
from scaler.commands.simulate import Options, Run, SimulationError, Simulator, Subject, changed, subject_of
from scaler.commands.text import counted
from scaler.commands.trace import Trace
from scaler.keda.scalable import ScaledObject

MAX_SWEEP = 200
LONG_STEPS = 200_000
"""With more steps a run shows its progress on a terminal."""
WIDE = 200
"""Width of tables in a pipe, in columns."""
_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Output:
    """The forms of output; `price` is that of a replica-hour."""

    as_json: bool
    plot: Path | None = None
    sweep: str | None = None
    look: Look = "light"
    price: float | None = None


def run_simulate(file: str, recording: Recording, options: Options, output: Output) -> None:
    """Simulate and print; raises `ScalerError` for errors in file, trace or options."""
    picture = checked(output.plot, output.look) if output.plot is not None else None
    sweep = swept(output.sweep) if output.sweep is not None else None
    spec, index = the_trigger(file)
    subject = subject_of(spec, index)
    subjects = {} if sweep is None else _swept_subjects(spec, index, *sweep)
    trace = load(recording)
    if sweep is not None:
        _sweep(sweep[0], subjects, Simulator(trace, options), picture, output)
        return
    run = _run(Simulator(trace, options), subject, show=not output.as_json)
    if picture is not None:
        _plot(spec, run, trace, picture, output.price)
    if output.as_json:
        typer.echo(json.dumps({"summary": run.summary(output.price), "steps": run.steps()}))
        return
    console = Console(highlight=False)
    console.print(f"{spec.namespace}/{spec.name}: {span(run)}", soft_wrap=True)
    console.print(table([("", run)], output.price))


def _plot(spec: ScaledObject, run: Run, trace: Trace, picture: Picture, price: float | None) -> None:
    bounds = (spec.min_replica_count, spec.max_replica_count)
    plot_runs([("replicas", run)], trace, picture, f"{spec.namespace}/{spec.name}", (bounds, price))


def the_trigger(file: str, command: str = "simulate") -> tuple[ScaledObject, int]:
    """Return the one ScaledObject in `file`, and the index of its one trigger of ours."""
    every = read([file], command).objects
    objects = [each for each in every if isinstance(each, ScaledObject)]
    found = [(each, index) for each in objects for index, trigger in enumerate(each.triggers) if is_ours(trigger)]
    if len(found) != 1:
        together = len(found) > 1 and all(each.advanced.scaling_modifiers for each, _ in found)
        formula = ", and a number instead of each other trigger in its formula" if together else ""
        jobs = "" if len(objects) == len(every) else ", and a ScaledJob is not simulated"
        raise SimulationError(
            f"{file}: has {counted(len(found), 'trigger')} of this scaler in ScaledObjects; give a file with one{formula}{jobs}"
        )
    spec, index = found[0]
    if len(spec.triggers) > 1:
        typer.echo(f"{file}: not simulated: {counted(len(spec.triggers) - 1, 'trigger')} of other scalers", err=True)
    return spec, index


def _run(simulator: Simulator, subject: Subject, *, show: bool) -> Run:
    console = Console(stderr=True)
    if not show or not console.is_terminal or simulator.grid.steps < LONG_STEPS:
        return simulator.run(subject)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("simulating", total=1.0)
        return simulator.run(subject, lambda share: progress.update(task, completed=share))


def swept(sweep: str) -> tuple[str, list[str]]:
    """Parse `KEY=FROM:TO:STEP`, with TO included, or `KEY=A,B,C` into key and values."""
    key, equals, text = sweep.partition("=")
    if not equals or not key or not text:
        raise SimulationError("--sweep must be KEY=FROM:TO:STEP or KEY=A,B,C")
    if ":" not in text:
        return key, [value.strip() for value in text.split(",")]
    try:
        first, last, step = (Decimal(part) for part in text.split(":"))
        finite = first.is_finite() and last.is_finite() and step.is_finite()
    except (InvalidOperation, ValueError):
        finite = False
    if not finite:
        raise SimulationError(f"--sweep {key}: {text!r} must be FROM:TO:STEP")
    if step <= 0 or last < first or (last - first) / step >= MAX_SWEEP:
        raise SimulationError(f"--sweep {key}: STEP must be above 0, TO not below FROM, and at most {MAX_SWEEP} values")
    values = itertools.takewhile(lambda value: value <= last, (first + step * number for number in itertools.count()))
    return key, [str(value) for value in values]


def _swept_subjects(spec: ScaledObject, index: int, key: str, values: Iterable[str]) -> dict[str, Subject]:
    return {value: subject_of(changed(spec, index, key, value), index) for value in values}


def _sweep(
    key: str, subjects: dict[str, Subject], simulator: Simulator, picture: Picture | None, output: Output
) -> None:
    with _progress(len(subjects), show=not output.as_json) as advance:
        runs = [advance(simulator.run(subject, changes=False)) for subject in subjects.values()]
    values = [*subjects]
    if picture is not None:
        plot_sweep(key, values, runs, picture, output.price)
    if output.as_json:
        best = recommended(runs)
        rows = [
            {key: value, **run.summary(output.price), "recommended": number == best}
            for number, (value, run) in enumerate(zip(values, runs, strict=True))
        ]
        typer.echo(json.dumps({"sweep": rows}, indent=2))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(sweep_table(key, values, runs, output.price))
    console.print("→ the best bargain between cost and wait", soft_wrap=True)


class _Advance:
    """Advances the progress bar by one run when called, and returns its argument."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._task = None if progress is None else progress.add_task("simulating", total=total)

    def __call__(self, done: _Item) -> _Item:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task)
        return done


@contextmanager
def _progress(total: int, *, show: bool) -> "Iterator[_Advance]":
    console = Console(stderr=True)
    if not show or not console.is_terminal:
        yield _Advance(None, total)
        return
    with Progress(console=console, transient=True) as progress:
        yield _Advance(progress, total)
