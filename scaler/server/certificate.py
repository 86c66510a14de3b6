"""Finds out how long clients accept the server's certificate, by a TLS handshake in memory."""

import contextlib
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

EARLY_SECONDS = 30 * 86_400.0
EARLY_SHARE = 0.1
NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which `ssl` has no name


@dataclass(frozen=True, slots=True)
class Validity:
    """Valid from `begin` to `end`, in Unix time; `refused` says why no client accepts the certificate at any time."""

    begin: float = 0.0
    end: float = 0.0
    refused: str = ""

    def complaint(self, now: float) -> str:
        """Return what is wrong with the certificate at the Unix time `now`, or "".

        It should have been renewed before the last tenth of its lifetime, or the last 30 days of a long one.
        """
        if self.refused:
            return f"no client accepts it ({self.refused})"
        if now < self.begin:
            return f"it is not valid before {_date(self.begin)}"
        if now >= self.end:
            return f"it has expired on {_date(self.end)}"
        if now >= self.end - min(EARLY_SECONDS, EARLY_SHARE * (self.end - self.begin)):
            return f"it expires on {_date(self.end)}"
        return ""


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def validity(server: ssl.SSLContext, cert_file: Path) -> Validity:
    """Return the validity of the certificate in `cert_file`, which `server` has loaded."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # the names that clients use are not known here
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN  # nor are the CAs that they trust
    client.verify_flags |= NO_CHECK_TIME  # so that the dates of an expired certificate can be read
    client.load_verify_locations(cert_file)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = client.wrap_bio(to_client, to_server)
    here = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (there, here) * 3:  # three turns are enough for TLS 1.2; more do no harm
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return Validity(refused=error.verify_message)
    except ssl.SSLError as error:
        return Validity(refused=error.reason)
    found = there.getpeercert() or {}
    begin, end = (ssl.cert_time_to_seconds(str(found[key])) for key in ("notBefore", "notAfter"))
    return Validity(begin, end)
