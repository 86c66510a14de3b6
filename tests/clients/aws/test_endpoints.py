"""Where requests go."""

from collections.abc import AsyncIterator

import boto3
import pytest

from scaler.clients.aws.endpoints import SmallLoader
from scaler.clients.aws.identity import (
    Identities,
)
from scaler.core.errors import Refused
from scaler.demo.clock import ManualClock

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
async def identities(clock: ManualClock) -> AsyncIterator[Identities]:
    made = Identities(clock)
    yield made
    await made.close()


ENDPOINTS = [
    *({"region": region} for region in ("eu-west-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1", "eu-east-9")),
    {"region": "us-east-1", "AWS_USE_FIPS_ENDPOINT": "true"},
    {"region": "us-gov-west-1", "AWS_USE_FIPS_ENDPOINT": "true"},
    {"region": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    {"region": "cn-northwest-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    {"region": "us-east-2", "AWS_USE_FIPS_ENDPOINT": "true", "AWS_USE_DUALSTACK_ENDPOINT": "true"},
    {"region": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"},
    {"region": "eu-west-1", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:9324"},
    {"region": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:2"},
    {"region": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
    {"region": "eu-west-1", "url": "https://vpce-0a-b1.sqs.eu-west-1.vpce.amazonaws.com"},
    {"region": "eu-west-1", "url": "http://[::1]:3"},
    {"region": "eu-west-1", "url": "http://127.0.0.1:3", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:2"},
]  # fmt: skip


@pytest.mark.parametrize("case", ENDPOINTS, ids=lambda case: " ".join(case.values()))
def test_endpoints_are_those_of_boto3(
    case: dict[str, str], monkeypatch: pytest.MonkeyPatch, identities: Identities
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    for name, value in case.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    theirs = boto3.Session().client("sqs", region_name=case["region"], endpoint_url=case.get("url"))
    assert identities.endpoint("sqs", case["region"], case.get("url")) == theirs.meta.endpoint_url


def test_a_region_that_cannot_be_is_refused(identities: Identities) -> None:
    with pytest.raises(Refused, match="no sqs endpoint for region not a region"):
        identities.endpoint("sqs", "not a region", None)


def test_a_profile_that_does_not_exist_is_told(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(Refused, match=r"profile \(nobody\) could not be found"):
        identities.endpoint("sqs", "eu-west-1", None)


async def test_endpoints_need_no_credentials(identities: Identities) -> None:
    assert identities.endpoint("sqs", "eu-west-1", None) == "https://sqs.eu-west-1.amazonaws.com"
    with pytest.raises(Refused):
        await identities.own().credentials()


def test_an_endpoint_needs_no_list_of_all_services(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes 9 MB to read, and holds up the event loop."""
    monkeypatch.setattr(SmallLoader, "load_data_with_path", lambda _loader, name: pytest.fail(name))
    assert identities.endpoint("sqs", "eu-central-2", None) == "https://sqs.eu-central-2.amazonaws.com"


def test_a_configured_endpoint_that_is_no_url_is_told(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "user:canary@localhost:4566")
    with pytest.raises(Refused, match=r"is no http:// or https:// URL; check AWS_ENDPOINT_URL") as refused:
        identities.endpoint("sqs", "eu-west-1", None)
    assert "canary" not in str(refused.value)
