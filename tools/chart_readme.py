"""The chart's README with its table of values, from values.yaml."""

import json

from tools.chart_values import documented
from tools.release import REPOSITORY

_HEAD = f"""\
# keda-queue-scaler

The Helm chart of [keda-queue-scaler]({REPOSITORY}), for Helm 3 and 4.
[Install]({REPOSITORY}/blob/main/docs/install.md) tells how to use it,
[upgrading]({REPOSITORY}/blob/main/docs/upgrading.md) what a version promises. Generated from values.yaml by
`python -m tools`; not to be edited.

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
