"""The configuration of a command that reads backends or a cluster."""

import os
from pathlib import Path

import typer

from scaler.settings import Settings, load, unknown_variables


def configured(config: Path | None, context: str | None = None) -> Settings:
    """Return the configuration, with another context of the kubeconfig; variables that are none are told on standard error.

    Raises `SettingsError`.
    """
    for problem in unknown_variables(os.environ):
        typer.echo(f"scaler: {problem}", err=True)
    flags = {"kubernetes": {"context": context}} if context else None
    return load(config, flags)
