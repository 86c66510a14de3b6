"""The server's certificate and the CA of its clients, read again when the files change."""

import threading
from pathlib import Path

import grpc
import structlog

from scaler.errors import SettingsError
from scaler.settings import TlsSettings

log = structlog.get_logger()


class _Files:
    """The files as grpc's certificate configuration; grpc asks at every handshake, from threads of its own."""

    def __init__(self, settings: TlsSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp = self._stamps()
        self._failed: object = None

    def _paths(self) -> list[Path]:
        return [
            path for path in (self._settings.cert_file, self._settings.key_file, self._settings.client_ca_file) if path
        ]

    def _stamps(self) -> tuple[tuple[int, int, int], ...]:
        return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in (path.stat() for path in self._paths()))

    def load(self) -> grpc.ServerCertificateConfiguration:
        ca = self._settings.client_ca_file
        return grpc.ssl_server_certificate_configuration(
            [(self._settings.key_file.read_bytes(), self._settings.cert_file.read_bytes())],
            root_certificates=ca.read_bytes() if ca else None,
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the new configuration if a file has changed; open connections keep what they have."""
        with self._lock:
            try:
                stamp = self._stamps()
                if stamp == self._stamp:
                    return None
                loaded = self.load()
            except OSError as error:
                if self._failed != str(error):
                    self._failed = str(error)
                    log.warning(
                        "TLS files cannot be read, so the old certificate stays",
                        file=error.filename,
                        error=error.strerror,
                    )
                return None
            self._stamp, self._failed = stamp, None
            log.info("TLS files reloaded")
            return loaded


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials:
    """Return credentials for TLS 1.2 and above (grpc's floor), with client certificates required if there is a CA.

    Raises `SettingsError` if a file cannot be read.
    """
    try:
        files = _Files(settings)
        first = files.load()
    except OSError as error:
        raise SettingsError(f"tls: {error.filename}: {error.strerror}") from None
    return grpc.dynamic_ssl_server_credentials(
        first,
        files.changed,  # type: ignore[arg-type]  # None means unchanged (grpc's documentation); the stubs lack it
        require_client_authentication=settings.client_ca_file is not None,
    )
