"""Manifests that are migrated, and how."""

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from scaler.cli import app
from scaler.commands.manifests import File
from scaler.commands.migrate.command import Result
from scaler.keda.manifests import survey

FOLDER = Path(__file__).parent / "migrate"


def read(path: Path) -> File:
    return File(path.name, named=True, text=path.read_bytes().decode())


def made(result: Result) -> str:
    (done,) = [each for _, each in result.files]
    return done.text


def triggers(text: str) -> list[dict[str, Any]]:
    return [
        {"type": trigger.type, **trigger.metadata}
        for owner in survey(text).objects
        for trigger in owner.triggers
        if trigger.type.startswith("external")
    ]


def run(*arguments: str | Path, text: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["migrate", *map(str, arguments)], input=text)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr
