"""SIGHUP: reads the configuration again, and applies what may change while the server runs."""

from collections.abc import Callable
from typing import Protocol

from scaler.answers.registry import Registry
from scaler.clients.http.addresses import Addresses
from scaler.core.errors import SettingsError
from scaler.core.logs import get_logger
from scaler.settings import Settings

log = get_logger()

LIVE = frozenset({"access"})
"""Sections that take effect at once. Files that the configuration names (certificates, passwords, tokens) are read
again when they change, without a SIGHUP."""


class Running(Protocol):
    """The parts of a server that a new configuration can change."""

    settings: Settings
    registry: Registry
    addresses: Addresses


def reload(server: Running, load: Callable[[], Settings]) -> None:
    """Apply to `server` what `load` returns, as far as that is possible, and log which sections need a restart.

    A wrong configuration changes nothing. ScaledObjects that the new access rules do not allow are forgotten, and get
    an error at their next call; their streams end instead of sending.
    """
    try:
        new = load()
    except SettingsError as error:
        log.error("the configuration is not read again: it is wrong", error=str(error))  # noqa: TRY400 - no traceback for bad input
        return
    old = server.settings
    changed = {name for name in Settings.model_fields if getattr(old, name) != getattr(new, name)}
    if "access" in changed:
        refused = server.registry.allow(new.access)
        server.addresses.allow_loopback = not new.access
        log.info("access rules are read again", rules=len(new.access), refused=refused)
    server.settings = old.model_copy(update={name: getattr(new, name) for name in changed & LIVE})
    if changed - LIVE:
        log.warning("sections that need a restart have changed", sections=sorted(changed - LIVE))
    if not changed:
        log.info("the configuration is read again, and has not changed")
