"""TLS towards servers of the configuration: whose certificates count, and with which one the scaler shows itself."""

import ssl
from functools import cache, lru_cache
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from scaler.clients.http.key_exchange import Context
from scaler.core.section import Section


class ClientTls(Section):
    """What every section says that is reached over TLS."""

    ca_file: Path | None = Field(None, description="CA certificates, instead of the system's; read again on change.")
    cert_file: Path | None = Field(
        None, description="Client certificate, for a server that asks for one; read again on change."
    )
    key_file: Path | None = Field(None, description="Key of the client certificate, unless `certFile` holds it too.")

    @model_validator(mode="after")
    def _check_client_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("keyFile needs certFile")
        return self


def client_context(ca_file: Path | str | None = None, *, ca: str | None = None) -> ssl.SSLContext:
    """Return how servers are checked: by the CAs of `ca_file` or of the PEM text `ca`, else the system's; TLS 1.2 or newer.

    Raises `OSError` for a file that cannot be used.
    """
    context = Context(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificates and names
    if ca_file or ca:
        context.load_verify_locations(ca_file, cadata=ca)
    else:
        context.load_default_certs()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # some distributions leave it to their OpenSSL's configuration
    context.options |= ssl.OP_NO_RENEGOTIATION  # no further handshakes, which nothing would look at
    # Without Python's strict checks: CAs that clusters generate (EKS's too) often lack a key identifier.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate CA may be trusted by itself
    # Before TLS 1.3 a server chooses the field itself: one of 8192 bits takes 300 ms.
    context.set_ciphers(":".join(each["name"] for each in context.get_ciphers() if not each["name"].startswith("DHE-")))
    return context


@cache
def system_context() -> ssl.SSLContext:
    """Return the context for servers that the system's CAs vouch for."""
    return client_context()


def unusable(error: OSError | ValueError) -> str:
    """Return what is wrong with a file of a certificate, a key or a token, by the error that it was read with."""
    if isinstance(error, ssl.SSLError):
        return "no PEM, or a key of another certificate"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return "not UTF-8 text"


def trust(section: ClientTls, *, verify: bool = True) -> ssl.SSLContext | bool:
    """Return what `aiohttp` takes for `ssl`, by files that are read again when they change; without any the system's CAs.

    Without `verify` any certificate is accepted. True leaves it to the session, see `open_session`. Raises `OSError` for a
    file that cannot be used.
    """
    files = section.ca_file if verify else None, section.cert_file, section.key_file
    if verify and files == (None, None, None):
        return True
    return _context(files, verify, tuple(file and file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=64)
def _context(
    files: tuple[Path | None, Path | None, Path | None],
    verify: bool,  # noqa: FBT001 - of a function that the cache calls
    _changed: tuple[int | None, ...],
) -> ssl.SSLContext:
    ca_file, cert_file, key_file = files
    context = client_context(ca_file)
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if cert_file is not None:
        context.load_cert_chain(cert_file, key_file, password="")  # an encrypted key is an error, and asks nobody
    return context
