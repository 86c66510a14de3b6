"""The price of requests to SQS."""

from pydantic import Field

from scaler.core.section import Section


class CostSettings(Section):
    """The section `cost:`, for the estimated bill."""

    sqs_price_per_million: float = Field(0.40, ge=0, description="US dollars per million SQS requests.")
    price_date: str = Field("2026-08", description="When the price was looked up.")


def price_per_million(backend: str, cost: CostSettings) -> float | None:
    """Return what a million requests to `backend` cost in US dollars, or None if it is no SQS.

    SQS bills every kind of request alike (https://aws.amazon.com/sqs/pricing/). The free million a month is not
    subtracted, because it is for the whole account.
    """
    return cost.sqs_price_per_million if backend.startswith("sqs/") else None
