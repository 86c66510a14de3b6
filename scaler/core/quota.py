"""A limit of the configuration that no namespace can use up alone."""

from scaler.core.errors import LimitError


class Quota:
    """Counts what is in use, in total and for each namespace.

    A namespace may use `per_namespace`; without that, at most as much as remains free: one alone gets half, two get a
    third each, and there is always room for the next one (dynamic thresholds, Choudhury and Hahne 1998).
    """

    def __init__(self, limit: int, setting: str, per_namespace: int | None = None) -> None:
        """Allow `limit` in total; `setting` names the limit in messages."""
        self._limit, self._setting, self._per_namespace = limit, setting, per_namespace
        self._used: dict[str, int] = {}
        self.total = 0

    def take(self, namespace: str, amount: int = 1) -> None:
        """Count `amount` for `namespace`; raises `LimitError` that says which limit is reached."""
        if self.total + amount > self._limit:
            raise LimitError(f"the scaler has reached its limit of {self._limit} (setting {self._setting})")
        used = self._used.get(namespace, 0)
        share = self._limit - self.total if self._per_namespace is None else self._per_namespace
        if used + amount > share:
            raise LimitError(
                f"namespace {namespace} has reached its share, {used} of {self._limit} (setting {self._setting})"
            )
        self._used[namespace] = used + amount
        self.total += amount

    def give_back(self, namespace: str, amount: int = 1) -> None:
        """Undo `take`."""
        self._used[namespace] -= amount
        self.total -= amount
        if not self._used[namespace]:
            del self._used[namespace]
