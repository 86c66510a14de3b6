import asyncio

import pytest

from scaler.demo import ending


async def test_a_task_that_loses_a_cancellation_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)
    cancelled = 0

    async def loses() -> None:
        nonlocal cancelled
        while cancelled < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("not while it ends")

    tasks = [asyncio.create_task(each()) for each in (loses, fails)]
    await asyncio.sleep(0)
    await ending.end(tasks)
    assert cancelled == 3
    assert all(task.done() for task in tasks)
    await ending.end([])
