"""A course of readings, and what is told of each."""

from dataclasses import dataclass, field

from scaler.answers.settling import NEVER, Evidence, Rule, Settling, settle
from scaler.core.domain import Assessment, Metric, MetricSpec
from scaler.core.errors import Unsettled

RULE = Rule(settle_seconds=20.0, stale_seconds=60.0, hold_seconds=600.0)
SPECS = (MetricSpec("jobs", 5),)


@dataclass
class Course:
    """What a process remembers, and what it tells at each reading; a value of None is an answer that was refused."""

    settling: Settling = field(default_factory=Settling)
    rule: Rule = RULE

    def __call__(
        self, taken: float, value: float, trouble_at: float = NEVER, *, active: bool | None = None
    ) -> tuple[float, bool] | None:
        raw = Assessment((Metric("jobs", value),), value > 0 if active is None else active, ("read",))
        try:
            self.settling, told = settle(self.settling, raw, Evidence(taken, trouble_at), self.rule)
        except Unsettled:
            return None
        assert told.metrics[0].value >= value, "no metric is told lower than it is"
        assert told.active or not raw.active, "active is never hidden"
        return told.metrics[0].value, told.active
