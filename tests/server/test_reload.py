"""SIGHUP: what may change while the server runs, and what is said of the rest."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from structlog.testing import capture_logs

from scaler.core.errors import SettingsError
from scaler.server.app import serve as serve_until_told
from scaler.server.reload import reload
from scaler.settings import Settings, load

RULE = {"namespaces": ["blog"], "urls": ["scripted://*"]}


async def test_new_access_rules_count_at_once(serve: Any) -> None:
    async with serve() as keda:
        await keda.value(keda.ref())
        await keda.value(keda.ref(namespace="blog"))
        with capture_logs() as logs:
            reload(keda.server, lambda: keda.server.settings.model_copy(update=_access(RULE)))
        assert [(entry["event"], entry["refused"]) for entry in logs] == [("access rules are read again", 1)]
        assert not keda.server.addresses.allow_loopback
        await keda.value(keda.ref(namespace="blog"))
        with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
            await keda.value(keda.ref())
        reload(keda.server, lambda: keda.server.settings.model_copy(update=_access()))
        await keda.value(keda.ref())
        assert keda.server.addresses.allow_loopback


def _access(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"access": Settings(access=rules).access}


async def test_what_needs_a_restart_is_named_and_changes_nothing(serve: Any) -> None:
    async with serve() as keda:
        before = keda.server.settings
        with capture_logs() as logs:
            reload(keda.server, lambda: before.model_copy(update={"lease_seconds": 7.0, "listen": "127.0.0.1:1"}))
        assert [(entry["log_level"], entry["sections"]) for entry in logs] == [("warning", ["lease_seconds", "listen"])]
        assert keda.server.settings == before


async def test_a_wrong_configuration_changes_nothing(serve: Any) -> None:
    def wrong() -> Settings:
        raise SettingsError("config.yaml: acess: unknown key; did you mean access?")

    async with serve() as keda:
        with capture_logs() as logs:
            reload(keda.server, wrong)
        assert [(entry["log_level"], entry["error"]) for entry in logs] == [
            ("error", "config.yaml: acess: unknown key; did you mean access?")
        ]
        await keda.value(keda.ref())


async def test_sighup_does_not_end_the_server(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("listen: 127.0.0.1:0\nhttp: 127.0.0.1:0\ndrain: {waitSeconds: 0, graceSeconds: 0}\n")
    read = asyncio.Event()

    def again() -> Settings:
        read.set()
        return load(config)

    with capture_logs() as logs:
        task = asyncio.ensure_future(serve_until_told(load(config), again))
        while not any(entry["event"] == "serving" for entry in logs):  # noqa: ASYNC110 - a line of the log
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(read.wait(), 5)
        assert not task.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, 10)
    assert any("has not changed" in entry["event"] for entry in logs)
