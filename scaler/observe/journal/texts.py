"""The texts that events refer to, each stored once, however many triggers have the same fault."""

import re
from dataclasses import dataclass

from scaler.core.errors import LimitError
from scaler.core.quota import Quota

MAX_TEXT_BYTES = 400
MOST = 2**23
"""Whole numbers up to here are exact in 32 bits of float."""
NO_ROOM = "another message; the journal had no room for it (journal.maxBytes)"
_NUMBERS = re.compile(r"\d[\d.,]*")


@dataclass(slots=True)
class _Text:
    text: str
    owner: str
    uses: int = 0


class Texts:
    """Numbers for texts, as long as an event refers to them. Number 0 is used for texts beyond the limit."""

    def __init__(self, limit: int) -> None:
        """Keep at most `limit` texts; a namespace may have at most as many as remain free."""
        self._quota = Quota(limit, "journal.maxBytes")
        self._numbers: dict[str, int] = {}
        self._texts: dict[int, _Text] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, number: int) -> str:
        return self._texts[number].text if number in self._texts else NO_ROOM

    def take(self, text: str, namespace: str) -> int:
        """Return the number of `text` for one more event of `namespace`."""
        text = short(text)
        number = self._numbers.get(text)
        if number is None:
            try:
                self._quota.take(namespace)
            except LimitError:
                return 0
            while self._next in self._texts:
                self._next = self._next % MOST + 1
            number = self._next
            self._next = number % MOST + 1
            self._numbers[text], self._texts[number] = number, _Text(text, namespace)
        self._texts[number].uses += 1
        return number

    def keep(self, number: int) -> None:
        """Note that one more event refers to `number`."""
        if (held := self._texts.get(number)) is not None:
            held.uses += 1

    def give_back(self, number: int) -> None:
        """Note that one event fewer refers to `number`."""
        if (held := self._texts.get(number)) is None:
            return
        held.uses -= 1
        if not held.uses:
            del self._texts[number], self._numbers[held.text]
            self._quota.give_back(held.owner)


def short(text: str) -> str:
    """Return `text`, shortened to the limit of a text."""
    if len(text) * 4 <= MAX_TEXT_BYTES:
        return text
    return text.encode(errors="replace")[:MAX_TEXT_BYTES].decode(errors="ignore")


def alike(one: str, other: str) -> bool:
    """Tell whether two texts differ only in numbers, so that they say the same at different times."""
    return one == other or _NUMBERS.sub("0", one) == _NUMBERS.sub("0", other)
