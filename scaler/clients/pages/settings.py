"""The sections `pages:` and `prometheus:` of the configuration: credentials and TLS for reading metrics."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from yarl import URL

from scaler.clients.http.fetch import checked_url
from scaler.clients.http.tls import ClientTls
from scaler.clients.kubernetes.config import SERVICE_ACCOUNT

_PATTERN = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-fA-F:.*]+\]|[^/:@\s\[\]]+)(?::(?P<port>[0-9]{1,5}|\*))?(?P<path>/\S*)?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


API_PATH = re.compile(r"/api/v1(/query(_range)?)?/?$")
"""The path of the HTTP API, which is added to a base URL."""
_OWN_HEADERS = {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}


class PrometheusServer(ClientTls):
    """One entry of `prometheus:` in the configuration."""

    url: SecretStr = Field(
        description="Base URL of the HTTP API, `https://prometheus.monitoring.svc:9090`; may hold a user name and password."
    )
    token_file: Path | None = Field(None, description="File with a bearer token; read again when it changes.")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Sent with every query, such as `X-Scope-OrgID`: the tenant of Mimir, Cortex."
    )
    parameters: dict[str, SecretStr] = Field(
        default_factory=dict,
        description='Sent with every query, such as `namespace` or `partial_response: "false"` of Thanos.',
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        if URL(checked_url(url.get_secret_value())).query_string:
            raise ValueError("http://HOST[:PORT]/PATH without a query; give it as `parameters`")
        if API_PATH.search(url.get_secret_value()):
            raise ValueError("the base URL, without the /api/v1/query that is added to it")
        return url

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            text = value.get_secret_value()
            if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not (text.isascii() and text.isprintable()):
                raise ValueError("names and values of HTTP headers, on one line and in ASCII")
            if name.lower() in _OWN_HEADERS:
                raise ValueError(f"{name} is set by the scaler itself")
        return headers

    @field_validator("parameters")
    @classmethod
    def _check_parameters(cls, parameters: dict[str, SecretStr]) -> dict[str, SecretStr]:
        if "query" in parameters or not all(parameters):
            raise ValueError("names and values of further parameters, none of them empty or `query`")
        return parameters

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.token_file is not None and "authorization" in map(str.lower, self.headers):
            raise ValueError("tokenFile cannot be combined with a header Authorization: choose one")
        return self


class PagesSettings(ClientTls):
    """One entry of `pages:`; of several that match a URL the first is used."""

    urls: tuple[str, ...] = Field(
        min_length=1,
        description="URLs of pages that this is for; `*` in the host, the port or the path stands for any characters of that part. A pod of `podSelector` is `https://NAME.NAMESPACE.pod:PORT/PATH`.",
    )
    insecure_skip_verify: bool = Field(
        False,
        description="Accept any certificate, as for a controller that signs its own; whoever answers gets the token.",
    )
    server_name: str | None = Field(
        None, min_length=1, description="Name that the certificate must be for, instead of the host in the URL."
    )
    token_file: Path | None = Field(None, description="File with a bearer token; read again when it changes.")
    service_account_token: bool = Field(
        False, description="Send the token of the scaler's own service account, as controllers of kubebuilder ask for."
    )

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if not _PATTERN.fullmatch(url):
                raise ValueError(
                    "https://HOST[:PORT][/PATH], where * stands for any characters of the host, the port or the path"
                )
        return urls

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.token_file is not None and self.service_account_token:
            raise ValueError("tokenFile cannot be combined with serviceAccountToken: choose one")
        if self.ca_file is not None and self.insecure_skip_verify:
            raise ValueError("caFile cannot be combined with insecureSkipVerify: choose one")
        if self.cert_file is not None and any(url.startswith("http:") for url in self.urls):
            raise ValueError("certFile: is for https alone, and a URL in urls begins with http")
        if self.service_account_token and any(url.startswith("http:") for url in self.urls):
            raise ValueError("serviceAccountToken: is sent over https alone, and a URL in urls begins with http")
        return self

    @property
    def bearer_file(self) -> Path | None:
        """The file with the bearer token, if one is sent."""
        return SERVICE_ACCOUNT / "token" if self.service_account_token else self.token_file

    def covers(self, url: URL, names: Iterable[str] = ()) -> bool:
        """Tell whether this entry is for `url`, by its host or by one of the other `names` of that host.

        Each part is compared separately, so that a path or user name in a URL is never taken for the host.
        """
        hosts = {(url.raw_host or "").rstrip(".").lower(), *names}
        return any(self._covers(pattern, url, hosts) for pattern in map(_PATTERN.fullmatch, self.urls) if pattern)

    @staticmethod
    def _covers(pattern: re.Match[str], url: URL, hosts: Iterable[str]) -> bool:
        host, port = (
            pattern["host"].strip("[]").rstrip(".").lower(),
            pattern["port"] or _DEFAULT_PORTS[pattern["scheme"]],
        )
        return (
            pattern["scheme"] == url.scheme
            and any(_glob(each, host) for each in hosts)
            and port in {"*", url.port, str(url.port)}
            and (pattern["path"] is None or _glob(url.raw_path, pattern["path"]))
        )


def _glob(text: str, pattern: str) -> bool:
    return fnmatchcase(text, re.sub(r"[\[?]", r"[\g<0>]", pattern))  # only `*` is a wildcard


PLAIN = PagesSettings(urls=("http://*",))
"""For pages without an entry: the system's CAs, and no credentials except those in the URL."""
