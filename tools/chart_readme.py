"""The chart's README with its table of values, from values.yaml."""

import json

from tools.chart_values import documented

_HEAD = """\
# keda-queue-scaler

The Helm chart of [keda-queue-scaler](../../README.md), for Helm 3 and 4. [Install](../../docs/install.md) tells how to
use it. Generated from values.yaml by `python -m tools`; not to be edited.

## Values

| value | default | meaning |
|---|---|---|
"""


def render(values: str) -> str:
    """Return the README for the text of values.yaml."""
    rows = [
        f"| `{'.'.join(map(str, value.path))}` | `{json.dumps(value.default)}` | {value.comment} |\n"
        for value in documented(values)
    ]
    return _HEAD + "".join(rows)
