"""When deletion costs are worked out: what is done in a round is not looked at."""

import asyncio

from structlog.testing import capture_logs

from scaler.answers.sparing import LOOK_SECONDS, Sparing
from scaler.demo.clock import ManualClock
from scaler.server.app import Server
from scaler.settings import Settings


class Rounds(Sparing):
    """Takes no steps, but notes when it would, and does what the test says."""

    def __init__(self, server: Server, clock: ManualClock, *rounds: bool | Exception) -> None:
        super().__init__(server.backends.kubernetes, server.registry, clock, 60)
        self.clock, self.rounds, self.times = clock, list(rounds), list[float]()

    async def step(self) -> bool:
        self.times.append(self.clock.now())
        outcome = self.rounds.pop(0) if self.rounds else False
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_it_goes_on_after_a_defect_and_at_once_while_there_is_something_to_write() -> None:
    clock = ManualClock()
    server = Server(Settings(), clock)
    sparing, began = Rounds(server, clock, True, True, KeyError("x"), False), clock.now()
    running = asyncio.ensure_future(sparing.run())
    await clock.advance(10)
    assert not sparing.times, "nobody has asked for it"
    metadata = {"source": "sidekiq", "redisURL": "redis://127.0.0.1:1", "queues": "default", "spareBusy": "prefer"}
    sparing.note(server.registry.find("shop", "worker", metadata))
    with capture_logs() as logs:
        await clock.advance(3.5 * LOOK_SECONDS)
    assert [at - began - 10 for at in sparing.times] == [0, 0, 0, *(each * LOOK_SECONDS for each in (1, 2, 3))]
    assert [(line["event"], line["log_level"]) for line in logs] == [("deletion costs cannot be worked out", "error")]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await server.close()
