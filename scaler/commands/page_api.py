"""A client of the status page's JSON API of a running server, with its token if it needs one."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from scaler.clients.http.problems import unreachable
from scaler.core.errors import ScalerError

WAIT_SECONDS = 10.0
MAX_BYTES = 64 << 20
_OTHER_NAMES = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH
HINT = "give the address of the status page, port 9091 by default"


class ApiError(ScalerError):
    """The API of a server cannot be called, or its answer is malformed."""

    code = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Api:
    """An open connection to the API at `url`."""

    url: URL
    _session: aiohttp.ClientSession
    _token_file: Path | None = None
    _ca: Path | None = None

    async def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the JSON object at `path`; raises `ApiError` that says what to change."""
        try:
            async with self._session.get(self.url.join(URL(path.lstrip("/"))), params=query) as response:
                raw = await response.content.read(MAX_BYTES)
                return self._object(response, raw, path)
        except TimeoutError:
            raise ApiError(f"{self.url}: no answer within {WAIT_SECONDS:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise ApiError(f"{self.url}: {self._distrust(error.certificate_error)}") from None
        except aiohttp.ClientConnectorSSLError:
            raise ApiError(
                f"{self.url}: nothing speaks TLS there; the page has none of its own: write http://"
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise ApiError(f"{self.url}: {unreachable(error.os_error)}; {HINT}") from None
        except aiohttp.ClientResponseError:
            raise ApiError(f"{self.url}: what answers speaks no HTTP/1, it may be the gRPC port; {HINT}") from None
        except aiohttp.ClientError as error:
            https = "; if it speaks https, write https://HOST:PORT" if self.url.scheme == "http" else ""
            raise ApiError(
                f"{self.url}: no HTTP answer ({str(error) or type(error).__name__}); {HINT}{https}"
            ) from None

    def _distrust(self, error: Exception) -> str:
        """Return why the certificate is not accepted, and what to change."""
        if getattr(error, "verify_code", 0) in _OTHER_NAMES:
            return f"{getattr(error, 'verify_message', '')} Write a name that it is for in the URL"
        if self._ca is not None:
            return f"the server's certificate does not follow from --ca {self._ca}: {getattr(error, 'verify_message', error)}"
        return f"{error}; give --ca"

    def _object(self, response: aiohttp.ClientResponse, raw: bytes, path: str) -> dict[str, Any]:
        if response.status == 401 and self._token_file is not None:
            raise ApiError(
                f"{self.url}: the page refuses the token in {self._token_file}; page.tokenFile of the server has it"
            )
        if response.status == 401:
            raise ApiError(f"{self.url}: the page wants a token; give --token-file FILE (the server's page.tokenFile)")
        if response.status == 421:
            raise ApiError(
                f"{self.url}: the server does not answer to this host name: use an IP address, or one of its httpAllowedHosts"
            )
        try:
            found = json.loads(raw)
        except ValueError:
            found = None
        if response.status >= 400:
            said = f": {found['error']}" if isinstance(found, dict) and isinstance(found.get("error"), str) else ""
            missing = "; the page is off (page.enabled), or the server too old" if response.status == 404 else ""
            raise ApiError(f"{self.url}: {path} is answered with {response.status}{said or missing}")
        if not isinstance(found, dict):
            raise ApiError(f"{self.url}: {path} is no JSON of this scaler; {HINT}")
        return found


@asynccontextmanager
async def api_at(address: str, token_file: Path | None = None, ca: Path | None = None) -> AsyncIterator[Api]:
    """Open the API at `address`, HOST:PORT or a URL; raises `ApiError` for anything else."""
    url = page_url(address)
    headers = {"Authorization": f"Bearer {_token(token_file)}"} if token_file is not None else {}
    try:
        context = ssl.create_default_context(cafile=ca) if ca is not None else True
    except (OSError, ssl.SSLError) as error:
        raise ApiError(f"--ca {ca}: {getattr(error, 'strerror', None) or error}") from None
    timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS)
    connector = aiohttp.TCPConnector(ssl=context, resolver=aiohttp.ThreadedResolver())
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:
        yield Api(url, session, token_file, ca)
    await asyncio.sleep(0)  # aiohttp closes its sockets in the next turn of the event loop


def page_url(address: str) -> URL:
    """Return the URL of the page at `address`; it ends with a slash, so that paths can be joined."""
    whole = "://" in address
    try:
        url = URL(address if whole else f"http://{address}")
        usable = url.scheme in {"http", "https"} and bool(url.host) and (whole or url.explicit_port is not None)
    except ValueError:
        usable = False
    if not usable:
        raise ApiError(f"{address}: must be HOST:PORT of the status page, such as 127.0.0.1:9091, or its URL")
    return url.with_query(None).with_fragment(None).with_path(f"{url.path.rstrip('/')}/")


def _token(path: Path) -> str:
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(f"--token-file {path}: {getattr(error, 'strerror', None) or 'not text'}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ApiError(f"--token-file {path}: must hold one token, and nothing else")
    return token
