"""Checks that the pages of a place are complete and the right ones, and makes their proof."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scaler.clients.pages.exposition import LEADER, Page
from scaler.clients.pages.places import Wanted
from scaler.core.domain import Proof
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
            f"{where}: none of {len(pages)} pods leads at present ({LEADER.name} is 0), so that no page tells what waits; "
            "if a Service is in front of several pods, use podSelector or a headless Service, which reach each of them"
        )
    return tuple(sorted(map(_counted, pages), key=lambda page: page.name))


def _counted(page: Page) -> Page:
    """Return `page`, without sums if it is on standby: client-go creates the queues of a standby, but empty."""
    return replace(page, sums={LEADER.name: page.sums[LEADER.name]}) if page.stands_by else page


def proof_of(whose: str, pages: Sequence[Page], ends: Mapping[str, str]) -> Proof:
    """Return the proof of `pages`; `ends` has the end of each by its name, `whose` names the pods or addresses."""
    shown = " and ".join(sorted({ends[page.name] for page in pages}))
    leading = [page.name for page in pages if page.sums.get(LEADER.name, {}).get("", 0) > 0]
    standing_by = sum(page.stands_by for page in pages)
    elected = f"; {', '.join(leading[:3])} leads, {standing_by} stand by" if leading or standing_by else ""
    return Proof(f"{len(pages)} of {len(pages)} pages to their end, by {shown}", f"{whose}{elected}")
