"""Redis servers: URLs, entries of the configuration, and references to either."""

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import SplitResult, unquote_plus, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from scaler.clients.http.tls import ClientTls

CONNECTION_NAME = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""The form of a connection's name; no URL matches it, so a name has no secret and can be quoted."""
REDIS_PORT, SENTINEL_PORT = 6379, 26379
MAX_SENTINELS = 16
"""All of a URL are asked at once, at each look for the master; usual are three to seven."""
URL_FORMS = (
    "`redis://[user:password@]host[:port][/database]`, `rediss://…` for TLS or "
    "`redis+sentinel://host[:port],…/master[/database]` with at most 16 hosts, without a query; "
    "percent-encode special characters of the password"
)
_SCHEMES = {"redis": False, "rediss": True, "redis+sentinel": False, "rediss+sentinel": True}


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A parsed Redis URL; its `str` and `repr` have no user name and no password."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    database: int
    master: str | None  # its name at the Sentinels; None: `hosts` is the Redis itself
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)

    @property
    def tls(self) -> bool:
        """Whether connections use TLS, also those to Sentinels."""
        return _SCHEMES[self.scheme]

    def each_host(self) -> tuple[str, ...]:
        """Return one URL for each host, without user name and password, for the access rules."""
        path = f"/{self.master}/{self.database}" if self.master is not None else f"/{self.database}"
        return tuple(f"{self.scheme}://{address(*host)}{path}" for host in self.hosts)

    def __str__(self) -> str:
        first, *others = self.each_host()
        netloc = ",".join(address(*host) for host in self.hosts)
        return first if not others else first.replace(address(*self.hosts[0]), netloc, 1)


def address(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@lru_cache(maxsize=64)  # most triggers have the URL of another, and each parses it several times
def parse_url(url: str, *, lone: Literal["user", "password"] = "password") -> RedisUrl:
    """Parse a Redis URL as Sidekiq's client does (redis-client `url_config.rb`).

    A single word before the `@` is the password, or what `lone` says; `+` in it is a space. Raises `ValueError` that
    says what is allowed, without quoting `url`.
    """
    try:
        return _parse_split(urlsplit(url), lone)
    except ValueError:  # not urlsplit's text, which may quote the password
        raise ValueError(URL_FORMS) from None


def _parse_split(split: SplitResult, lone: str) -> RedisUrl:
    if split.scheme not in _SCHEMES or split.query or split.fragment:
        raise ValueError
    sentinel = split.scheme.endswith("+sentinel")
    userinfo, _, netloc = split.netloc.rpartition("@")
    username, colon, password = userinfo.partition(":")
    if not colon and lone == "password":
        username, password = "", username
    path = split.path.strip("/").split("/") if split.path.strip("/") else []
    master = unquote_plus(path.pop(0)) if sentinel and path else None
    database = path.pop(0) if path else "0"
    hosts = tuple(_parse_host(item, SENTINEL_PORT if sentinel else REDIS_PORT) for item in netloc.split(","))
    wrong_master = sentinel and not re.fullmatch(r"[A-Za-z0-9._-]+", master or "")  # as in Sentinel's own configuration
    most = MAX_SENTINELS if sentinel else 1
    if path or not re.fullmatch(r"[0-9]{1,9}", database) or wrong_master or len(hosts) > most:
        raise ValueError
    return RedisUrl(
        scheme=split.scheme,
        hosts=hosts,
        database=int(database),
        master=master,
        username=unquote_plus(username) or None,
        password=unquote_plus(password) or None,
    )


def _parse_host(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?", text)
    if match is None:
        raise ValueError
    return checked_host(match["v6"] or match["name"], int(match["port"] or default_port))


def checked_host(name: str, port: int) -> tuple[str, int]:
    """Return host and port in normal form; raises `ValueError` for what is no name, address or port."""
    host = str(ipaddress.IPv6Address(name)) if ":" in name else name.lower()
    if not 1 <= port <= 65_535 or not re.fullmatch("[a-z0-9._:-]{1,253}", host):
        raise ValueError
    return host, port


@dataclass(frozen=True, slots=True)
class RedisRef:
    """A reference to a Redis and an identity: the name of a connection in the configuration, or a trigger's URL."""

    backend: str
    name: str | None = None
    url: SecretStr | None = None
    namespace: str | None = None  # with Sentinels in `url`: the namespace whose access rules apply to the master

    def __str__(self) -> str:
        return self.backend


class RedisServer(ClientTls):
    """One entry of `redis:` in the configuration."""

    url: SecretStr = Field(
        description="`redis://`, `rediss://` or `redis+sentinel://host:port,…/master/db`; may hold a user name and password."
    )
    password_file: Path | None = Field(
        None,
        description="File with the password, read again for each connection; the URL then holds only a user name, if any.",
    )
    sentinel_password_file: Path | None = Field(None, description="File with the password of the Sentinels.")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        parse_url(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.ca_file or self.cert_file or self.key_file) and not self.where.tls:
            raise ValueError("caFile, certFile and keyFile need a rediss:// URL: redis:// is not encrypted")
        return self

    @property
    def where(self) -> RedisUrl:
        """The parsed URL; with a password file a single word before the `@` is the user name."""
        return parse_url(self.url.get_secret_value(), lone="user" if self.password_file else "password")
