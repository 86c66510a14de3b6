"""Where credentials come from: AWS's normal chain, and roles that are assumed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from aiohttp import web

from scaler.clients.aws.identity import (
    RENEW_SECONDS,
    RETRY_SECONDS,
    Identities,
    Identity,
)
from scaler.core.errors import Fault, Refused, Unavailable
from scaler.demo.clock import ManualClock

pytestmark = pytest.mark.usefixtures("aws_environment")
ROLE = "arn:aws:iam::210987654321:role/keda-shop"


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
    assert ("; " in str(caught.value)) == (fault is Refused)
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
    monkeypatch.setattr("scaler.clients.aws.identity.MAX_IDENTITIES", 3)

    def role(number: int) -> Identity:
        return identities.role(f"{ROLE}-{number}", None, "shop", "eu-west-1")

    made = [role(number) for number in range(10)]
    assert [role(number) is made[number] for number in (9, 8, 7, 6)] == [True, True, True, False]
