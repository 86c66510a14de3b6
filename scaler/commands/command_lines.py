"""The command lines of `explain`, `top` and `migrate`, and options that several commands share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """The formats of output."""

    TEXT = "text"
    JSON = "json"


Forward = Annotated[
    bool,
    typer.Option("--forward", help="Open a port-forward to the server in the cluster through kubectl, and end it."),
]
Service = Annotated[
    str | None, typer.Option(metavar="NAMESPACE/NAME", help="Where --forward goes to, if there are several.")
]
Ca = Annotated[Path | None, typer.Option(help="CA of the server, for TLS.")]
TokenFile = Annotated[Path | None, typer.Option(help="File with the token of the status page (page.tokenFile).")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig, for --namespace and --forward.")]
Config = Annotated[Path | None, typer.Option("--config", envvar="SCALER_CONFIG", help="Configuration file (YAML).")]


def explain(  # noqa: PLR0913, PLR0917 - the options of a command, which nobody calls by position
    files: Annotated[list[str] | None, typer.Argument(help="Manifests, folders, or - for standard input.")] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Read the ScaledObjects of this namespace from the cluster.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Only this ScaledObject or ScaledJob of --namespace.")] = None,
    address: Annotated[
        str | None,
        typer.Option(help="Ask this running server (HOST:PORT of its gRPC); else the backends are read from here."),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(help="With --at: HOST:PORT or URL of its status page; by default port 9091 of --address."),
    ] = None,
    forward: Forward = False,  # noqa: FBT002 - an option of a command
    service: Service = None,
    ca: Ca = None,
    cert: Annotated[Path | None, typer.Option(help="Client certificate, for mTLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the client certificate.")] = None,
    server_name: Annotated[
        str | None, typer.Option(help="Name in the server's certificate, where it is not the host of --address.")
    ] = None,
    token_file: TokenFile = None,
    at: Annotated[
        str | None,
        typer.Option(help="What was told then, by the server's journal: 03:00, -30m, 2026-11-28T03:00Z; local time."),
    ] = None,
    around: Annotated[
        str, typer.Option(help="With --at: how much before and after that is shown, such as 15m.")
    ] = "15m",
    env: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE of the workload's container, for keys …FromEnv.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="What the workload has now; by default its minimum.")
    ] = None,
    output: Annotated[Output, typer.Option(help="text or json.")] = Output.TEXT,
    context: Context = None,
    config: Config = None,
) -> None:
    """Tell what KEDA is told about each trigger now, or was --at a time, and why; exit 1 if a trigger fails."""
    from scaler.commands.command import ExplainOptions, run_explain  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.handshake import Tls  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.reach import Reach  # noqa: PLC0415 - a command loads what it needs

    reach = Reach(address, http, Tls(ca, cert, key, server_name), token_file, forward, service)
    options = ExplainOptions(
        tuple(files or ()), namespace, name, reach, tuple(env or ()), replicas, config, context, at, around
    )
    raise typer.Exit(run_explain(options, as_json=output is Output.JSON))


def top(  # noqa: PLR0913, PLR0917 - the options of a command, which nobody calls by position
    address: Annotated[
        str | None, typer.Option("--address", "--http", help="HOST:PORT or URL of the server's status page.")
    ] = None,
    forward: Forward = False,  # noqa: FBT002 - an option of a command
    service: Service = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    search: Annotated[str, typer.Option(help="Text to search for at the start; / changes it.")] = "",
    state: Annotated[str, typer.Option(help="Only triggers in this state at the start; f changes it.")] = "",
    sort: Annotated[str, typer.Option(help="Column to sort by at the start; s changes it.")] = "state",
    interval: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the table once, as it also is in a pipe.")] = False,  # noqa: FBT002 - a command loads what it needs
    context: Context = None,
    config: Config = None,
) -> None:
    """Show a server's triggers live, trouble first; ? tells the keys."""
    from scaler.commands.configured import configured  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.forward import Kubectl  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.handshake import Tls  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.reach import Reach  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.top import Query  # noqa: PLC0415 - a command loads what it needs
    from scaler.commands.top_command import run_top  # noqa: PLC0415 - a command loads what it needs

    reach = Reach(http=address, tls=Tls(ca), token_file=token_file, forward=forward, service=service)
    kubectl = Kubectl.of(configured(config, context).kubernetes)
    run_top(reach, kubectl, Query(search, state, sort), interval, once=once)


def migrate(  # noqa: PLR0913 - the options of a command
    files: Annotated[list[str] | None, typer.Argument(help="Manifests, folders, or - for standard input.")] = None,
    *,
    namespace: Annotated[
        str | None, typer.Option(help="Read the ScaledObjects of this namespace from the cluster.")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Change the files; with - or --namespace, print the new manifests.")
    ] = False,
    scaler_address: Annotated[
        str, typer.Option(help="HOST:PORT of the scaler's gRPC, for the triggers.")
    ] = "keda-queue-scaler.keda.svc.cluster.local:9090",
    redis: Annotated[
        str | None, typer.Option(help="Connection of the configuration for triggers that do not tell their Redis.")
    ] = None,
    queues: Annotated[
        str, typer.Option(help="Queues of Sidekiq, with commas, for triggers that do not name any.")
    ] = "",
    config: Config = None,
) -> None:
    """Rewrite triggers of KEDA's own scalers into this one's: the difference, and what must be granted; exit 1 if one is left."""
    from scaler.commands.migrate import Options, run_migrate  # noqa: PLC0415 - see above

    named = tuple(queue.strip() for queue in queues.split(",") if queue.strip())
    options = Options(scaler_address, redis, named)
    raise typer.Exit(run_migrate(files or (), namespace, options, write=write, config=config))
