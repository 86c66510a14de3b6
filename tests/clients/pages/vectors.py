"""What a Prometheus is asked in these tests, and its answers."""

import json
from collections.abc import Mapping
from typing import Any

from scaler.clients.pages.exposition import Family
from scaler.clients.pages.prometheus_query import PrometheusPages

FAMILIES = frozenset({Family("workqueue_depth", ("name", "controller")), Family("active", ("controller",))})
SELECTOR = 'namespace="argocd",job=~"argocd-.*"'
PLACE = PrometheusPages("main", "", SELECTOR, FAMILIES)


def row(value: str = "3", **labels: str) -> dict[str, Any]:
    return {"metric": {"__name__": "workqueue_depth", "job": "argocd", **labels}, "value": [1_800_000_000.1, value]}


def vector(*rows: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": rows}, **more}).encode()
