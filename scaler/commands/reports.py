"""The report of `validate` as text, JSON, GitHub's workflow commands or SARIF 2.1.0."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typer

from scaler.commands.text import counted
from scaler.commands.validate import Report
from scaler.core.version import HOME, page, version
from scaler.keda.findings import Finding

_RULES = {
    "finding": "KEDA, the API server or the scaler refuses or ignores this",
    "caution": "This is accepted, but does not do what its author probably thinks",
    "unreadable": "A file or document that was named cannot be read",
}


def text(report: Report) -> str:
    """Return one line for each finding."""
    return "".join(f"{finding}\n" for finding in report.findings)


def as_json(report: Report) -> str:
    """Return one object: `triggers`, and `findings`, `cautions` and `unreadable` with `file`, `line`, `key`, `text`."""
    parts = {
        "findings": [finding for finding in report.findings if not finding.caution],
        "cautions": [finding for finding in report.findings if finding.caution],
        "unreadable": report.unreadable,
    }
    lists = {
        name: [{"file": each.file, "line": each.line, "key": each.key, "text": each.problem} for each in part]
        for name, part in parts.items()
    }
    return json.dumps({"triggers": report.triggers, **lists}, indent=2) + "\n"


def github(report: Report) -> str:
    """Return workflow commands, which GitHub shows as annotations in the diff."""
    return "".join(
        f"::{'warning' if each.caution else 'error'} file={_property(each.file)},line={each.line},"
        f"title={_property(each.key or 'scaler validate')}::{_data(each.problem)}\n"
        for each in (*report.findings, *report.unreadable)
    )


def _data(value: str) -> str:
    return value.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str) -> str:
    return _data(value).replace(":", "%3A").replace(",", "%2C")


def sarif(report: Report) -> str:
    """Return a SARIF 2.1.0 log (OASIS), for GitHub's code scanning and other viewers."""
    rules = list(_RULES)
    driver = {
        "name": "scaler validate",
        "informationUri": HOME,
        "version": version(),
        "rules": [
            {
                "id": rule,
                "shortDescription": {"text": meaning},
                "helpUri": page("explain.md#scaler-validate-before-it-is-applied"),
                "defaultConfiguration": {"level": "warning" if rule == "caution" else "error"},
            }
            for rule, meaning in _RULES.items()
        ],
    }
    results = [
        {
            "ruleId": rule,
            "ruleIndex": rules.index(rule),
            "level": "warning" if rule == "caution" else "error",
            "message": {"text": f"{each.key}: {each.problem}" if each.key else each.problem},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(each.file)},
                        "region": {"startLine": max(1, each.line)},
                    }
                }
            ],
        }
        for rule, each in _ruled(report)
    ]
    run: dict[str, Any] = {
        "tool": {"driver": driver},
        "invocations": [{"executionSuccessful": not report.unreadable}],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _ruled(report: Report) -> Iterator[tuple[str, Finding]]:
    for finding in report.findings:
        yield ("caution" if finding.caution else "finding"), finding
    for finding in report.unreadable:
        yield "unreadable", finding


def _uri(file: str) -> str:
    """Return a relative reference, or a file: URI for an absolute path."""
    if file == "-":
        return "stdin"
    path = Path(file)
    return path.as_uri() if path.is_absolute() else quote(os.fsencode(path.as_posix()))


FORMATS: dict[str, Callable[[Report], str]] = {"text": text, "json": as_json, "github": github, "sarif": sarif}


def run_validate(report: Report, output: str, *, strict: bool) -> int:
    """Print `report` in the format `output`, a summary on standard error, and return the exit code."""
    typer.echo(FORMATS[output](report), nl=False)
    if output == "text":
        for problem in report.unreadable:
            typer.echo(str(problem), err=True)
    findings = len(report.findings) - report.cautions
    cautions = f", {counted(report.cautions, 'caution')}" if report.cautions else ""
    if report.unreadable and not (report.triggers or report.findings):
        return report.exit_code(strict=strict)
    typer.echo(
        f"{counted(report.triggers, 'trigger')} of this scaler, {counted(findings, 'finding')}{cautions}", err=True
    )
    return report.exit_code(strict=strict)
