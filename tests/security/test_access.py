"""The access rules and the address guard, end to end: what KEDA is told, and what is never connected to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clients.aws.settings import AwsSettings, RoleGrant
from scaler.core.errors import NotAllowedError
from scaler.sources.access import Access, AccessRule
from scaler.sources.base import Claim
from scaler.sources.triggers import parse

SHOP = {
    "namespaces": ["shop-*"],
    "sqs": ["arn:aws:sqs:eu-west-1:123456789012:shop-*", "arn:aws:sqs:eu-west-1::shop-*"],
    "redis": ["main"],
    "prometheus": ["main"],
    "urls": ["http://metrics.shop.svc/*", "http://metrics.shop.svc:8080/*", "redis://redis.shop.svc:6379/*"],
    "kubernetes": ["shop-?", "flux-*"],
}
SQS = {"source": "sqs", "awsRegion": "eu-west-1"}
PAGE = {"source": "workqueue", "queues": "q"}
FLUX = {"source": "flux", "controller": "kustomize-controller", "podNamespace": "flux-system"}
SIDEKIQ = {"source": "sidekiq", "queues": "q"}
ROLE = "arn:aws:iam::123456789012:role/keda-shop"


def shop() -> Access:
    return Access([AccessRule.model_validate(SHOP)], AwsSettings(roles=(RoleGrant(arn=ROLE, namespaces=("shop-a",)),)))


def judged(metadata: dict[str, str], namespace: str, access: Access) -> str:
    try:
        access.check(namespace, parse(metadata, namespace).claims())
    except NotAllowedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("metadata", "namespace", "said"),
    [
        pytest.param({**SQS, "queueURL": "shop-orders"}, "shop-a", "", id="a queue by name"),
        pytest.param({**SQS, "queueURL": "shop-orders"}, "bank", "sqs", id="another namespace"),
        pytest.param({**SQS, "queueURL": "bank-orders"}, "shop-a", "sqs", id="another queue"),
        pytest.param({**SQS, "queueURL": "shop-orders,bank-orders"}, "shop-a", "bank-orders", id="the second queue"),
        pytest.param({**SQS, "queueURL": "Shop-orders"}, "shop-a", "sqs", id="case counts"),
        pytest.param(
            {**SQS, "queueURL": "https://sqs.eu-west-1.amazonaws.com/123456789012/shop-x"}, "shop-a", "", id="a URL"
        ),
        pytest.param(
            {**SQS, "queueURL": "https://sqs.eu-west-1.amazonaws.com/999999999999/shop-x"},
            "shop-a",
            "999999999999",
            id="another account",
        ),
        pytest.param({**SQS, "queueURL": "shop-x", "awsRegion": "us-east-1"}, "shop-a", "us-east-1", id="region"),
        pytest.param({**SQS, "queueNamePrefix": "shop-"}, "shop-a", "", id="a prefix that the rule covers"),
        pytest.param({**SQS, "queueNamePrefix": "sho"}, "shop-a", "sho*", id="a prefix that is wider"),
        pytest.param({**SQS, "queueURL": "shop-x", "awsRoleArn": ROLE}, "shop-b", "may not", id="a role of others"),
        pytest.param(
            {**SQS, "queueURL": "shop-x", "awsEndpoint": "http://sqs.evil.example"},
            "shop-a",
            "aws.allowedEndpoints",
            id="an endpoint",
        ),
        pytest.param(
            {**SQS, "queueURL": "shop-x", "awsEndpoint": "https://sqs.eu-west-1.amazonaws.com.evil.example"},
            "shop-a",
            "aws.allowedEndpoints",
            id="an endpoint that looks like AWS's",
        ),
        pytest.param({**SIDEKIQ, "redis": "main"}, "shop-a", "", id="a redis by name"),
        pytest.param({**SIDEKIQ, "redis": "other"}, "shop-a", "access[].redis", id="another redis"),
        pytest.param({**SIDEKIQ, "redisURL": "redis://:pw@redis.shop.svc/0"}, "shop-a", "", id="a redis by URL"),
        pytest.param({**SIDEKIQ, "redisURL": "redis://REDIS.shop.svc"}, "shop-a", "", id="host names have no case"),
        pytest.param({**SIDEKIQ, "redisURL": "redis://redis.shop.svc:6380/0"}, "shop-a", "6380", id="another port"),
        pytest.param({**SIDEKIQ, "redisURL": "redis://redis.shop.svc:x@evil/0"}, "shop-a", "evil", id="user for host"),
        pytest.param(
            {**SIDEKIQ, "redisURL": "redis+sentinel://redis.shop.svc,evil/main/0"}, "shop-a", "sentinel", id="sentinels"
        ),
        pytest.param({**PAGE, "metricsURL": "http://metrics.shop.svc/metrics"}, "shop-a", "", id="a page"),
        pytest.param({**PAGE, "metricsURL": "HTTP://Metrics.Shop.svc/metrics"}, "shop-a", "", id="a page in capitals"),
        pytest.param({**PAGE, "metricsURL": "http://u:p@metrics.shop.svc/m"}, "shop-a", "", id="a page with a login"),
        pytest.param({**PAGE, "metricsURL": "http://metrics.shop.svc@evil/m"}, "shop-a", "evil", id="login for host"),
        pytest.param({**PAGE, "metricsURL": "http://metrics.shop.svc%2f@evil/"}, "shop-a", "evil", id="a slash in it"),
        pytest.param({**PAGE, "metricsURL": "http://evil/#metrics.shop.svc/"}, "shop-a", "evil", id="a fragment"),
        pytest.param({**PAGE, "metricsURL": "http://evil/?http://metrics.shop.svc/"}, "shop-a", "evil", id="a query"),
        pytest.param({**PAGE, "metricsURL": "http://metrics.shop.svc.evil/m"}, "shop-a", "evil", id="a longer host"),
        pytest.param({**PAGE, "metricsURL": "https://metrics.shop.svc/m"}, "shop-a", "https", id="another scheme"),
        pytest.param({**PAGE, "metricsURL": "http://metrics.shop.svc:81/m"}, "shop-a", ":81", id="a page's port"),
        pytest.param(
            {**PAGE, "metricsURL": "http://metrics.shop.svc/m,http://evil/m"}, "shop-a", "evil", id="the second page"
        ),
        pytest.param({**PAGE, "prometheus": "main"}, "shop-a", "", id="a prometheus by name"),
        pytest.param({**PAGE, "prometheusURL": "http://evil"}, "shop-a", "evil", id="a prometheus by URL"),
        pytest.param({**PAGE, "podSelector": "app=x"}, "shop-a", "", id="its own pods"),
        pytest.param({**PAGE, "podSelector": "a=x", "podNamespace": "bank"}, "shop-a", "bank", id="others' pods"),
        pytest.param({**FLUX, "namespaces": "flux-x"}, "shop-a", "", id="objects of a namespace"),
        pytest.param(FLUX, "shop-a", "kubernetes *", id="objects of all namespaces"),
    ],
)
def test_rules(metadata: dict[str, str], namespace: str, said: str) -> None:
    told = judged(metadata, namespace, shop())
    assert said in told
    assert bool(said) == bool(told)


@pytest.mark.parametrize("pattern", ["shop-?", "shop-[!x]", "shop-?*", "shop-[!x]*", "*-", "shop-a*", "[*]"])
def test_a_prefix_is_granted_only_by_what_grants_all_that_begin_with_it(pattern: str) -> None:
    access = Access([AccessRule(namespaces=("*",), sqs=(f"arn:aws:sqs:eu-west-1::{pattern}",))])
    assert judged({**SQS, "queueNamePrefix": "shop-"}, "shop", access)


@given(prefix=st.text("ab-", max_size=4), pattern=st.text("ab-?*[]!", max_size=6), rest=st.text("ab-", max_size=4))
def test_whatever_a_granted_prefix_finds_is_granted_by_itself(prefix: str, pattern: str, rest: str) -> None:
    access = Access([AccessRule(namespaces=("*",), kubernetes=(pattern,))])

    def granted(value: str) -> bool:
        try:
            access.check("shop", [Claim("kubernetes", value)])
        except NotAllowedError:
            return False
        return True

    assert granted(prefix + rest) or not granted(f"{prefix}*")


def test_one_rule_denies_everything_else_and_none_denies_only_foreign_endpoints_and_roles() -> None:
    page = {**PAGE, "metricsURL": "http://anything/metrics"}
    assert judged(page, "shop", Access()) == ""
    assert judged(page, "shop", Access([AccessRule(namespaces=("nobody",))]))
    for metadata in ({"awsEndpoint": "http://evil.example"}, {"awsRoleArn": ROLE}):
        assert judged({**SQS, "queueURL": "q", **metadata}, "shop", Access())
