"""Access to the status page by token, and the security headers of its answers."""

import hashlib
import hmac
from pathlib import Path

from aiohttp import web

from scaler.core.clock import Clock
from scaler.core.errors import SettingsError
from scaler.core.logs import Once, get_logger

log = get_logger()

COOKIE = "queue_scaler_page"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that keep browsers from running foreign scripts, framing and caching."""
    response.headers.update(HEADERS)
    if request.path.startswith("/static/"):
        response.headers["Cache-Control"] = "no-cache"  # cached but revalidated, so that an upgrade is seen at once


class Guard:
    """Requires the token in a file, which is read at every request, so that a rotated token is used at once."""

    def __init__(self, token_file: Path | None, clock: Clock) -> None:
        """Require no token without a file; raises `SettingsError` if the file cannot be read."""
        self._file, self._once = token_file, Once(clock)
        if token_file is not None and self._token() is None:
            raise SettingsError(f"page.tokenFile: {token_file} cannot be read, or is empty")

    def _token(self) -> bytes | None:
        """Return the token, or None if it cannot be read."""
        if self._file is None:
            return None
        try:
            return self._file.read_bytes().strip() or None
        except OSError as error:
            if self._once(error.errno):
                log.warning("page.tokenFile cannot be read, so the page is closed", error=error.strerror)
            return None

    def admits(self, request: web.Request) -> bool:
        """Tell whether `request` has the token as bearer token, or the cookie for it."""
        if self._file is None:
            return True
        token = self._token()
        if token is None:  # without a readable token no request is admitted
            return False
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() == "bearer" and _same(bearer.strip(), token):
            return True
        return _same(request.cookies.get(COOKIE, ""), _cookie(token))

    def sign_in(self, request: web.Request, response: web.Response) -> bool:
        """Set the cookie if the URL has `?token=` with the right token; tell whether it has."""
        token = self._token()
        if token is None or not _same(request.query.get("token", ""), token):
            return False
        response.set_cookie(
            COOKIE, _cookie(token).decode(), httponly=True, samesite="Strict", secure=request.secure, path="/"
        )
        return True


def _same(given: str, wanted: bytes) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), wanted)


def _cookie(token: bytes) -> bytes:
    """Return the value of the cookie, a hash of the token, which is invalid after the token is rotated."""
    return hmac.new(token, b"status page", hashlib.sha256).hexdigest().encode()
