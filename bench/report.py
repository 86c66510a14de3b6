"""The report: Markdown and JSON, and the tables of the documentation."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.spread import Row

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "bench" / "results"
DOCUMENTS = (ROOT / "docs" / "performance.md", ROOT / "docs" / "push.md", ROOT / "docs" / "security.md")
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Found:
    """What a part has measured: tables for people by their names, and the single rounds that they were made of."""

    tables: Tables
    rounds: Tables = field(default_factory=dict)


def machine(*, quick: bool) -> Row:
    """Return where and on what was measured."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"model name\s*: (.*)", info)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": model[1] if model else platform.machine(),
        "cores": psutil.cpu_count(),
        "load before": round(psutil.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("grpcio", "protobuf", "uvloop", "aiohttp")},
        "run": "quick" if quick else "full",
    }


def number(value: float) -> str:
    """Return `value` with the digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 or isinstance(value, int) else f"{value:.3g}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return f"{number(value['median'])} ({number(value['from'])} to {number(value['to'])})"
    return number(value) if isinstance(value, int | float) else str(value)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return `rows` as a Markdown table; a cell with a spread is written `median (lowest to highest)`."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_cell(row.get(name)) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def read(results: Path = RESULTS) -> Found:
    """Return the last report, or an empty one."""
    kept = results / "latest.json"
    told = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    return Found(told.get("tables", {}), told.get("rounds", {}))


def write(found: Found, results: Path = RESULTS) -> Path:
    """Write `latest.json` and `latest.md`, and return the latter; parts that were not run this time stay as they were."""
    results.mkdir(parents=True, exist_ok=True)
    before = read(results)
    tables, rounds = {**before.tables, **found.tables}, {**before.rounds, **found.rounds}
    (results / "latest.json").write_text(json.dumps({"tables": tables, "rounds": rounds}, indent=1), encoding="utf-8")
    report = results / "latest.md"
    report.write_text(
        "\n\n".join(f"## {name}\n\n{table(rows)}" for name, rows in tables.items()) + "\n", encoding="utf-8"
    )
    return report


def into_documents(results: Path = RESULTS, documents: Sequence[Path] = DOCUMENTS) -> list[str]:
    """Put each table of the last report between its marks in `documents`; return the names of those found.

    A mark is `<!-- bench: NAME -->`, and the table ends with `<!-- /bench -->`.
    """
    told = read(results).tables
    found: list[str] = []
    for document in documents:

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name not in told:
                return match[0]
            found.append(name)
            return f"<!-- bench: {name} -->\n{table(told[name])}\n<!-- /bench -->"

        text = document.read_text(encoding="utf-8")
        document.write_text(
            re.sub(r"<!-- bench: ([a-z -]+) -->\n.*?<!-- /bench -->", fill, text, flags=re.DOTALL), encoding="utf-8"
        )
    return found
