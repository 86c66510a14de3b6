"""TLS with servers of the configuration: which certificates are trusted."""

import ssl
from functools import lru_cache
from pathlib import Path


def trust(ca_file: Path | None, *, verify: bool = True) -> ssl.SSLContext | bool:
    """Return the `ssl` argument for aiohttp: the CAs of `ca_file`, read again when it changes, else the system's.

    Without `verify` any certificate is accepted. Raises `OSError` for a file that cannot be used.
    """
    if not verify:
        return False
    return True if ca_file is None else _context(ca_file, ca_file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _context(ca_file: Path, _changed: int) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    # Python 3.13 checks strictly, but CAs that clusters generate often lack a key identifier.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
