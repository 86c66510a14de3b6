"""What the reading costs: the estimated bill of SQS. Other backends have no price for a request."""

from pydantic import Field

from scaler.core.section import Section


class CostSettings(Section):
    """The section `cost:`, for the estimated bill."""

    sqs_price_per_million: float = Field(0.40, ge=0, description="US dollars per million SQS requests.")
    price_date: str = Field("2026-08", description="When the price was looked up.")


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
