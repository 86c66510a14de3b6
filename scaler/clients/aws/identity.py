"""AWS credentials, of AWS's default chain or of an assumed role, loaded and renewed outside of the event loop."""

import asyncio
import concurrent.futures
import math
import random
import re
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import botocore.session
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials, create_credential_resolver
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, MetadataRetrievalError

from scaler.clients.aws.endpoints import SmallLoader, endpoint_of
from scaler.core.budget import Budget
from scaler.core.clock import Clock, deadline
from scaler.core.errors import Fault, Refused, Unavailable

EXPIRED = frozenset(
    (
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
        "UnrecognizedClientException",
    )
)
"""Error codes for credentials that are no longer valid, even before their expiry."""
WAIT_SECONDS = 1.5
"""How long a read waits for credentials: less than KEDA waits for an answer, so that KEDA gets the reason."""
RETRY_SECONDS = 1.0
RENEW_SECONDS = 600.0
"""Credentials are renewed 10 to 15 minutes before they expire, as in botocore; at random, so not all at once."""
RETRY_RENEWAL_SECONDS = 30.0
MAX_IDENTITIES = 10_000
MAX_ASSUMING = 8
"""Of one tenant at the same time, each in a thread; others find room beside it."""
_IRSA = "AssumeRoleWithWebIdentity"
"""The operation of IRSA: the service account's token is all that it needs."""
_TRUST = (
    "check that the role exists, that its trust policy lets this identity assume it (with the externalId of aws.roles, if "
    "it asks for one), and that this identity is allowed sts:AssumeRole on it"
)
_WEB_TRUST = (
    "check that the role in the service account's annotation exists, and that its trust policy lets this cluster's OIDC "
    "provider and this service account assume it"
)
_STS_HINTS = {
    **dict.fromkeys(
        ("InvalidIdentityToken", "IDPRejectedClaim", "IDPCommunicationError"),
        "the role's account needs an IAM OIDC provider for this cluster",
    ),
    **dict.fromkeys(
        EXPIRED, "the credentials or the token that it was asked with are not valid, or not in this partition"
    ),
    "SignatureDoesNotMatch": "check the secret key and this machine's clock",
    "RegionDisabledException": "activate STS for this region in the account",
}
_CLIENT = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 2})

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own, and return its result.

    Unlike with `asyncio.to_thread`, the shutdown does not wait for the thread, because STS or a metadata service may
    hang.
    """
    done: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        if done.set_running_or_notify_cancel():
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - passed on to the caller
                done.set_exception(error)

    threading.Thread(target=run, name="aws", daemon=True).start()
    return await asyncio.wrap_future(done)


@dataclass(frozen=True, slots=True)
class Issued:
    """Credentials, with the Unix times at which they expire and are to be renewed."""

    credentials: ReadOnlyCredentials = field(repr=False)
    expires: float = math.inf
    renew_at: float = math.inf


class Identity:
    """One set of credentials; one load serves all requests that wait for it."""

    def __init__(self, load: Callable[[], Awaitable[Issued]], clock: Clock, name: str) -> None:
        """Load credentials with `load`; `name` names them in messages."""
        self._load, self._clock, self._name = load, clock, name
        self._issued: Issued | None = None
        self._fault: Fault | None = None
        self._retry_at = -math.inf
        self._loading: asyncio.Task[None] | None = None

    async def credentials(self) -> ReadOnlyCredentials:
        """Return valid credentials; raises `Refused` or `Unavailable` if there are none."""
        now = self._clock.wall()
        if self._issued is None or now >= self._issued.expires:
            return await self._wait()
        if now >= self._issued.renew_at:
            self._begin()  # in the background: the current credentials are still valid
        return self._issued.credentials

    def renew(self, refused: ReadOnlyCredentials) -> None:
        """Load again before the next use, because AWS no longer accepts `refused`."""
        if self._issued is not None and self._issued.credentials is refused:
            self._issued = None

    async def close(self) -> None:
        """Cancel the load under way."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.wait((self._loading,))

    def _begin(self) -> asyncio.Task[None]:
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._reload())
        return self._loading

    async def _wait(self) -> ReadOnlyCredentials:
        if self._fault is None or self._clock.now() >= self._retry_at:
            try:
                with deadline(self._clock, WAIT_SECONDS):
                    await asyncio.shield(self._begin())
            except TimeoutError:
                raise Unavailable(
                    f"{self._name}: no AWS credentials within {WAIT_SECONDS:g} s; can STS, or the metadata service that "
                    "gives them, be reached?"
                ) from None
        if self._fault is not None or self._issued is None:
            raise self._fault or Unavailable(f"{self._name}: AWS credentials that AWS refuses")
        return self._issued.credentials

    async def _reload(self) -> None:
        """Load once, and keep the credentials or the fault; never raises."""
        try:
            issued = await self._load()
        except Exception as error:  # noqa: BLE001 - credentials come from plug-ins, files, processes and four services
            self._fault = _fault_of(self._name, error)
            self._retry_at = self._clock.now() + RETRY_SECONDS
            if self._issued is not None:
                self._issued = replace(self._issued, renew_at=self._clock.wall() + RETRY_RENEWAL_SECONDS)
            return
        now = self._clock.wall()
        early = min(RENEW_SECONDS * random.uniform(1, 1.5), max(0.0, issued.expires - now) / 2)  # noqa: S311 - only
        # jitter
        # New credentials are used for a while in any case: only AWS knows whether they are valid, as this machine's
        # clock may be wrong.
        expires = max(issued.expires, now + RETRY_RENEWAL_SECONDS)
        self._issued = replace(issued, expires=expires, renew_at=max(expires - early, now + RETRY_RENEWAL_SECONDS))
        self._fault = None


def _fault_of(name: str, error: Exception) -> Fault:
    """Return why there are no credentials, without quoting AWS or a credential process: it may be a secret."""
    match error:
        case Fault():
            return error
        case ClientError():
            return _sts_fault(name, error)
        case CredentialRetrievalError() | MetadataRetrievalError():
            reason = f"{error.kwargs.get('provider', 'the metadata service')} gave none"
        case BotoCoreError():
            reason = " ".join(str(error).split())[:300]
        case OSError():
            reason = f"{error.strerror} ({error.filename})"
        case _:
            reason = type(error).__name__
    return Unavailable(f"{name}: no AWS credentials: {reason}")


def _sts_fault(name: str, error: ClientError) -> Fault:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    shown_code = code if re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", code) else "an error without a usable code"
    said = f"{name}: AWS STS answered {shown_code} (HTTP {status})"
    if not 400 <= status < 500 or "Throttl" in code:
        return Unavailable(said)
    return Refused(f"{said}; {_STS_HINTS.get(code, _WEB_TRUST if error.operation_name == _IRSA else _TRUST)}")


class Identities:
    """All identities of the process. They share one botocore session, because each session takes 8 MiB."""

    def __init__(self, clock: Clock) -> None:
        """Create nothing yet: a server without SQS triggers needs no AWS."""
        self._clock = clock
        self._known: OrderedDict[tuple[str, str, str], Identity] = OrderedDict()
        self._assuming = Budget(2 * MAX_ASSUMING, "roles being assumed")
        self._making = threading.Lock()  # botocore's session is not thread-safe

    @cached_property
    def session(self) -> Any:
        """The botocore session; made at first use."""
        session = botocore.session.Session()
        session.set_default_client_config(_CLIENT)
        session.register_component("data_loader", SmallLoader())
        return session

    def own(self) -> Identity:
        """Return the scaler's own identity, from AWS's default chain."""
        return self._identity(("", "", ""), partial(in_thread, self._chain))

    def role(self, arn: str, external_id: str | None, namespace: str, region: str) -> Identity:
        """Return the identity of the role `arn`, assumed for `namespace`, which names the role session."""
        request = {"RoleArn": arn, "RoleSessionName": re.sub(r"[^A-Za-z0-9_=,.@-]", "-", f"keda-{namespace}")[:64]}
        if external_id:
            request["ExternalId"] = external_id
        return self._identity((arn, external_id or "", namespace), partial(self._assume, region, request))

    def _identity(self, key: tuple[str, str, str], load: Callable[[], Awaitable[Issued]]) -> Identity:
        if key not in self._known:
            name = f"role {key[0]}" if key[0] else "the scaler's own identity"
            self._known[key] = Identity(load, self._clock, name)
            if len(self._known) > MAX_IDENTITIES:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _chain(self) -> Issued:
        """Go through AWS's default chain from its beginning, so that rotated files and tokens are used; blocks."""
        with self._making:
            resolver = create_credential_resolver(self.session)
        credentials = resolver.load_credentials()
        if credentials is None:
            raise Refused(
                "the scaler's own identity: no AWS credentials in the environment, the shared configuration, a web "
                "identity token (IRSA), EKS Pod Identity or the instance profile; give the pod's service account a role"
            )
        frozen = credentials.get_frozen_credentials()
        ends = getattr(credentials, "_expiry_time", None)  # botocore has it nowhere else
        return Issued(frozen, ends.timestamp() if ends else math.inf)

    async def _assume(self, region: str, request: dict[str, str]) -> Issued:
        own = self.own()
        credentials = await own.credentials()
        try:
            async with self._assuming.hold(1):
                return await in_thread(partial(self._assume_role, credentials, region, request))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in EXPIRED:
                own.renew(credentials)
            raise

    def _assume_role(self, own: ReadOnlyCredentials, region: str, request: dict[str, str]) -> Issued:
        with self._making:
            sts = self.session.create_client(
                "sts",
                region_name=region,
                aws_access_key_id=own.access_key,
                aws_secret_access_key=own.secret_key,
                aws_session_token=own.token,
            )
        granted = sts.assume_role(**request)["Credentials"]
        return Issued(
            ReadOnlyCredentials(granted["AccessKeyId"], granted["SecretAccessKey"], granted["SessionToken"]),
            granted["Expiration"].timestamp(),
        )

    def endpoint(self, service: str, region: str, url: str | None) -> str:
        """Return the endpoint of `service` in `region` by botocore's rules (`AWS_ENDPOINT_URL…`, FIPS, partitions).

        Blocks while it reads files. Raises `Refused` for an impossible region.
        """
        try:
            with self._making:
                return endpoint_of(self.session, service, region, url)
        except (BotoCoreError, ValueError) as error:
            raise Refused(f"no {service} endpoint for region {region}: {error}") from None

    async def close(self) -> None:
        """Cancel all loads under way."""
        await asyncio.gather(*(identity.close() for identity in self._known.values()))
