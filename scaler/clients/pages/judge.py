"""Checks that the pages of a place are complete and the right ones, and makes their proof."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.clients.pages.exposition import LEADER, START, Family, Page
from scaler.clients.pages.places import Wanted
from scaler.core.clock import Clock
from scaler.core.domain import Place, Proof
from scaler.core.errors import Unavailable


def judged(where: str, wanted: Wanted, pages: Sequence[Page]) -> tuple[Page, ...]:
    """Return `pages` in the order of their names, standby pages without sums; raises `Unavailable` for `where`.

    Every page must have a series of `wanted.proof`, or be that of a pod on standby.
    """
    proof = " or ".join(sorted(wanted.proof))
    for page in pages:
        if not all(map(math.isfinite, page.sums.get(LEADER.name, {}).values())):
            raise Unavailable(
                f"{where}, {page.name}: {LEADER.name} is neither 0 nor 1, so that it is not known who leads"
            )
        if not page.stands_by and not wanted.proof & page.sums.keys():
            raise Unavailable(f"{where}, {page.name}: the page has no {proof}: {wanted.hint}")
    if LEADER.name not in wanted.proof and all(page.stands_by for page in pages):
        raise Unavailable(
            f"{where}: none of {len(pages)} pods leads at present ({LEADER.name} is 0), so that no page has what waits; "
            "if a Service is in front of several pods, use podSelector or a headless Service, which reach each of them"
        )
    return tuple(sorted(map(_counted, pages), key=lambda page: page.name))


def _counted(page: Page) -> Page:
    """Return `page`, without sums if it is on standby: client-go creates the queues of a standby, but empty."""
    return replace(page, sums={LEADER.name: page.sums[LEADER.name]}) if page.stands_by else page


def leading(pages: Sequence[Page]) -> tuple[str, ...]:
    """Return the names of `pages` that say that they lead."""
    return tuple(page.name for page in pages if page.sums.get(LEADER.name, {}).get("", 0) > 0)


class Changes:
    """When the processes behind the pages of each place started, or one was missing, or another one took the lead.

    Their queues then fill anew, or others take over what was in them.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: dict[Place, tuple[frozenset[str], frozenset[str]]] = {}  # who was there, and who led

    def note(self, place: Place, families: frozenset[Family], pages: Sequence[Page]) -> tuple[tuple[Page, ...], float]:
        """Return `pages` without the start, unless it is one of `families`, and the monotonic time of the newest change, as far as they show it."""
        starts = [page.sums.get(START.name, {}).get("", math.nan) for page in pages]
        ran = min((max(0.0, self._clock.wall() - start) for start in starts if math.isfinite(start)), default=math.inf)
        there, leads = frozenset(page.name for page in pages), frozenset(leading(pages))
        were, led = self._before.get(place, (there, leads))
        if were - there or (leads and led and leads != led):
            ran = 0.0
        self._before[place] = there, leads or led
        now = self._clock.now()
        if START in families:
            return tuple(pages), now - ran
        kept = (
            replace(page, sums={name: of for name, of in page.sums.items() if name != START.name}) for page in pages
        )
        return tuple(kept), now - ran

    def forget(self, place: Place) -> None:
        """Forget who was there."""
        self._before.pop(place, None)


def proof_of(whose: str, pages: Sequence[Page], ends: Mapping[str, str]) -> Proof:
    """Return the proof of `pages`; `ends` has the end of each by its name, `whose` names the pods or addresses."""
    shown = " and ".join(sorted({ends[page.name] for page in pages}))
    leads = leading(pages)
    standing_by = sum(page.stands_by for page in pages)
    elected = f"; {', '.join(leads[:3])} leads, {standing_by} stand by" if leads or standing_by else ""
    return Proof(f"{len(pages)} of {len(pages)} pages to their end, by {shown}", f"{whose}{elected}")
