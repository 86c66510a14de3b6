"""Results of simulations as tables for people, with words and units."""

from collections.abc import Sequence

from rich.table import Table

from scaler.commands.course import Run
from scaler.commands.wording import duration, moment, number

Line = tuple[str, str]


def lines(run: Run, price: float | None) -> list[Line]:
    """Return the results of a run; `price` is that of a replica-hour, if it is known."""
    found = [
        ("replica-hours", number(run.replica_hours)),
        ("replicas, mean", number(run.replica_steps / run.grid.steps)),
        ("replicas, most", number(run.max_replicas)),
        ("wake-ups from 0", number(run.wake_ups)),
        ("highest value" if run.wait is None else "jobs at once, most", number(run.max_backlog)),
    ]
    if price is not None:
        found.insert(1, ("cost", number(run.replica_hours * price)))
    if run.wait is not None:
        found.append(("jobs begun", number(sum(run.wait.jobs))))
        found += [(f"wait for a thread, p{share}", duration(run.wait.percentile(share))) for share in (50, 95, 99)]
        found.append(("wait for a thread, longest", duration(run.wait.percentile(100))))
        found.append(("jobs killed at scale-in", number(run.interrupted)))
    return found


def span(run: Run) -> str:
    """Return the time and length of a run as text."""
    start = run.grid.start
    return f"{duration(run.seconds)} from {moment(start, start)}, in steps of {duration(run.grid.seconds)}"


def table(runs: Sequence[tuple[str, Run]], price: float | None) -> Table:
    """Return a table with a column for each run, with its name if it has one."""
    names = [name for name, _ in runs]
    found = Table("", *names, box=None, pad_edge=False, show_header=any(names))
    for column in found.columns[1:]:
        column.justify = "right"
    for rows in zip(*(lines(run, price) for _, run in runs), strict=True):
        found.add_row(rows[0][0], *(text for _, text in rows))
    return found


def recommended(runs: Sequence[Run]) -> int:
    """Return the index of the best of `runs`: with the least sum of cost and wait, each scaled to 0 … 1 over all runs.

    Cost is replica-hours. Wait is the 95th percentile plus a tenth of the longest; without modelled workers, the
    highest value.
    """
    costs = [run.replica_hours for run in runs]
    waits = [_slowness(run) for run in runs]
    scores = [one + other for one, other in zip(_scaled(costs), _scaled(waits), strict=True)]
    return scores.index(min(scores))


def _slowness(run: Run) -> float:
    if run.wait is None or not run.wait.jobs:
        return run.max_backlog
    return (run.wait.percentile(95) or 0.0) + (run.wait.percentile(100) or 0.0) / 10


def _scaled(values: Sequence[float]) -> list[float]:
    least, most = min(values), max(values)
    return [(value - least) / (most - least) if most > least else 0.0 for value in values]


def sweep_table(key: str, values: Sequence[str], runs: Sequence[Run], price: float | None) -> Table:
    """Return a table with a row for each value of `key`, and the recommended one marked."""
    best, waits = recommended(runs), all(run.wait is not None for run in runs)
    names = [
        "replica-\nhours",
        *(["cost"] if price is not None else []),
        "mean\nreplicas",
        "most\nreplicas",
        "wake-ups\nfrom 0",
    ]
    names += ["p50\nwait", "p95\nwait", "longest\nwait", "jobs\nkilled"] if waits else ["highest\nvalue"]
    found = Table("", key, *names, box=None, pad_edge=False)
    for column in found.columns:
        column.justify, column.no_wrap = "right", True
    for row, (value, run) in enumerate(zip(values, runs, strict=True)):
        cells = [number(run.replica_hours), *([] if price is None else [number(run.replica_hours * price)])]
        cells += [number(run.replica_steps / run.grid.steps), number(run.max_replicas), number(run.wake_ups)]
        if run.wait is None:
            cells.append(number(run.max_backlog))
        else:
            cells += [duration(run.wait.percentile(share)) for share in (50, 95, 100)]
            cells.append(number(run.interrupted))
        found.add_row("→" if row == best else "", value, *cells, style="bold" if row == best else None)
    return found
