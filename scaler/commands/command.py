"""Runs `explain`: from its options to its output."""

import json
import os
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from scaler.clients.kubernetes.client import Kubernetes
from scaler.commands.asking import from_cluster, here, server_at
from scaler.commands.at import Asked, frame_of, run_at
from scaler.commands.configured import configured
from scaler.commands.explain import explain
from scaler.commands.forward import Kubectl, run
from scaler.commands.manifests import is_ours, read
from scaler.commands.reach import Reach, grpc_of
from scaler.commands.text import show
from scaler.core.errors import MetadataError
from scaler.keda.findings import Manifests
from scaler.keda.manifests import parse
from scaler.settings import Settings


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """The command line of `explain`; `at` and `around` are as written."""

    files: tuple[str, ...] = ()
    namespace: str | None = None
    name: str | None = None
    reach: Reach = field(default_factory=Reach)
    env: tuple[str, ...] = ()
    replicas: int | None = None
    config: Path | None = None
    context: str | None = None
    at: str | None = None
    around: str = "15m"

    def settings(self) -> Settings:
        """Return the configuration, with the context of the command line."""
        return configured(self.config, self.context)


def run_explain(options: ExplainOptions, *, as_json: bool) -> int:
    """Print the explanations, and return the exit code: 1 if a trigger fails."""
    if bool(options.files) == bool(options.namespace):
        raise typer.BadParameter("give either FILE… or --namespace")
    if options.name and not options.namespace:
        raise typer.BadParameter("--name chooses one of --namespace; of FILE… all are explained")
    if options.reach.http and options.at is None:
        raise typer.BadParameter("--http is where --at reads the journal: give --at too, or --address for the present")
    options.reach.check()
    if options.at is not None:
        return _run_at(options, options.at, as_json=as_json)
    manifests, explanations = run(_explanations(options))
    if as_json:
        typer.echo(json.dumps(explanations, indent=2, allow_nan=False))
    else:
        console, served = Console(), options.reach.address is not None or options.reach.forward
        for explanation in explanations:
            show(console, explanation, served=served)
        if not explanations:
            console.print("no trigger of this scaler in these manifests", highlight=False)
    for finding in manifests.findings:
        typer.echo(str(finding), err=True)
    failed = any(trigger["error"] for owner in explanations for trigger in owner["triggers"])
    return 1 if failed else 0


def _run_at(options: ExplainOptions, at: str, *, as_json: bool) -> int:
    if options.namespace is not None:  # the journal knows the ScaledObjects, so the cluster need not be read
        owners = [Asked(options.namespace, options.name)]
    else:
        owners = [
            Asked(owner.namespace, owner.name)
            for owner in read(options.files, "explain").objects
            if any(map(is_ours, owner.triggers))
        ]
    kubectl = Kubectl.of(options.settings().kubernetes)
    return run_at(frame_of(at, options.around, time.time()), owners, options.reach, kubectl, as_json=as_json)


async def _explanations(options: ExplainOptions) -> tuple[Manifests, list[dict[str, Any]]]:
    settings, reach = options.settings(), options.reach
    manifests = await _manifests(options, settings)
    env = {**os.environ, **dict(_pair(pair) for pair in options.env)}
    async with AsyncExitStack() as stack:
        if reach.address is None and not reach.forward:
            ask = await stack.enter_async_context(here(settings))
        else:
            address, tls = await stack.enter_async_context(grpc_of(reach, Kubectl.of(settings.kubernetes)))
            ask = await stack.enter_async_context(server_at(address, tls))
        return manifests, await explain(manifests, ask, env, options.replicas)


async def _manifests(options: ExplainOptions, settings: Settings) -> Manifests:
    if options.namespace is None:
        return read(options.files, "explain")
    kubernetes = Kubernetes(settings.kubernetes)
    try:
        return parse(await from_cluster(kubernetes, options.namespace, options.name), "cluster")
    finally:
        await kubernetes.close()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise MetadataError(f"--env {name}: must be NAME=VALUE")
    return name, value
