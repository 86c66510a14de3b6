"""What the reading costs: the estimated bill of SQS. Other backends have no price for a request."""

from scaler.settings import CostSettings

HOURS_PER_MONTH = 730
"""As AWS's pricing calculator counts."""


def dollars_per_month(backend: str, requests_per_hour: float | None, cost: CostSettings) -> float | None:
    """Return what `backend` costs at this rate, or None if it has no price or no rate yet.

    SQS bills every request alike (https://aws.amazon.com/sqs/pricing/); its free million a month is not taken off,
    because it counts for the whole account.
    """
    if requests_per_hour is None or not backend.startswith("sqs/"):
        return None
    return requests_per_hour * HOURS_PER_MONTH * cost.sqs_price_per_million / 1e6
