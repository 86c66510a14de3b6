"""As whom and at what time is read."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scaler.clients.aws.settings import AwsSettings, RoleGrant
from scaler.core.errors import Refused
from scaler.demo.clock import ManualClock
from scaler.sources.backends import Backends
from scaler.sources.sqs.answers import ATTRIBUTES
from scaler.sources.sqs.places import Account, Counts, Queue

REGION = "eu-west-1"
Read = Callable[..., Awaitable[Any]]
MakeAccount = Callable[..., Account]
COUNTS = {"Attributes": dict(zip(ATTRIBUTES.values(), ("3", "2", "1"), strict=True))}


# Credentials and clocks


@pytest.mark.parametrize("code", ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId"])
async def test_expired_credentials_are_loaded_anew(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def reply(asked: Any) -> Any:
        if "AKIANEW" in asked.headers["Authorization"]:
            return (200, COUNTS)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
        return (403, {"__type": code})

    canned.always = reply
    assert await read(Queue(account(canned.url), "orders")) == Counts(3, 2, 1)
    assert len(canned.asked) == 2


async def test_many_expired_answers_cause_one_renewal(
    canned: Any, read: Read, account: MakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    canned.always = lambda asked: (
        (200, COUNTS) if "AKIANEW" in asked.headers["Authorization"] else (403, {"__type": "ExpiredToken"})
    )
    here = account(canned.url)
    assert type(await read(Queue(here, "first"))) is Refused  # the same again: the environment has nothing newer
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
    canned.asked.clear()
    found = await read(*(Queue(here, f"q{n}") for n in range(20)))
    assert set(found.values()) == {Counts(3, 2, 1)}
    assert len(canned.asked) == 40  # each tried the old ones once


@pytest.mark.parametrize("skew", [-7_200, 7_200])
@pytest.mark.parametrize("code", ["RequestTimeTooSkewed", "InvalidSignatureException", "SignatureDoesNotMatch"])
async def test_a_wrong_clock_is_learnt_from_the_date_of_the_answer(
    canned: Any, read: Read, account: MakeAccount, skew: int, code: str
) -> None:
    clock = ManualClock()
    theirs = dt.datetime.fromtimestamp(clock.wall() + skew, dt.UTC)

    def reply(asked: Any) -> Any:
        signed = dt.datetime.strptime(asked.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
        date = {"Date": theirs.strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return (403, {"__type": code}, date) if abs((signed - theirs).total_seconds()) > 300 else (200, COUNTS, date)

    canned.always = reply
    backends = Backends(clock=clock)
    for _ in range(2):
        assert await read(Queue(account(canned.url), "orders"), backends=backends) == Counts(3, 2, 1)
    assert len(canned.asked) == 3  # refused once; after that it knows


async def test_one_signature_serves_for_a_minute_and_one_queue(canned: Any, read: Read, account: MakeAccount) -> None:
    canned.always = (200, COUNTS)
    clock = ManualClock()
    backends = Backends(clock=clock)
    orders, mails = Queue(account(canned.url), "orders"), Queue(account(canned.url), "mails")
    for seconds in (0, 59, 2):
        await clock.advance(seconds)
        await read(orders, mails, backends=backends)
    signed = {name: [] for name in ("orders", "mails")}
    for asked in canned.asked:
        signed[asked.body["QueueUrl"]].append(asked.headers["Authorization"])
    for first, second, third in signed.values():
        assert first == second != third
    assert not {*signed["orders"]} & {*signed["mails"]}


@pytest.mark.parametrize("date", ["", "now", "Sun, 22 Nov 2026 13:41:38"])
async def test_a_wrong_secret_is_no_wrong_clock(canned: Any, read: Read, account: MakeAccount, date: str) -> None:
    clock = ManualClock(wall=dt.datetime(2026, 11, 22, 13, 41, 38, tzinfo=dt.UTC).timestamp())
    canned.always = (403, {"__type": "SignatureDoesNotMatch"}, {"Date": date})
    fault = await read(Queue(account(canned.url), "orders"), backends=Backends(clock=clock))
    assert type(fault) is Refused
    assert "check the secret key" in str(fault)
    assert len(canned.asked) == 1


# Roles


ROLE = "arn:aws:iam::210987654321:role/keda-shop"


def granting(*grants: RoleGrant) -> Backends:
    return Backends(aws=AwsSettings(roles=grants))


async def test_a_role_is_assumed_with_the_grants_external_id_and_named_after_the_namespace(
    canned: Any, sts: Any, read: Read, account: MakeAccount
) -> None:
    backends = granting(RoleGrant(arn=ROLE, namespaces=("shop", "bank"), external_id="from-the-configuration"))
    places = [Queue(account(canned.url, ROLE, namespace), "orders") for namespace in ("shop", "bank")]
    found = await read(*places, Queue(account(canned.url), "orders"), backends=backends)
    assert set(found.values()) == {Counts(3, 2, 1)}
    assert {(asked.operation, asked.body["RoleArn"], asked.body["ExternalId"]) for asked in sts.asked} == {
        ("AssumeRole", ROLE, "from-the-configuration")
    }
    assert {asked.body["RoleSessionName"] for asked in sts.asked} == {"keda-shop", "keda-bank"}
    assert sorted("AKIAROLE" in asked.headers["Authorization"] for asked in canned.asked) == [False, True, True]


async def test_a_role_that_is_not_granted_is_refused_without_a_request(
    canned: Any, read: Read, account: MakeAccount
) -> None:
    place = Queue(account(canned.url, ROLE, "bank"), "orders")
    fault = await read(place, backends=granting(RoleGrant(arn=ROLE, namespaces=("shop",))))
    assert type(fault) is Refused
    assert "aws.roles does not grant" in str(fault)
    assert canned.asked == []
