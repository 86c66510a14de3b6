"""The pages about installing and moving: what they lead to is taken."""

import json
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scaler.sources.triggers import parse
from tools.markdown import blocks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ENVIRONMENT = {"REDIS_URL": "rediss://redis.shop.svc:6379/0"}


def side(diff: str, dropped: str) -> list[dict[str, Any]]:
    """Return the triggers on one side of a diff: the lines that do not begin with `dropped`."""
    lines = [line[1:] if line[:1] in "+- " else line for line in diff.splitlines() if not line.startswith(dropped)]
    text = textwrap.dedent("\n".join(lines))
    if not text.startswith(("triggers:", "-")):  # a piece of one trigger
        text = "- " + textwrap.indent(text, "  ")[2:]
    found = yaml.safe_load(text)
    triggers: list[dict[str, Any]] = found["triggers"] if isinstance(found, dict) else found
    return triggers


DIFFS = [
    pytest.param(diff, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("migrate-from-*.md"))
    for number, diff in enumerate(block.text for block in blocks(page.read_text(), "diff"))
]


@pytest.mark.parametrize("diff", DIFFS)
def test_what_a_migration_leads_to_is_taken(diff: str) -> None:
    for trigger in side(diff, "-"):
        metadata = {
            key: ENVIRONMENT[value] if key.endswith("FromEnv") else value for key, value in trigger["metadata"].items()
        }
        parsed = parse(metadata, "shop")
        assert trigger.get("metricType", "AverageValue") == parsed.metric_type
        assert trigger.get("type", "external-push") == "external-push"


@pytest.mark.parametrize("diff", DIFFS)
def test_a_migration_begins_with_something_else(diff: str) -> None:
    before, after = side(diff, "+"), side(diff, "-")
    assert before != after
    assert len(after) == 1


def test_the_values_of_the_install_page_are_values_of_the_chart() -> None:
    schema = json.loads((ROOT / "charts" / "keda-queue-scaler" / "values.schema.json").read_text())
    seen = 0
    for block in blocks((DOCS / "install.md").read_text(), "yaml"):
        values = yaml.safe_load(block.text)
        if not values.keys() & {"authenticationRef", "extraArgs"}:  # of a trigger, and of KEDA's chart
            jsonschema.Draft7Validator(schema).validate(values)
            seen += 1
    assert seen >= 6
