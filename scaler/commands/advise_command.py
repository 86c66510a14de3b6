"""Runs `advise`: from its options to its output and pictures."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from scaler.commands.advice.goal import Goal, parse_goal
from scaler.commands.advice.levers import Lever, levers
from scaler.commands.advice.patch import Change, diff, patched
from scaler.commands.advice.report import as_json, show
from scaler.commands.advice.search import Advice, Settings, Task, advise
from scaler.commands.manifests import InputError
from scaler.commands.plot import Look, checked, plot_runs
from scaler.commands.recorded import Recording, load
from scaler.commands.simulate import Options, SimulationError, Subject, subject_of
from scaler.commands.simulate_command import the_trigger


@dataclass(frozen=True, slots=True)
class Wish:
    """The goal, the price of a replica-hour if it is known, and settings to leave as they are."""

    goal: str
    price: float | None = None
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """The forms of output."""

    as_json: bool
    plot: Path | None = None
    look: Look = "light"


def run_advise(file: str, recording: Recording, options: Options, wish: Wish, output: Output) -> int:
    """Print the advice, and return the exit code: 1 if no settings certainly meet the goal.

    Raises `ScalerError` for errors in file, trace, goal or options.
    """
    picture = checked(output.plot, output.look) if output.plot is not None else None
    if file == "-":
        raise InputError("advise needs the name of a file: its patch is for one")
    goal = parse_goal(wish.goal, wish.price, arrivals=True)  # first, because everything else takes long
    spec, index = the_trigger(file, "advise")
    subject = subject_of(spec, index)
    if subject.composite is not None:
        raise SimulationError(
            "scalingModifiers: only a formula's own target would matter, and no advice is searched for it; compare targets with "
            "scaler simulate --sweep scalingModifiers.target=FROM:TO:STEP"
        )
    used = _levers(subject, options, wish.keep, goal)
    trace = load(recording)
    goal = parse_goal(wish.goal, wish.price, arrivals="arrivals" in trace.columns)
    with _progress(shown=not output.as_json) as progress:
        advice = advise(Task(subject, trace, options, goal, used), progress)
    patch = _patch(file, advice, used)
    if picture is not None:
        title = f"{spec.namespace}/{spec.name} for {goal.text}"
        bounds = (spec.min_replica_count, spec.max_replica_count)
        plot_runs([("now", advice.now), ("advised", advice.then)], trace, picture, title, (bounds, wish.price))
    if output.as_json:
        typer.echo(json.dumps(as_json(advice, used, goal, patch, wish.price), indent=2, allow_nan=False))
    else:
        show(Console(highlight=False, markup=False), advice, used, goal, wish.price)
        typer.echo(f"\n{patch}" if patch else "", nl=False)
    return 0 if advice.sure else 1


def _levers(subject: Subject, options: Options, keep: tuple[str, ...], goal: Goal) -> list[Lever]:
    found = levers(subject, options.workers.per_replica, every_wait=goal.bounds_every_wait)
    names = [lever.name for lever in found]
    for name in keep:
        if name not in names:
            raise SimulationError(f"--keep {name}: is none of the settings that would be tried: {', '.join(names)}")
    return [lever for lever in found if lever.name not in keep]


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield lambda _runs: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("searching")
        yield lambda runs: progress.update(task, description=f"searching: {runs} settings tried")


def _patch(file: str, advice: Advice, used: Sequence[Lever]) -> str:
    """Return the patch for the manifest; "" without changes."""
    text = Path(file).read_text()
    return diff(text, changed_manifest(text, advice.before, advice.subject, advice.settings, used), file)


def changed_manifest(text: str, before: Subject, after: Subject, settings: Settings, used: Sequence[Lever]) -> str:
    """Return `text`, the manifest of `before`, with the settings that make it `after`."""
    metadata = ("spec", "triggers", after.index, "metadata")
    changes: list[Change] = [
        (lever.path, settings[lever.name]) for lever in used if lever.name in settings and lever.path[:-1] != metadata
    ]
    known = before.manifest.metadata
    changes += [((*metadata, key), value) for key, value in after.manifest.metadata.items() if known.get(key) != value]
    return patched(text, after.scaled_object, changes) if changes else text
