"""Makes the gauges that are collected at scrape time."""

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily


def gauges(name: str, text: str, labels: Sequence[str], rows: Mapping[Any, float]) -> GaugeMetricFamily:
    """Return the family `name` with a value for each of `rows`, whose keys are tuples of the values of `labels`."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for row, value in rows.items():
        family.add_metric(row, value)
    return family
