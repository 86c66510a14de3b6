"""The state of `spareBusy`, as plain data and as Prometheus metrics."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.metrics_core import Metric

from scaler.answers.pod_costs import Spared
from scaler.answers.scaledobject import ScaledObject
from scaler.observe.gauges import gauges


def spared_view(spared: Spared) -> dict[str, Any]:
    """Return the state of `spareBusy` of one trigger as plain data."""
    return {
        "pods": spared.pods,
        "busy": spared.busy,
        "asked": spared.asked,
        "writing": spared.writing,
        "pending": spared.pending,
        "leftAlone": spared.left_alone,
        "failing": spared.failing,
        "problems": list(spared.problems),
    }


def spared_families(scaled_objects: Iterable[ScaledObject]) -> Iterable[Metric]:
    """Return the gauges of all triggers with `spareBusy`; of two with one name the last wins."""
    rows = {
        (scaled_object.namespace, scaled_object.name, scaled_object.specs[0].name): scaled_object.spared
        for scaled_object in scaled_objects
        if scaled_object.spared is not None
    }
    for name, text, field in (
        (
            "failing",
            "1 if spareBusy cannot keep deletion costs: a right is missing, the API does not answer, or no pod fits.",
            "failing",
        ),
        ("pods", "Pods that scale-in chooses from.", "pods"),
        ("busy_pods", "Those of them with work to lose.", "busy"),
        ("pending_pods", "Pods whose deletion cost is to be written.", "pending"),
        ("left_alone_pods", "Pods whose deletion cost somebody else has written.", "left_alone"),
    ):
        values = {row: getattr(spared, field) for row, spared in rows.items()}
        yield gauges(f"queue_scaler_spare_busy_{name}", text, ("namespace", "scaledobject", "trigger"), values)
