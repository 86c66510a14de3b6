"""A limited collection in which one namespace cannot displace the items of others."""

from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")


class Shelves(Generic[Key, Item]):
    """Items by namespace, within each in the order in which they were added.

    When it is full, the oldest item of the namespace with the most items is removed.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._count = max(1, limit), 0
        self._shelves: dict[str, dict[Key, Item]] = {}

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """Return all items; the collection may change meanwhile."""
        return iter([item for shelf in self._shelves.values() for item in shelf.values()])

    def get(self, namespace: str, key: Key) -> Item | None:
        """Return the item, or None."""
        return self._shelves.get(namespace, {}).get(key)

    def of(self, namespace: str) -> list[Item]:
        """Return the items of one namespace."""
        return list(self._shelves.get(namespace, {}).values())

    def add(self, namespace: str, key: Key, item: Item) -> Item | None:
        """Add an item with a new key; return the item that was removed for it, or None."""
        gone = None
        if self._count >= self._limit:
            fullest = max(self._shelves, key=lambda each: len(self._shelves[each]))
            if len(self._shelves.get(namespace, ())) >= len(self._shelves[fullest]):
                fullest = namespace
            gone = self.drop(fullest, next(iter(self._shelves[fullest])))
        self._shelves.setdefault(namespace, {})[key] = item
        self._count += 1
        return gone

    def drop(self, namespace: str, key: Key) -> Item:
        """Remove and return an item."""
        shelf = self._shelves[namespace]
        item = shelf.pop(key)
        self._count -= 1
        if not shelf:
            del self._shelves[namespace]
        return item
