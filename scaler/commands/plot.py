"""Pictures of simulations, as SVG or PNG by the ending of the file."""

from pathlib import Path
from typing import Any

from scaler.commands.simulate import Run, SimulationError


def _figure(rows: int) -> tuple[Any, Any]:
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra: large, and only for pictures
        from matplotlib import pyplot as plt  # noqa: PLC0415 - see above
    except ImportError:
        raise SimulationError("--plot needs matplotlib: pip install 'keda-queue-scaler[plot]'") from None
    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "keda-queue-scaler"  # the same run gives the same file
    return plt.subplots(rows, 1, figsize=(10, 2.4 * rows), sharex=True, layout="constrained", squeeze=False)


def _save(figure: Any, path: Path) -> None:
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    except (OSError, ValueError) as error:
        raise SimulationError(f"{path}: {error}") from None


def plot_run(run: Run, title: str, path: Path) -> None:
    """Draw value, backlog and replicas over time."""
    figure, axes = _figure(2)
    hours = [(time - run.times[0]) / 60 for time in run.times]
    above, below = axes[0][0], axes[1][0]
    above.plot(hours, run.backlog, color="#b45309", linewidth=1, label="backlog")
    if run.backlog != run.values:
        above.plot(hours, run.values, color="#6d28d9", linewidth=1, label="value")
    below.step(hours, run.replicas, where="post", color="#1d4ed8", linewidth=1.2, label="replicas")
    below.fill_between(hours, run.replicas, step="post", color="#1d4ed8", alpha=0.15)
    for axis in (above, below):
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="upper right", frameon=False)
    above.set_title(title, loc="left", fontsize=10)
    below.set_xlabel("minutes")
    _save(figure, path)


def plot_sweep(key: str, values: list[str], summaries: list[dict[str, Any]], path: Path) -> None:
    """Draw cost and waiting time over the values of a sweep."""
    shown = [
        (name, label)
        for name, label in (
            ("replicaHours", "replica-hours"),
            ("waitP95", "wait p95 (s)"),
            ("maxBacklog", "most backlog"),
        )
        if summaries[0].get(name) is not None
    ]
    figure, axes = _figure(len(shown))
    for (name, label), (axis,) in zip(shown, axes, strict=True):
        axis.plot(values, [summary[name] for summary in summaries], marker="o", color="#1d4ed8")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[-1][0].set_xlabel(key)
    _save(figure, path)
