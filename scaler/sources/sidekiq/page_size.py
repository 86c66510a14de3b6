"""How many entries one round trip asks for, when their size is not known beforehand."""

PAGE_BYTES = 1 << 20


class PageSize:
    """The number of entries to ask for next: small at first, then so many that an answer has about `page_bytes`."""

    GROWTH = 4

    def __init__(self, first: int, most: int, page_bytes: int = PAGE_BYTES) -> None:
        """Ask for `first` entries, and never for more than `most`, nor for more than about `page_bytes`."""
        self.entries = first
        self._most = most
        self._bytes = page_bytes
        self._largest = 1

    def learn(self, largest: int) -> None:
        """Take note that the largest entry of the last answer had `largest` bytes; the next may be as large."""
        self._largest = max(self._largest, largest)
        self.entries = max(1, min(self.entries * self.GROWTH, self._most, self._bytes // self._largest))
