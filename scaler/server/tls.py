"""TLS of the gRPC server: its certificate and the CA of its clients, read again when the files change."""

import ssl
import threading
from pathlib import Path

import grpc

from scaler.core.clock import Clock
from scaler.core.errors import SettingsError
from scaler.core.logs import Once, get_logger
from scaler.server.certificate import Validity, validity
from scaler.settings import TlsSettings

log = get_logger()

REMIND_SECONDS = 86_400.0


class _Files:
    """The files as grpc's certificate configuration; grpc calls `changed` at every handshake, from its own threads."""

    def __init__(self, settings: TlsSettings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._validity = Validity(end=float("inf"))
        self._remind = Once(clock, REMIND_SECONDS)
        self._lock = threading.Lock()
        self._stamp: tuple[tuple[int, int, int], ...] = ()
        self._failed: str | None = None

    def _paths(self) -> list[Path]:
        return [
            path for path in (self._settings.cert_file, self._settings.key_file, self._settings.client_ca_file) if path
        ]

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in (path.stat() for path in self._paths()))

    def load(self) -> grpc.ServerCertificateConfiguration:
        """Read the files; raises `OSError` (or `ssl.SSLError`) if one is unreadable or they do not belong together."""
        stamp, ca = self._stamps(), self._settings.client_ca_file
        check = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # checked here, because grpc would only say that it cannot use
        # the port
        check.load_cert_chain(self._settings.cert_file, self._settings.key_file, password=lambda: "")
        if ca is not None:
            check.load_verify_locations(ca)
        loaded = grpc.ssl_server_certificate_configuration(
            [(self._settings.key_file.read_bytes(), self._settings.cert_file.read_bytes())],
            root_certificates=ca.read_bytes() if ca else None,
        )
        self._stamp = stamp  # taken before the read, so that files that changed during it are read again
        self._validity = validity(check, self._settings.cert_file)
        return loaded

    def look(self) -> None:
        """Log a warning, once a day for each reason, if clients refuse the certificate or soon will."""
        complaint = self._validity.complaint(self._clock.wall())
        if complaint and self._remind(complaint):
            log.warning(
                "clients refuse the server's certificate, or soon will",
                error=f"tls: {self._settings.cert_file}: {complaint}",
            )

    def explain(self, error: OSError) -> str:
        """Return which file cannot be used, and why."""
        if not isinstance(error, ssl.SSLError):
            return f"tls: {error.filename}: {error.strerror}"
        names = ", ".join(map(str, self._paths()))
        return f"tls: {names}: no certificate chain, private key and CA in PEM that belong together ({error.reason or 'not PEM, or encrypted'})"

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration if a file has changed; open connections keep the old one."""
        with self._lock:
            try:
                if self._stamps() == self._stamp:
                    return None
                loaded = self.load()
            except OSError as error:
                if self._failed != (said := self.explain(error)):
                    self._failed = said
                    log.warning("TLS files cannot be used, so the old certificate stays", error=said)
                return None
            finally:
                self.look()
            self._failed = None
            log.info("TLS files reloaded")
            return loaded


def server_credentials(settings: TlsSettings, clock: Clock) -> grpc.ServerCredentials:
    """Return credentials for TLS 1.2 and newer (grpc's minimum); client certificates are required if there is a CA.

    Raises `SettingsError` if a file cannot be read, or if the files do not belong together.
    """
    files = _Files(settings, clock)
    try:
        first = files.load()
    except OSError as error:
        raise SettingsError(files.explain(error)) from None
    files.look()
    return grpc.dynamic_ssl_server_credentials(
        first,
        files.changed,  # type: ignore[arg-type]  # the stubs lack that None means unchanged, as grpc documents
        require_client_authentication=settings.client_ca_file is not None,
    )
