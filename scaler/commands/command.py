"""Runs `explain` from what its command line says to what it prints."""

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from scaler.clients.kubernetes.client import Kubernetes
from scaler.commands.asking import from_cluster, here, server_at
from scaler.commands.explain import explain
from scaler.commands.manifests import read
from scaler.commands.text import show
from scaler.core.errors import MetadataError
from scaler.keda.findings import Manifests
from scaler.keda.manifests import parse
from scaler.settings import Settings, load


@dataclass(frozen=True, slots=True)
class Question:
    """The command line of `explain`; `tls` is CA, client certificate and key."""

    files: tuple[str, ...]
    namespace: str | None
    name: str | None
    address: str | None
    tls: tuple[Path | None, Path | None, Path | None]
    env: tuple[str, ...]
    replicas: int | None
    config: Path | None


def run_explain(question: Question, *, as_json: bool) -> int:
    """Print the explanations, and return the exit code: 1 if a trigger fails."""
    if bool(question.files) == bool(question.namespace):
        raise typer.BadParameter("give either FILE… or --namespace")
    manifests, explanations = asyncio.run(_explanations(question))
    if as_json:
        typer.echo(json.dumps(explanations, indent=2, allow_nan=False))
    else:
        console = Console()
        for explanation in explanations:
            show(console, explanation)
        if not explanations:
            console.print("no trigger of this scaler in these manifests", highlight=False)
    for finding in manifests.findings:
        typer.echo(str(finding), err=True)
    failed = any(trigger["error"] for owner in explanations for trigger in owner["triggers"])
    return 1 if failed else 0


async def _explanations(question: Question) -> tuple[Manifests, list[dict[str, Any]]]:
    settings = load(question.config)
    manifests = await _manifests(question, settings)
    env = {**os.environ, **dict(_pair(pair) for pair in question.env)}
    asking = here(settings) if question.address is None else server_at(question.address, *question.tls)
    async with asking as ask:
        return manifests, await explain(manifests, ask, env, question.replicas)


async def _manifests(question: Question, settings: Settings) -> Manifests:
    if question.namespace is None:
        return read(question.files, "explain")
    kubernetes = Kubernetes(settings.kubernetes)
    try:
        return parse(await from_cluster(kubernetes, question.namespace, question.name), "cluster")
    finally:
        await kubernetes.close()


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise MetadataError(f"--env {name}: must be NAME=VALUE")
    return name, value
