import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qsl

import boto3
import pytest
from aiohttp import web
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import (
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    MetadataRetrievalError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.loaders import Loader

from scaler.clients.aws_identity import (
    RENEW_SECONDS,
    RETRY_RENEWAL_SECONDS,
    RETRY_SECONDS,
    WAIT_SECONDS,
    Identities,
    Identity,
    Issued,
    in_thread,
)
from scaler.clock import SystemClock
from scaler.demo.clock import ManualClock, settle
from scaler.errors import Fault, Refused, Unavailable

LOADER = Loader()
ROLE = "arn:aws:iam::210987654321:role/keda-shop"


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    # Each test has a botocore session of its own; what they load from botocore's data is the same.
    monkeypatch.setattr("botocore.session.create_loader", lambda *_: LOADER)


class Services:
    """STS, the agent of EKS Pod Identity and the metadata service of an instance, on one port."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, str]] = []
        self.sts_error: tuple[int, str] | None = None
        self.expiration = "2099-01-01T00:00:00Z"

    async def sts(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl((await request.read()).decode()))
        self.asked.append({**form, "Authorization": request.headers.get("Authorization", "")})
        if self.sts_error is not None:
            status, code = self.sts_error
            return web.Response(
                status=status,
                text=f"<ErrorResponse><Error><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>",
            )
        action = form["Action"]
        return web.Response(
            text=f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result><Credentials>'
            f"<AccessKeyId>AKIA{action}</AccessKeyId><SecretAccessKey>canary</SecretAccessKey>"
            f"<SessionToken>canary</SessionToken><Expiration>{self.expiration}</Expiration>"
            f"</Credentials></{action}Result></{action}Response>"
        )

    async def container(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.headers))
        return web.json_response(self._credentials("AKIACONTAINER"))

    async def instance(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path.endswith("token"):
            return web.Response(text="token")
        if path.endswith("security-credentials/"):
            return web.Response(text="node-role")
        return web.json_response({"Code": "Success", **self._credentials("AKIAINSTANCE")})

    def _credentials(self, key: str) -> dict[str, str]:
        return {"AccessKeyId": key, "SecretAccessKey": "canary", "Token": "canary", "Expiration": self.expiration}


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    served = Services()
    app = web.Application()
    app.router.add_post("/", served.sts)
    app.router.add_get("/v1/credentials", served.container)
    app.router.add_route("*", "/latest/{path:.*}", served.instance)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture
async def identities(clock: ManualClock) -> AsyncIterator[Identities]:
    made = Identities(clock)
    yield made
    await made.close()


async def access_key(identity: Identity) -> str:
    async with asyncio.timeout(20):
        return (await identity.credentials()).access_key


# The chain


def from_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    return "AKIAENV"


def from_credentials_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=AKIAFILE\naws_secret_access_key=canary\n")
    return "AKIAFILE"


def from_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    (tmp_path / "config").write_text("[profile shop]\naws_access_key_id=AKIAPROFILE\naws_secret_access_key=canary\n")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    return "AKIAPROFILE"


def from_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    told = {"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "canary"}
    (tmp_path / "told").write_text(json.dumps(told))
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path}/told\n")
    return "AKIAPROCESS"


def from_web_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    (tmp_path / "token").write_text("web-identity-token")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    return "AKIAAssumeRoleWithWebIdentity"


def from_pod_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    (tmp_path / "pod-token").write_text("pod-identity-token")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{services.url}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "pod-token"))
    return "AKIACONTAINER"


def from_instance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> str:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", services.url)
    return "AKIAINSTANCE"


WAYS = [
    from_environment,
    from_web_identity,
    from_process,
    from_credentials_file,
    from_profile,
    from_pod_identity,
    from_instance,
]


@pytest.mark.parametrize("way", WAYS)
async def test_the_scalers_own_identity_comes_by_aws_normal_chain(
    way: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services, identities: Identities
) -> None:
    key = way(monkeypatch, tmp_path, services)
    assert await access_key(identities.own()) == key
    if way is from_web_identity:
        assert (services.asked[0]["WebIdentityToken"], services.asked[0]["RoleArn"]) == ("web-identity-token", ROLE)
    if way is from_pod_identity:
        assert services.asked[0]["Authorization"] == "pod-identity-token"


async def test_irsa_wins_over_pod_identity(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services, identities: Identities
) -> None:
    from_pod_identity(monkeypatch, tmp_path, services)
    key = from_web_identity(monkeypatch, tmp_path, services)
    assert await access_key(identities.own()) == key


async def test_without_any_credentials_it_says_where_it_looked(identities: Identities) -> None:
    with pytest.raises(
        Refused, match=r"no AWS credentials in the environment, .* give the pod's service account a role"
    ):
        await identities.own().credentials()


@pytest.mark.parametrize("way", [from_web_identity, from_pod_identity, from_credentials_file])
async def test_credentials_that_aws_refuses_are_loaded_from_the_beginning(
    way: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services, identities: Identities
) -> None:
    way(monkeypatch, tmp_path, services)
    await access_key(identities.own())
    for name in ("token", "pod-token"):
        (tmp_path / name).write_text("rotated")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=AKIAROTATED\naws_secret_access_key=canary\n")
    identities.own().renew(await identities.own().credentials())
    key = await access_key(identities.own())
    assert key == "AKIAROTATED" or "rotated" in services.asked[-1].values()


async def test_the_expiry_is_that_of_the_service(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services, identities: Identities
) -> None:
    from_pod_identity(monkeypatch, tmp_path, services)
    await access_key(identities.own())
    issued = identities.own()._issued
    assert issued is not None
    assert issued.expires == 4_070_908_800  # 2099-01-01
    assert issued.expires - 1.5 * RENEW_SECONDS <= issued.renew_at <= issued.expires - RENEW_SECONDS


# Roles


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services) -> None:
    from_environment(monkeypatch, tmp_path, services)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", services.url)


@pytest.mark.parametrize(
    ("namespace", "session"),
    [("shop", "keda-shop"), ("a" * 63, "keda-" + "a" * 59), ("", "keda-"), ("ш/op x", "keda---op-x")],
)
async def test_a_role_is_assumed_with_the_own_identity(
    own: None, services: Services, identities: Identities, namespace: str, session: str
) -> None:
    assert await access_key(identities.role(ROLE, "external", namespace, "eu-west-1")) == "AKIAAssumeRole"
    (asked,) = services.asked
    assert (asked["RoleArn"], asked["ExternalId"], asked["RoleSessionName"]) == (ROLE, "external", session)
    assert "Credential=AKIAENV/" in asked["Authorization"]
    assert "/eu-west-1/sts/" in asked["Authorization"]


async def test_a_role_without_an_external_id_sends_none(own: None, services: Services, identities: Identities) -> None:
    await access_key(identities.role(ROLE, None, "shop", "eu-west-1"))
    assert "ExternalId" not in services.asked[0]


async def test_identities_are_kept_apart(own: None, identities: Identities) -> None:
    def role(arn: str = ROLE, external: str | None = None, namespace: str = "shop") -> Identity:
        return identities.role(arn, external, namespace, "eu-west-1")

    assert role() is role()
    assert (
        len(
            {
                id(each)
                for each in (identities.own(), role(), role(ROLE + "2"), role(external="xx"), role(namespace="b"))
            }
        )
        == 5
    )


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ((403, "AccessDenied"), Refused),
        ((400, "ValidationError"), Refused),
        ((403, "RegionDisabledException"), Refused),
        ((400, "Throttling"), Unavailable),
        ((500, "InternalFailure"), Unavailable),
        ((503, "ServiceUnavailable"), Unavailable),
    ],
)
async def test_why_sts_gives_no_credentials(
    own: None, services: Services, identities: Identities, error: tuple[int, str], fault: type[Fault]
) -> None:
    services.sts_error = error
    with pytest.raises(fault) as caught:
        await access_key(identities.role(ROLE, None, "shop", "eu-west-1"))
    assert str(caught.value).startswith(f"role {ROLE}: AWS STS answered {error[1]} (HTTP {error[0]})")
    assert "canary" not in str(caught.value)


async def test_own_credentials_that_sts_refuses_are_loaded_anew(
    own: None, services: Services, identities: Identities, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.sts_error = (403, "ExpiredToken")
    role = identities.role(ROLE, None, "shop", "eu-west-1")
    with pytest.raises(Refused, match="ExpiredToken"):
        await role.credentials()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIANEW")
    services.sts_error = None
    await clock.advance(RETRY_SECONDS)
    assert await access_key(role) == "AKIAAssumeRole"
    assert "Credential=AKIANEW/" in services.asked[-1]["Authorization"]


async def test_not_more_identities_are_kept_than_the_limit(
    identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaler.clients.aws_identity.MAX_IDENTITIES", 3)
    first = identities.role(f"{ROLE}-0", None, "shop", "eu-west-1")
    for number in range(10):
        identities.role(f"{ROLE}-{number}", None, "shop", "eu-west-1")
    assert len(identities._known) == 3
    assert identities.role(f"{ROLE}-0", None, "shop", "eu-west-1") is not first


# When they are loaded


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
    moments = []
    for _ in range(50):
        source = Source()
        source.always = issued("a", clock.wall() + 3600)
        identity = Identity(source.load, clock, "x")
        await identity.credentials()
        assert identity._issued is not None
        moments.append(identity._issued.renew_at - clock.wall())
    assert min(moments) >= 3600 - 1.5 * RENEW_SECONDS
    assert max(moments) <= 3600 - RENEW_SECONDS
    assert max(moments) - min(moments) > 0.25 * RENEW_SECONDS


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


# Endpoints


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
    {"region": "eu-west-1", "url": "http://127.0.0.1:3", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:2"},
]  # fmt: skip


@pytest.mark.parametrize("case", ENDPOINTS, ids=lambda case: " ".join(case.values()))
def test_endpoints_are_those_of_boto3(
    case: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, services: Services, identities: Identities
) -> None:
    from_environment(monkeypatch, tmp_path, services)
    for name, value in case.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    theirs = boto3.Session().client("sqs", region_name=case["region"], endpoint_url=case.get("url"))
    assert identities.endpoint("sqs", case["region"], case.get("url")) == theirs.meta.endpoint_url


def test_a_region_that_cannot_be_is_refused(identities: Identities) -> None:
    with pytest.raises(Refused, match="no sqs endpoint for region not a region"):
        identities.endpoint("sqs", "not a region", None)


async def test_endpoints_need_no_credentials(identities: Identities) -> None:
    assert identities.endpoint("sqs", "eu-west-1", None) == "https://sqs.eu-west-1.amazonaws.com"
    with pytest.raises(Refused):
        await identities.own().credentials()
