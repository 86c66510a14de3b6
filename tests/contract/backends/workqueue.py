"""The metrics page of a controller."""

from contextlib import AbstractAsyncContextManager

from scaler.demo.contract import Stage, page_stage

OTHER = b"""# TYPE go_info gauge
go_info{version="go1.25"} 1
"""
PAGE = b"""# TYPE workqueue_depth gauge
workqueue_depth{name="orders",priority="0"} 4
workqueue_depth{name="orders",priority="1"} 3
# TYPE workqueue_adds_total counter
workqueue_adds_total{name="orders"} 90
"""


def stage() -> AbstractAsyncContextManager[Stage]:
    """Show work in a queue."""
    return page_stage({"queues": "orders"}, PAGE + OTHER, OTHER)
