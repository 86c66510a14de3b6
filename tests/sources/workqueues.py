"""Triggers on work queues, and what is judged of pages."""

from scaler.clients.pages.exposition import Page
from scaler.core.domain import Assessment
from scaler.sources.triggers import parse
from scaler.sources.workqueue import WorkqueueTrigger

URL = "http://controller.ns.svc:8080/metrics"


def trigger(**metadata: str) -> WorkqueueTrigger:
    where = {} if metadata.keys() & {"podSelector", "prometheus", "prometheusURL"} else {"metricsURL": URL}
    found = parse({"source": "workqueue", "queues": "a", **where, **metadata}, "shop")
    assert isinstance(found, WorkqueueTrigger)
    return found


def assess(found: WorkqueueTrigger, *pages: Page) -> Assessment:
    (place,) = found.places()
    return found.assess({place: pages}, 1_800_000_000.0)


def value(found: WorkqueueTrigger, *pages: Page) -> float:
    (metric,) = assess(found, *pages).metrics
    return metric.value
