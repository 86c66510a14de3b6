"""What is asked of a Prometheus: the newest pages that it has scraped, with what shows that none is missing or old."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from scaler.clients.http.fetch import shown, without_credentials
from scaler.clients.pages.exposition import LEADER, START, Family
from scaler.core.domain import Place

MAX_SELECTOR = 1_000
OLDEST_SECONDS = 150
"""An older sample is a fault. If scrapes or remote writes stop, Prometheus silently repeats the last sample for five minutes.
The slowest usual scrape interval is two minutes."""
STALE = "queue_scaler_stale"
"""The label with which the query marks targets whose samples are too old."""
UNSEEN = "queue_scaler_unseen"
"""The label with which the query marks that no `up` has the labels of the selector."""
AGO = ("5m", "30m", "2h")
"""How long ago a job whose targets are all down may have had the series, for example one shard of many."""
TARGET_LABELS = ("instance", "job", "pod")
"""Labels that distinguish the scraped pages."""

_MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\[\\"nrt])*)"\s*(?:,|$)')


def label_matchers(selector: str) -> str:
    """Return the label matchers of `selector`, which may have braces, in a form that is safe inside a query.

    Raises `ValueError` that says what is allowed.
    """
    text = selector.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    matchers, position = [], 0
    while position < len(text):
        found = _MATCHER.match(text, position)
        if found is None or found[1] == "__name__" or len(text) > MAX_SELECTOR:
            raise ValueError(
                'label matchers in double quotes, such as namespace="argocd",job=~"argocd-.*", without __name__ '
                f"and of at most {MAX_SELECTOR} characters"
            )
        matchers.append(f'{found[1]}{found[2]}"{found[3]}"')
        position = found.end()
    return ",".join(matchers)


@dataclass(frozen=True, slots=True)
class PrometheusPages(Place):
    """The newest pages that a Prometheus has scraped, as far as they have `families`.

    `server` is a name in the configuration; if it is empty, `url` is that of the server. `selector` must be returned by
    `label_matchers`.
    """

    kind: ClassVar[str] = "prometheus"
    min_refresh_seconds: ClassVar[float] = 5.0  # Prometheus itself scrapes every 15 to 60 s

    server: str
    url: str = field(repr=False)
    selector: str
    families: frozenset[Family]

    @property
    def backend(self) -> str:
        """Return the name, or the host and port."""
        return f"prometheus/{self.server or without_credentials(self.url)[0].host_port_subcomponent}"

    def __str__(self) -> str:
        return f"Prometheus {self.server or shown(without_credentials(self.url)[0])} {{{self.selector}}}"

    def query(self) -> str:
        """Return the query: one sum for every page, family and group, the targets that are down, and those with old samples.

        A target that could not be scraped has no series, so the sum would silently be too small. Such targets are found
        by `up == 0`, among the targets that match the selector and whose job has the series on other targets, or had them.
        None can be found where `up` is not kept, or has not the labels of the selector, so that is asked, too.
        """
        names = sorted(family.name for family in self.families - {START})
        labels = sorted({*TARGET_LABELS, *(label for family in self.families for label in family.by)})
        ours = self._series(names)
        had = " or ".join([ours, *(f"{ours} offset {ago}" for ago in AGO)])
        down = f"(up{{{self.selector}}} == 0) and on (job) ({had})"
        series = self._series(sorted({*names, LEADER.name, START.name}))
        unseen = f'label_replace(absent(up{{{self.selector}}}), "{UNSEEN}", "true", "", "")'
        parts = [f"sum by (__name__, {', '.join(labels)}) ({series})", f"({down})", *map(self._stale, names), unseen]
        return " or ".join(parts)

    def _stale(self, name: str) -> str:
        ages = f"max by ({', '.join(TARGET_LABELS)}) (time() - timestamp({name}{{{self.selector}}}))"
        return f'label_replace({ages} > {OLDEST_SECONDS}, "{STALE}", "true", "", "")'

    def _series(self, names: Sequence[str]) -> str:
        return f'{{__name__=~"{"|".join(names)}"{"," if self.selector else ""}{self.selector}}}'
