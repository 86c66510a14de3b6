"""What reading costs, as the sources price it."""

from scaler.sources import SOURCES
from scaler.sources.sqs.prices import CostSettings

HOURS_PER_MONTH = 730
"""As AWS's pricing calculator counts."""


def dollars_per_month(backend: str, requests_per_hour: float | None, cost: CostSettings) -> float | None:
    """Return what `backend` costs at this rate in US dollars, or None if nobody bills it or its rate is not known yet."""
    if requests_per_hour is None:
        return None
    prices = (source.price_per_million(backend, cost) for source in SOURCES.values())
    price = next((price for price in prices if price is not None), None)
    return None if price is None else requests_per_hour * HOURS_PER_MONTH * price / 1e6
