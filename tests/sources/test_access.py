"""The rules themselves, claim by claim; what sources claim, and the guard of addresses, is tested with the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.clients.aws.settings import AwsSettings, RoleGrant
from scaler.core.errors import NotAllowedError
from scaler.sources.access import Access, AccessRule
from scaler.sources.base import Claim

ROLE = "arn:aws:iam::123456789012:role/keda-orders"
AWS = AwsSettings(
    roles=(RoleGrant(arn="arn:aws:iam::*:role/keda-*", namespaces=("shop-*",)),),
    allowed_endpoints=("http://127.0.0.1:*",),
)
RULE = AccessRule(
    namespaces=("shop", "shop-*"),
    sqs=("arn:aws:sqs:eu-west-1:1:shop-*",),
    redis=("main",),
    prometheus=("central",),
    urls=("http://metrics.shop.svc/*",),
    kubernetes=("flux-*",),
)
GRANTED = {
    "sqs": ["arn:aws:sqs:eu-west-1:1:shop-orders", "arn:aws:sqs:eu-west-1:1:shop-*"],
    "redis": ["main"],
    "prometheus": ["central"],
    "url": ["http://metrics.shop.svc/metrics"],
    "kubernetes": ["flux-system"],
}
DENIED = {
    "sqs": ["arn:aws:sqs:eu-west-1:1:bank", "arn:aws:sqs:eu-west-1:1:sho*", "arn:aws:sqs:eu-west-1:1:Shop-orders"],
    "redis": ["other", "main2", ""],
    "prometheus": ["main"],
    "url": ["http://metrics.shop.svc.evil/metrics", "https://metrics.shop.svc/metrics"],
    "kubernetes": ["*", "kube-system"],
}


def told(access: Access, namespace: str, *claims: Claim) -> str:
    try:
        access.check(namespace, claims)
    except NotAllowedError as error:
        return str(error)
    return ""


def each(table: dict[str, list[str]]) -> list[Claim]:
    return [Claim(kind, value) for kind, values in table.items() for value in values]  # type: ignore[arg-type]  # kinds


@pytest.mark.parametrize("claim", each(GRANTED), ids=str)
def test_what_a_rule_grants_is_granted_to_its_namespaces_alone(claim: Claim) -> None:
    access = Access([AccessRule(namespaces=("other",)), RULE], AWS)
    assert [told(access, namespace, claim) for namespace in ("shop", "shop-a")] == ["", ""]
    for namespace in ("shopping", "other", "Shop", ""):
        assert told(access, namespace, claim)


@pytest.mark.parametrize("claim", each(DENIED), ids=str)
def test_the_rest_is_denied_and_the_missing_rule_is_named(claim: Claim) -> None:
    said = told(Access([RULE], AWS), "shop", claim)
    field = {"url": "urls"}.get(claim.kind, claim.kind)
    assert said == (
        f"namespace shop may not read {claim.kind} {claim.value}; the configuration must allow it in access[].{field}"
    )


NAMED = {"redis": ("main", "bank", "bank-cache"), "prometheus": ("central", "bank")}
BANK = AccessRule(namespaces=("bank",), redis=("bank*",), prometheus=("*",))


@pytest.mark.parametrize(
    ("namespace", "claim", "instead"),
    [
        ("shop", Claim("redis", "mian"), "; it may read main"),
        ("shop", Claim("redis", "bank"), "; it may read main"),
        ("shop", Claim("prometheus", "main"), "; it may read central"),
        ("bank", Claim("redis", "main"), "; it may read bank, bank-cache"),
        ("other", Claim("redis", "main"), ""),
        ("shop", Claim("url", "http://else/"), ""),
    ],
)
def test_only_names_that_the_namespace_may_use_are_told(namespace: str, claim: Claim, instead: str) -> None:
    said = told(Access([RULE, BANK], AWS, NAMED), namespace, claim)
    assert said.partition("access[].")[2].partition(";")[1:] == instead.partition(";")[1:]


def test_a_name_that_there_is_not_is_told_with_the_others_only_where_all_may_use_all() -> None:
    """The text of a reading's fault goes to every tenant that waits for it, whatever its grants."""
    assert Access(named=NAMED).known_names("redis", ("main", "bank")) == "it has: bank, main"
    assert Access().known_names("redis", ()) == "it has: none"
    assert Access([BANK], named=NAMED).known_names("redis", ("main", "bank")) == "see `redis` there"


def test_every_claim_must_be_granted() -> None:
    access = Access([RULE], AWS)
    assert told(access, "shop", *each(GRANTED)) == ""
    assert "redis other" in told(access, "shop", *each(GRANTED), Claim("redis", "other"))


def test_what_two_rules_grant_together_is_not_granted_by_either() -> None:
    access = Access([AccessRule(namespaces=("shop",)), AccessRule(namespaces=("bank",), redis=("main",))])
    assert told(access, "shop", Claim("redis", "main"))


@given(st.sampled_from(each(DENIED)), st.text(max_size=10))
def test_without_rules_everything_is_read(claim: Claim, namespace: str) -> None:
    assert told(Access(), namespace, claim) == ""
    assert not Access().restricted
    assert Access([RULE]).restricted


@pytest.mark.parametrize("rules", [(), (RULE,)], ids=["without rules", "with rules"])
@pytest.mark.parametrize(
    ("namespace", "claim", "said"),
    [
        ("shop-a", Claim("role", ROLE), ""),
        (
            "bank",
            Claim("role", ROLE),
            f"namespace bank may not assume role {ROLE}; the configuration must grant it in aws.roles",
        ),
        ("shop-a", Claim("role", ROLE.replace("keda", "admin")), "aws.roles"),
        ("bank", Claim("endpoint", "https://sqs.eu-west-1.amazonaws.com"), ""),
        ("bank", Claim("endpoint", "http://127.0.0.1:4566/"), ""),
        ("bank", Claim("endpoint", "http://sqs.eu-west-1.amazonaws.com"), "aws.allowedEndpoints"),
        ("bank", Claim("endpoint", "https://evil.example"), "awsEndpoint https://evil.example is not a host of AWS"),
    ],
)
def test_roles_and_foreign_endpoints_are_granted_by_name_even_without_rules(
    rules: tuple[AccessRule, ...], namespace: str, claim: Claim, said: str
) -> None:
    answer = told(Access(rules, AWS), namespace, claim)
    assert said in answer
    assert bool(said) == bool(answer)
