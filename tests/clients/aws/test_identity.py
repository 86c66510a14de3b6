"""When credentials are loaded and renewed, and what is told when they are not there."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator

import pytest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    MetadataRetrievalError,
    PartialCredentialsError,
    ProfileNotFound,
)

from scaler.clients.aws.identity import (
    RENEW_SECONDS,
    RETRY_RENEWAL_SECONDS,
    RETRY_SECONDS,
    WAIT_SECONDS,
    Identities,
    Identity,
    Issued,
    in_thread,
)
from scaler.core.clock import SystemClock
from scaler.core.errors import Refused, Unavailable
from scaler.demo.clock import ManualClock, settle


class Source:
    """Credentials by hand: each load waits for `give` or `fail`, or is given `always`."""

    def __init__(self) -> None:
        self.loads = 0
        self.always: Issued | Exception | None = None
        self._waiting: asyncio.Future[Issued] | None = None

    async def load(self) -> Issued:
        self.loads += 1
        if isinstance(self.always, Exception):
            raise self.always
        if self.always is not None:
            return self.always
        self._waiting = asyncio.get_running_loop().create_future()
        return await self._waiting

    def give(self, issued: Issued) -> None:
        assert self._waiting is not None
        self._waiting.set_result(issued)


def issued(name: str, expires: float = float("inf")) -> Issued:
    return Issued(ReadOnlyCredentials(name, "canary", None), expires)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
async def identity(source: Source, clock: ManualClock) -> AsyncIterator[Identity]:
    made = Identity(source.load, clock, "role x")
    yield made
    await made.close()


async def test_all_who_wait_are_served_by_one_load(source: Source, identity: Identity) -> None:
    waiting = [asyncio.create_task(identity.credentials()) for _ in range(50)]
    await settle()
    waiting[0].cancel()  # who leaves takes nothing away from the others
    await settle()
    source.give(issued("a"))
    assert {(await task).access_key for task in waiting[1:]} == {"a"}
    assert source.loads == 1
    assert (await identity.credentials()).access_key == "a"
    assert source.loads == 1


async def test_a_slow_load_is_told_and_goes_on(source: Source, identity: Identity, clock: ManualClock) -> None:
    waiting = asyncio.create_task(identity.credentials())
    await clock.advance(WAIT_SECONDS)
    with pytest.raises(Unavailable, match=r"role x: no AWS credentials within 1.5 s; can STS, .* be reached\?"):
        await waiting
    again = asyncio.create_task(identity.credentials())
    await settle()
    source.give(issued("late"))
    assert (await again).access_key == "late"
    assert source.loads == 1


async def test_a_failed_load_is_told_at_once_to_whoever_comes_within_the_pause(
    source: Source, identity: Identity, clock: ManualClock
) -> None:
    source.always = Refused("why not")
    for _ in range(10):
        with pytest.raises(Refused, match="why not"):
            await identity.credentials()
    assert source.loads == 1
    await clock.advance(RETRY_SECONDS)
    source.always = issued("a")
    assert (await identity.credentials()).access_key == "a"


async def test_renewal_is_ahead_of_the_end_and_beside_the_requests(
    source: Source, identity: Identity, clock: ManualClock
) -> None:
    end = clock.wall() + 3600
    source.always = issued("old", end)
    await identity.credentials()
    await clock.advance(3600 - 1.5 * RENEW_SECONDS - 1)
    await identity.credentials()
    assert source.loads == 1
    await clock.advance(0.5 * RENEW_SECONDS + 1)
    source.always = None
    assert (await identity.credentials()).access_key == "old"
    await settle()
    assert source.loads == 2
    source.give(issued("new", end + 3600))
    await settle()
    assert (await identity.credentials()).access_key == "new"


async def test_renewals_of_many_identities_are_spread_out(clock: ManualClock) -> None:
    began, step, sources = clock.wall(), RENEW_SECONDS / 40, [Source() for _ in range(50)]
    identities = [Identity(source.load, clock, "x") for source in sources]
    moments: dict[int, float] = {}
    while clock.wall() < began + 3600 and len(moments) < len(sources):
        for number, (source, identity) in enumerate(zip(sources, identities, strict=True)):
            source.always = issued("a", clock.wall() + 3600)
            await identity.credentials()
            await settle()
            if source.loads == 2:
                moments.setdefault(number, clock.wall() - began)
        await clock.advance(step)
    assert len(moments) == len(sources)
    assert min(moments.values()) >= 3600 - 1.5 * RENEW_SECONDS
    assert max(moments.values()) <= 3600 - RENEW_SECONDS + step
    assert max(moments.values()) - min(moments.values()) > 0.25 * RENEW_SECONDS


async def test_a_failed_renewal_keeps_the_old_ones_to_their_end(
    source: Source, identity: Identity, clock: ManualClock
) -> None:
    source.always = issued("old", clock.wall() + 3600)
    await identity.credentials()
    source.always = Unavailable("STS is away")
    await clock.advance(3600 - RENEW_SECONDS)
    while clock.wall() < 1_800_000_000 + 3600 - RETRY_RENEWAL_SECONDS:
        assert (await identity.credentials()).access_key == "old"
        await clock.advance(10)
    assert 2 < source.loads <= 2 + RENEW_SECONDS / RETRY_RENEWAL_SECONDS
    await clock.advance(RETRY_RENEWAL_SECONDS + RETRY_SECONDS)
    with pytest.raises(Unavailable, match="STS is away"):
        await identity.credentials()
    await clock.advance(RETRY_SECONDS)
    source.always = issued("new", clock.wall() + 3600)
    assert (await identity.credentials()).access_key == "new"


async def test_credentials_that_seem_expired_when_they_come_are_tried(
    source: Source, identity: Identity, clock: ManualClock
) -> None:
    source.always = issued("a", clock.wall() - 7200)  # this machine's clock is ahead
    for _ in range(5):
        assert (await identity.credentials()).access_key == "a"
    assert source.loads == 1


async def test_short_lived_credentials_are_renewed_at_half_of_their_life(
    source: Source, identity: Identity, clock: ManualClock
) -> None:
    source.always = issued("a", clock.wall() + 120)
    await identity.credentials()
    await clock.advance(59)
    await identity.credentials()
    await settle()
    assert source.loads == 1
    await clock.advance(1)
    await identity.credentials()
    await settle()
    assert source.loads == 2


async def test_only_the_present_credentials_can_be_refused(source: Source, identity: Identity) -> None:
    source.always = issued("a")
    old = await identity.credentials()
    identity.renew(old)
    source.always = issued("b")
    assert (await identity.credentials()).access_key == "b"
    identity.renew(old)  # an answer to a request that was sent with the old ones
    await identity.credentials()
    assert source.loads == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"), "missing: AWS_SECRET_ACCESS_KEY"),
        (ProfileNotFound(profile="shop"), "(shop) could not be found"),
        (EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com/"), "sts.eu-west-1.amazonaws.com"),
        (CredentialRetrievalError(provider="custom-process", error_msg="canary"), "custom-process gave none"),
        (MetadataRetrievalError(error_msg="canary"), "the metadata service gave none"),
        (
            FileNotFoundError(2, "No such file or directory", "/var/run/token"),
            "No such file or directory (/var/run/token)",
        ),
        (RuntimeError("canary"), "RuntimeError"),
        (ClientError({}, "AssumeRole"), "AWS STS answered"),
    ],
)
async def test_every_error_is_a_fault_without_secrets(
    source: Source, identity: Identity, error: Exception, said: str
) -> None:
    source.always = error
    with pytest.raises(Unavailable) as caught:
        await identity.credentials()
    assert str(caught.value).startswith("role x: ")
    assert said in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("operation", "code", "said"),
    [
        ("AssumeRole", "AccessDenied", "this identity is allowed sts:AssumeRole on it"),
        ("AssumeRole", "ExpiredToken", "the credentials or the token that it was asked with are not valid"),
        ("AssumeRole", "SignatureDoesNotMatch", "check the secret key and this machine's clock"),
        ("AssumeRole", "RegionDisabledException", "activate STS for this region"),
        (
            "AssumeRoleWithWebIdentity",
            "AccessDenied",
            "this cluster's OIDC provider and this service account assume it",
        ),
        ("AssumeRoleWithWebIdentity", "InvalidIdentityToken", "needs an IAM OIDC provider for this cluster"),
    ],
)
async def test_what_to_do_about_what_sts_says(
    source: Source, identity: Identity, operation: str, code: str, said: str
) -> None:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    source.always = ClientError(answer, operation)  # type: ignore[arg-type]  # more of it is required than is read
    with pytest.raises(Refused, match=said):
        await identity.credentials()


def test_credentials_are_in_no_repr() -> None:
    assert "canary" not in repr(issued("a"))


# Threads


def test_a_thread_that_hangs_does_not_hold_up_the_end() -> None:
    hanging = threading.Event()

    async def main() -> None:
        identities = Identities(SystemClock())
        identity = Identity(lambda: in_thread(lambda: (hanging.wait(30), issued("a"))[1]), SystemClock(), "x")
        identities._known[("x", "", "")] = identity
        waiting = asyncio.create_task(identity.credentials())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await identities.close()
        waiting.cancel()

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 5
    hanging.set()


async def test_a_thread_hands_on_what_it_returns_and_raises() -> None:
    assert await in_thread(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
