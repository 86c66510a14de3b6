"""The cost of the requests to a backend, by the prices of the sources."""

from scaler.sources import SOURCES
from scaler.sources.sqs.prices import CostSettings

HOURS_PER_MONTH = 730
"""As in AWS's pricing calculator."""


def dollars_per_month(backend: str, requests_per_hour: float | None, cost: CostSettings) -> float | None:
    """Return the cost of `backend` at this rate in US dollars, or None if it is free or the rate is not known yet."""
    if requests_per_hour is None:
        return None
    prices = (source.price_per_million(backend, cost) for source in SOURCES.values())
    price = next((price for price in prices if price is not None), None)
    return None if price is None else requests_per_hour * HOURS_PER_MONTH * price / 1e6
