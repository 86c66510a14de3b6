"""Draws simulations as SVG, PNG or PDF, with at most as many points in a line as the picture has pixels."""

import datetime as dt
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from scaler.commands.course import Run
from scaler.commands.judging import SimulationError
from scaler.commands.reporting import recommended
from scaler.commands.trace import Trace
from scaler.commands.wording import CLOCK_TIME, duration, number

Look = Literal["light", "dark"]
FORMATS = (".svg", ".png", ".pdf")
PIXELS = 800
"""Width of the plotted area: 10 inches of 100 pixels, without margins."""
_COLOURS = {
    "light": {
        "paper": "#ffffff",
        "ink": "#1f2328",
        "grid": "#d0d7de",
        "old": "#818b98",
        "new": "#0969da",
        "load": "#1a7f37",
        "asked": "#bc4c00",
    },
    "dark": {
        "paper": "#0d1117",
        "ink": "#e6edf3",
        "grid": "#30363d",
        "old": "#8b949e",
        "new": "#58a6ff",
        "load": "#3fb950",
        "asked": "#f0883e",
    },
}
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Picture:
    """A file to draw to, and the look of the picture."""

    path: Path
    look: Look = "light"


def checked(path: Path, look: Look) -> Picture:
    """Return the picture to draw; raises `SimulationError` before the simulation if it cannot be written."""
    if path.suffix.lower() not in FORMATS:
        raise SimulationError(f"--plot {path}: the name must end in {', '.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise SimulationError("--plot needs matplotlib: pip install 'keda-queue-scaler[plot]'")
    if not path.parent.is_dir():
        raise SimulationError(f"--plot {path}: there is no folder {path.parent}")
    return Picture(path, look)


def thinned(points: Iterable[Point], start: float, end: float, pixels: int = PIXELS) -> list[Point]:
    """Return at most two points for each two of `pixels` columns from `start` to `end`: the highest and the last."""
    width = 2 * (end - start) / pixels or 1.0
    highest: dict[int, Point] = {}
    last: dict[int, Point] = {}
    for point in points:
        column = int((point[0] - start) / width)
        last[column] = point
        if column not in highest or point[1] > highest[column][1] or math.isnan(highest[column][1]):
            highest[column] = point
    return sorted({point for column in last for point in (highest[column], last[column])}, key=itemgetter(0))


@contextmanager
def _figure(picture: Picture, heights: Sequence[float]) -> "Iterator[tuple[Any, list[Any], dict[str, str]]]":
    import matplotlib as mpl  # noqa: PLC0415 - an optional and large dependency

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - see above

    colours = _COLOURS[picture.look]
    style: Any = {
        **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), colours["ink"]),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), colours["paper"]),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), colours["grid"]),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
        "font.size": 9.0,
        "svg.hashsalt": "keda-queue-scaler",  # so that the same run gives the same file
    }
    with mpl.rc_context(style):
        figure, axes = plt.subplots(
            len(heights),
            1,
            figsize=(10, sum(heights)),
            dpi=100,
            sharex=len(heights) > 1,
            layout="constrained",
            squeeze=False,
            height_ratios=list(heights),
        )
        try:
            yield figure, [axis for (axis,) in axes], colours
            figure.savefig(picture.path, metadata=_METADATA.get(picture.path.suffix.lower()))
        except OSError as error:
            raise SimulationError(f"--plot {picture.path}: {error.strerror}") from None
        finally:
            plt.close(figure)


_METADATA: dict[str, dict[str, None]] = {
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def plot_runs(
    runs: Sequence[tuple[str, Run]],
    trace: Trace,
    picture: Picture,
    title: str,
    note: tuple[tuple[int, int], float | None],
) -> None:
    """Draw one run, or two to compare: load, waiting time with its 95th percentile, and replicas.

    `note` has the replica bounds and the price of a replica-hour, if there is one.
    """
    waits = all(run.wait is not None for _, run in runs)
    with _figure(picture, (1.4, 1.8, 2.4) if waits else (1.8, 2.4)) as (figure, axes, colours):
        frame = _Frame(runs[0][1])
        _load(axes[0], frame, trace, colours["load"])
        shades = [colours["new"]] if len(runs) == 1 else [colours["old"], colours["new"]]
        for (name, run), shade in zip(runs, shades, strict=True):
            if waits:
                _wait(axes[1], frame, run, shade, name if len(runs) > 1 else "")
            _replicas(axes[-1], frame, run, shade, name)
        _asked(axes[-1], frame, runs[-1][1], colours["asked"])
        _bounds(axes[-1], note[0], colours["ink"])
        for axis in axes:
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.6, linewidth=0.5)
        for axis in axes[1:]:
            axis.legend(loc="upper left", frameon=False, ncols=6, fontsize=8, bbox_to_anchor=(0, 1.16), borderaxespad=0)
        frame.label(axes[-1])
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        captions = (_caption(name if len(runs) > 1 else "", run, note[1]) for name, run in runs)
        figure.supxlabel("\n".join(captions), x=0.01, ha="left", fontsize=9)


class _Frame:
    """The time axis: dates in UTC, or hours and minutes since the start for a trace without a clock."""

    def __init__(self, run: Run) -> None:
        self.start, self.end = run.grid.start, run.grid.start + max(run.seconds, run.grid.seconds)
        self.width = (self.end - self.start) / PIXELS

    def at(self, time: float) -> Any:
        """Return the position of `time` on the axis."""
        return dt.datetime.fromtimestamp(time, dt.UTC) if self.start >= CLOCK_TIME else time - self.start

    def points(self, points: Sequence[Point]) -> tuple[list[Any], list[float]]:
        """Return the positions of the points on both axes."""
        return [self.at(time) for time, _ in points], [value for _, value in points]

    def thinned(self, points: Iterable[Point]) -> list[Point]:
        """Return at most as many points as there are pixels."""
        return thinned(points, self.start, self.end)

    def label(self, axis: Any) -> None:
        """Set the labels of the axis."""
        axis.set_xlim(self.at(self.start), self.at(self.end))
        if self.start >= CLOCK_TIME:
            dates: Any = import_module("matplotlib.dates")  # Any, because it has no types
            locator = dates.AutoDateLocator(tz=dt.UTC, maxticks=13)
            axis.xaxis.set_major_locator(locator)
            axis.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, tz=dt.UTC))
            axis.set_xlabel("time in UTC", loc="left", fontsize=8)
            return
        from matplotlib.ticker import MultipleLocator  # noqa: PLC0415 - see above

        seconds = self.end - self.start
        sizes = (5, 15, 60, 300, 900, 3600, 7200, 10_800, 21_600)
        axis.xaxis.set_major_locator(MultipleLocator(next((size for size in sizes if seconds / size <= 13), 86_400)))
        axis.xaxis.set_major_formatter(_formatter(lambda time: f"{int(time) // 3600}:{int(time) // 60 % 60:02}"))
        axis.set_xlabel("hours:minutes since the start", loc="left", fontsize=8)


def _formatter(write: Callable[[float], str]) -> Any:
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415 - see above

    return FuncFormatter(lambda value, _position: write(value))


def _load(axis: Any, frame: _Frame, trace: Trace, colour: str) -> None:
    name = "arrivals" if "arrivals" in trace.columns else next(iter(trace.columns))
    points = frame.thinned(zip(trace.times, trace.columns[name], strict=True))
    axis.fill_between(*frame.points(points), step="post", color=colour, alpha=0.35, linewidth=0)
    axis.set_ylabel("arrivals\nper second" if name == "arrivals" else name)


def _wait(axis: Any, frame: _Frame, run: Run, colour: str, name: str) -> None:
    seconds, gap = run.grid.seconds, frame.width / 2
    shown: list[Point] = [(frame.start, 0.0)]
    for time, wait in frame.thinned((run.grid.at(step), steps * seconds) for step, steps in run.waited):
        if time - shown[-1][0] > 4 * frame.width:  # nothing waited between, so the line goes down to 0
            shown += [(shown[-1][0] + gap, 0.0), (time - gap, 0.0)]
        shown.append((time, wait))
    shown += [(min(shown[-1][0] + gap, frame.end), 0.0), (frame.end, 0.0)]
    label = f"{name}: longest" if name else "longest of the jobs that begin"
    axis.plot(*frame.points(shown), color=colour, linewidth=0.9, label=label)
    p95 = run.wait.percentile(95) if run.wait is not None else None
    if p95 is not None:
        axis.axhline(p95, color=colour, linestyle="--", linewidth=1, label=f"{name}: p95 {duration(p95)}".lstrip(": "))
    axis.set_ylabel("wait for a thread")
    axis.yaxis.set_major_formatter(_formatter(duration))


def _steps(frame: _Frame, run: Run, of: Callable[[Any], float]) -> tuple[list[Any], list[float]]:
    """Return the points at which a number of the run changes, and its end."""
    points: list[Point] = []
    for change in run.changes:
        value = of(change)
        if not points or (value != points[-1][1] and not (math.isnan(value) and math.isnan(points[-1][1]))):
            points.append((run.grid.at(change.step), value))
    return frame.points([*frame.thinned(points), (frame.end, points[-1][1])])


def _replicas(axis: Any, frame: _Frame, run: Run, colour: str, name: str) -> None:
    times, values = _steps(frame, run, lambda change: float(change.replicas))
    axis.step(times, values, where="post", color=colour, linewidth=1.2, label=name)
    axis.fill_between(times, values, step="post", color=colour, alpha=0.12, linewidth=0)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.set_ylabel("replicas")


def _asked(axis: Any, frame: _Frame, run: Run, colour: str) -> None:
    times, values = _steps(frame, run, lambda change: math.nan if change.asked is None else float(change.asked))
    axis.step(times, values, where="post", color=colour, linewidth=0.7, alpha=0.7, label="asked for by the metrics")


def _bounds(axis: Any, bounds: tuple[int, int], colour: str) -> None:
    least, most = bounds
    _, top = axis.get_ylim()
    axis.axhline(least, color=colour, linestyle=":", linewidth=1, label=f"min {least}, max {most}")
    if most <= 2.5 * top:  # a bound far above all replicas would flatten them
        axis.axhline(most, color=colour, linestyle=":", linewidth=1)
    else:
        axis.annotate(f"max {most} ↑", (1, 1), xycoords="axes fraction", ha="right", va="top", fontsize=8)


def _caption(name: str, run: Run, price: float | None) -> str:
    parts = [f"{number(run.replica_hours)} replica-hours"]
    if price is not None:
        parts.append(f"cost {number(run.replica_hours * price)}")
    parts.append(f"{number(run.wake_ups)} wake-up{'' if run.wake_ups == 1 else 's'} from 0")
    if run.wait is not None:
        waits = ", ".join(f"p{share} {duration(run.wait.percentile(share))}" for share in (50, 95))
        parts += [
            f"wait {waits}, longest {duration(run.wait.percentile(100))}",
            f"{number(run.interrupted)} jobs killed",
        ]
    return (f"{name}: " if name else "") + " · ".join(parts)


def plot_sweep(key: str, values: Sequence[str], runs: Sequence[Run], picture: Picture, price: float | None) -> None:
    """Draw cost against wait with a point for each value; without modelled workers, against the highest value."""
    waits = all(run.wait is not None for run in runs)
    costs = [run.replica_hours * (1.0 if price is None else price) for run in runs]
    slow = [(run.wait.percentile(95) or 0.0) if run.wait is not None else run.max_backlog for run in runs]
    with _figure(picture, (5.0,)) as (figure, (axis,), colours):
        order = sorted(range(len(runs)), key=costs.__getitem__)
        axis.plot(
            [costs[row] for row in order], [slow[row] for row in order], color=colours["old"], linewidth=0.8, zorder=1
        )
        axis.scatter(costs, slow, color=colours["new"], s=22, zorder=2)
        best = recommended(runs)
        axis.scatter(
            [costs[best]],
            [slow[best]],
            color=colours["asked"],
            s=90,
            zorder=3,
            label=f"best bargain: {key} {values[best]}",
        )
        for value, cost, wait in zip(values, costs, slow, strict=True):
            axis.annotate(value, (cost, wait), xytext=(5, 5), textcoords="offset points", fontsize=8)
        axis.set_ylim(bottom=0)
        axis.margins(x=0.08)
        axis.grid(alpha=0.6, linewidth=0.5)
        axis.set_xlabel("replica-hours" if price is None else "cost")
        axis.set_ylabel("wait for a thread, p95" if waits else "highest value")
        if waits:
            axis.yaxis.set_major_formatter(_formatter(duration))
        axis.legend(loc="upper right", frameon=False)
        figure.suptitle(f"{key}: cost against wait", x=0.01, ha="left", fontsize=11, fontweight="bold")
