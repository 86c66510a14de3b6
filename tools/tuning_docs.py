"""The worked examples of docs/tuning.md: what `scaler advise` says about three samples, with their pictures."""

import io
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scaler.commands.advice.goal import parse_goal
from scaler.commands.advice.levers import levers
from scaler.commands.advice.patch import diff
from scaler.commands.advice.search import Task
from scaler.commands.advise_command import changed_manifest
from scaler.commands.course import Run
from scaler.commands.plot import Look, Picture, plot_runs, plot_sweep
from scaler.commands.recorded import Recording, load
from scaler.commands.reporting import sweep_table, table
from scaler.commands.simulate import Options, Simulator, changed, subject_of
from scaler.commands.simulate_command import the_trigger
from scaler.commands.work import WorkerModel
from scaler.sources import SOURCES

ROOT = Path(__file__).parent.parent
LENGTHS = ("5", "10", "15", "20", "30", "40", "50", "60", "80", "100", "150", "200")


@dataclass(frozen=True, slots=True)
class Example:
    """A sample with a load, a goal, and the settings that `advise` finds for it (tests/tools/test_tuning_docs.py)."""

    sample: str
    trace: str
    workers: WorkerModel
    goal: str
    settings: tuple[tuple[str, Any], ...]

    def command(self) -> str:
        """Return the command line that finds the settings."""
        model = self.workers
        flags = (
            f"--service-seconds {model.service_seconds:g} --startup-seconds {model.startup_seconds:g} "
            f"--per-replica {model.per_replica} --grace-seconds {model.grace_seconds:g}"
        )
        return f'scaler advise samples/{self.sample}.yaml --trace samples/traces/{self.trace}.csv \\\n  {flags} \\\n  --goal "{self.goal}"'

    def task(self) -> Task:
        """Return what `advise` would search for."""
        spec, index = the_trigger(str(ROOT / "samples" / f"{self.sample}.yaml"))
        subject = subject_of(spec, index)
        trace = load(Recording(ROOT / "samples" / "traces" / f"{self.trace}.csv"))
        goal, options = parse_goal(self.goal, None, arrivals=True), Options(workers=self.workers, seed=0)
        return Task(
            subject, trace, options, goal, levers(subject, self.workers.per_replica, every_wait=goal.bounds_every_wait)
        )


EXAMPLES = {
    "sqs": Example(
        "shoryuken-sqs",
        "bursty-sqs",
        WorkerModel(4, 20, 5, 150),
        "p95 wait <= 30s and wake-ups per day <= 80",
        (("queueLength", "25"), ("scaleDown.stabilizationWindowSeconds", 60)),
    ),
    "sidekiq": Example(
        "sidekiq-busy-ratio",
        "sidekiq-day-and-night",
        WorkerModel(60, 30, 10, 40),
        "p95 wait <= 20s and killed jobs per day <= 40",
        (
            ("busyRatio", "1"),
            ("scaleDown.stabilizationWindowSeconds", 600),
            ("scaleUp.stabilizationWindowSeconds", 30),
            ("cooldownPeriod", 60),
            ("pollingInterval", 5),
        ),
    ),
    "flux": Example(
        "flux-shard",
        "flux-shard",
        WorkerModel(20, 15, 4, 30),
        "p95 wait <= 30s",
        (("type", "external"), ("cooldownPeriod", 30), ("pollingInterval", 5)),
    ),
}


@cache
def _runs(name: str) -> tuple[Run, Run]:
    task = EXAMPLES[name].task()
    simulator = Simulator(task.trace, task.options)
    return simulator.run(task.subject), simulator.run(task.set(dict(EXAMPLES[name].settings)))


@cache
def _swept() -> list[Run]:
    task = EXAMPLES["sqs"].task()
    simulator, spec, index = Simulator(task.trace, task.options), task.subject.scaled_object, task.subject.index
    return [
        simulator.run(subject_of(changed(spec, index, "queueLength", length), index), changes=False)
        for length in LENGTHS
    ]


def picture(name: str, look: Look) -> str:
    """Return the picture of an example as SVG."""
    task, (now, then) = EXAMPLES[name].task(), _runs(name)
    spec = task.subject.scaled_object
    bounds = (spec.min_replica_count, spec.max_replica_count)
    title = f"{spec.namespace}/{spec.name} for {task.goal.text}"
    return _svg(
        look, lambda made: plot_runs([("now", now), ("advised", then)], task.trace, made, title, (bounds, None))
    )


def sweep_picture(look: Look) -> str:
    """Return the picture of the sweep of docs/simulate.md as SVG."""
    return _svg(look, lambda made: plot_sweep("queueLength", LENGTHS, _swept(), made, None))


def _svg(look: Look, draw: Callable[[Picture], None]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        draw(Picture(path, look))
        return path.read_text()


def _text(made: Table) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(made)
    return "\n".join(line.rstrip() for line in console.export_text().strip("\n").splitlines())


def sweep_text() -> str:
    """Return the table of the sweep of docs/simulate.md."""
    return _text(sweep_table("queueLength", LENGTHS, _swept(), None))


def image(name: str, alt: str) -> str:
    """Return a picture that follows the reader's choice of light and dark, as GitHub shows it."""
    return (
        f'<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="images/{name}-dark.svg">\n'
        f'  <img alt="{alt}" src="images/{name}-light.svg">\n</picture>'
    )


def _example(name: str, alt: str) -> str:
    example, (now, then) = EXAMPLES[name], _runs(name)
    task = example.task()
    file = f"samples/{example.sample}.yaml"
    text = (ROOT / file).read_text()
    settings = dict(example.settings)
    after = changed_manifest(text, task.subject, task.set(settings), settings, task.levers)
    patch = diff(text, after, file)
    compared = _text(table([("now", now), ("then", then)], None))
    return f"```sh\n{example.command()}\n```\n\n```text\n{compared}\n```\n\n```diff\n{patch}```\n\n{image(f'tuning-{name}', alt)}"


def render() -> str:
    """Return docs/tuning.md."""
    template = (ROOT / "tools" / "tuning.md").read_text()
    for name, alt in ALTS.items():
        template = template.replace(f"[[{name}]]", _example(name, alt))
    return template


def render_simulate() -> str:
    """Return docs/simulate.md."""
    template = (ROOT / "tools" / "simulate.md").read_text()
    shown = image("simulate-sweep", "Cost against the 95th percentile of the wait, a point for each queueLength")
    counts = {f"`{name}`": ", ".join(f"`{count}`" for count in each.trigger.counts) for name, each in SOURCES.items()}
    blanks = {
        "counts": "; ".join(f"{counted} for {name}" for name, counted in counts.items() if counted),
        "without counts": ", ".join(name for name, counted in counts.items() if not counted),
        "sweep": f"```text\n{sweep_text()}\n```\n\n{shown}",
    }
    return re.sub(r"\[\[(.+?)\]\]", lambda blank: blanks[blank[1]], template)


ALTS = {
    "sqs": "Arrivals, waiting time and replicas of two days of a bursty queue, now and as advised",
    "sidekiq": "Arrivals, waiting time and replicas of two days of Sidekiq, now and as advised",
    "flux": "Arrivals, waiting time and replicas of two days of a Flux shard, now and as advised",
}
LOOKS: tuple[Look, ...] = ("light", "dark")


def images() -> dict[str, Callable[[], str]]:
    """Return the pictures with the files that they belong to."""
    made: dict[str, Callable[[], str]] = {}
    for look in LOOKS:
        made[f"docs/images/simulate-sweep-{look}.svg"] = partial(sweep_picture, look)
        for name in EXAMPLES:
            made[f"docs/images/tuning-{name}-{look}.svg"] = partial(picture, name, look)
    return made
