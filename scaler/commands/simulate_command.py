"""Runs `simulate` from what its command line says to what it prints and draws."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from scaler.commands.manifests import is_ours, read
from scaler.commands.plot import plot_run, plot_sweep
from scaler.commands.recorded import Span, from_cloudwatch, from_prometheus
from scaler.commands.simulate import Options, Run, SimulationError, Subject, changed, simulate
from scaler.commands.text import counted
from scaler.commands.trace import Trace, TraceError, parse
from scaler.keda.scalable import ScaledObject
from scaler.sources.triggers import parse as parse_metadata

MAX_SWEEP = 200
LONG_SECONDS = 200_000.0
"""Steps above which a run shows its progress on a terminal."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Where the load comes from: a CSV file, or a query to Prometheus, or a queue in CloudWatch; `hours` back."""

    trace: Path | None = None
    prometheus: str | None = None
    query: str | None = None
    column: str = "value"
    cloudwatch_queue: str | None = None
    region: str | None = None
    hours: float = 24.0
    step_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Output:
    """What is made of the runs."""

    as_json: bool
    plot: Path | None
    sweep: str | None


def run_simulate(file: str, recording: Recording, options: Options, output: Output) -> None:
    """Simulate and print; raises `ScalerError` for whatever is wrong with file, trace or options."""
    spec, index = _subject(file)
    trace = asyncio.run(_trace(recording))
    if output.sweep is not None:
        _sweep(spec, index, trace, options, output)
        return
    subject = Subject(spec, index, parse_metadata(spec.triggers[index].metadata, spec.namespace))
    run = _run(subject, trace, options, show=not output.as_json)
    if output.plot is not None:
        plot_run(run, f"{spec.namespace}/{spec.name}", output.plot)
    if output.as_json:
        typer.echo(json.dumps({"summary": run.summary(), "steps": run.steps()}))
        return
    for name, value in run.summary().items():
        typer.echo(f"{name:<16} {value}")


def _subject(file: str) -> tuple[ScaledObject, int]:
    """Return the one ScaledObject in `file` and its one trigger of ours."""
    objects = [each for each in read([file], "simulate").objects if isinstance(each, ScaledObject)]
    found = [(each, index) for each in objects for index, trigger in enumerate(each.triggers) if is_ours(trigger)]
    if len(found) != 1:
        raise SimulationError(
            f"{file}: has {counted(len(found), 'trigger')} of this scaler in ScaledObjects; give a file with one"
        )
    return found[0]


async def _trace(recording: Recording) -> Trace:
    if recording.trace is not None:
        try:
            return parse(recording.trace.read_text(), str(recording.trace))
        except (OSError, UnicodeDecodeError) as error:
            raise TraceError(f"{recording.trace}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None
    now = time.time()
    span = Span(now - recording.hours * 3600, now, recording.step_seconds)
    if recording.prometheus is not None and recording.query is not None:
        return await from_prometheus(recording.prometheus, recording.query, recording.column, span)
    if recording.cloudwatch_queue is not None and recording.region is not None:
        return await from_cloudwatch(recording.cloudwatch_queue, recording.region, span)
    raise TraceError("give --trace FILE, or --prometheus URL with --query, or --cloudwatch-queue NAME with --region")


def _run(subject: Subject, trace: Trace, options: Options, *, show: bool) -> Run:
    console = Console(stderr=True)
    if not show or not console.is_terminal or trace.seconds / options.step_seconds < LONG_SECONDS:
        return simulate(subject, trace, options)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("simulating", total=1.0)
        return simulate(subject, trace, options, lambda share: progress.update(task, completed=share))


def swept(sweep: str) -> tuple[str, list[str]]:
    """Return key and values of `KEY=FROM:TO:STEP` or `KEY=A,B,C`; the end belongs to it."""
    key, equals, text = sweep.partition("=")
    if not equals or not key:
        raise SimulationError("--sweep must be KEY=FROM:TO:STEP or KEY=A,B,C")
    if ":" not in text:
        return key, [value.strip() for value in text.split(",")]
    try:
        first, last, step = (Decimal(part) for part in text.split(":"))
    except (InvalidOperation, ValueError):
        raise SimulationError(f"--sweep {key}: {text!r} must be FROM:TO:STEP") from None
    if step <= 0 or last < first or (last - first) / step >= MAX_SWEEP:
        raise SimulationError(f"--sweep {key}: STEP must be above 0, TO not below FROM, and at most {MAX_SWEEP} values")
    values = itertools.takewhile(lambda value: value <= last, (first + step * number for number in itertools.count()))
    return key, [str(value) for value in values]


def _sweep(spec: ScaledObject, index: int, trace: Trace, options: Options, output: Output) -> None:
    key, values = swept(output.sweep or "")
    summaries = list(_summaries((spec, index), trace, options, (key, values)))
    if output.plot is not None:
        plot_sweep(key, values, summaries, output.plot)
    if output.as_json:
        rows = [{key: value, **summary} for value, summary in zip(values, summaries, strict=True)]
        typer.echo(json.dumps({"sweep": rows}, indent=2))
        return
    table = Table(key, *summaries[0], box=None)
    for value, summary in zip(values, summaries, strict=True):
        table.add_row(value, *(f"{number:g}" if number is not None else "-" for number in summary.values()))
    Console().print(table)


def _summaries(
    chosen: tuple[ScaledObject, int], trace: Trace, options: Options, sweep: tuple[str, list[str]]
) -> Iterator[dict[str, Any]]:
    (spec, index), (key, values) = chosen, sweep
    for value in values:
        varied, metadata = changed(spec, index, key, value)
        subject = Subject(varied, index, parse_metadata(metadata, spec.namespace))
        yield _run(subject, trace, options, show=True).summary()
