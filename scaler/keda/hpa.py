"""The HorizontalPodAutoscaler (autoscaling/v2) for external metrics, as a state machine without I/O."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scaler.keda.arithmetic import Metric, Pods, Tolerances, propose
from scaler.keda.behavior import Behavior, ScaleEvents

MESSAGES = {
    "FailedGetExternalMetric": "a metric could not be read",
    "ReadyForNewScale": "",
    "ScaleDownLimit": "the behavior's policies allow no faster scale-down",
    "ScaleDownStabilized": "a recent recommendation was higher",
    "ScaleUpLimit": "it may not grow faster",
    "ScaledObjectPaused": "paused by annotation: KEDA has deleted the HPA",
    "ScaleUpStabilized": "a recent recommendation was lower",
    "ScalingDisabled": "an HPA does nothing at 0 replicas; KEDA alone leaves 0",
    "TooFewReplicas": "fewer than the minimum",
    "TooManyReplicas": "more than the maximum",
}
"""The meaning of the reasons in a `Decision`."""


@dataclass(frozen=True, slots=True)
class ControllerFlags:
    """The flags of kube-controller-manager that an HPA depends on, with their defaults."""

    sync_period_seconds: float = 15
    downscale_stabilization_seconds: float = 300
    tolerance: float = 0.1


@dataclass(frozen=True, slots=True)
class HpaSpec:
    """The HPA object without its metrics."""

    min_replicas: int = 1
    max_replicas: int = 100
    behavior: Behavior | None = None


class Decision(NamedTuple):
    """The result of a sync. The reasons are those of the HPA's conditions; "" if the sync did not set the condition."""

    desired: int  # what spec.replicas becomes
    proposal: int | None = None  # from the metrics alone; None if they were not read or not readable
    stabilized: int | None = None  # the proposal after the stabilization windows
    reason: str = ""  # for scaling; "" without a change
    able_to_scale: str = "SucceededGetScale"
    scaling_active: str = ""
    scaling_limited: str = ""

    def steps(self) -> tuple[str, ...]:
        """Return the steps from the metrics to `desired`, as lines for people."""
        if self.proposal is None or self.stabilized is None:
            return (self.reason or MESSAGES[self.scaling_active],)
        lines = [f"the metrics ask for {self.proposal}"]
        if self.stabilized != self.proposal:
            windowed = "ScaleDownStabilized" if self.stabilized > self.proposal else "ScaleUpStabilized"
            lines.append(f"{windowed}: {self.stabilized}, {MESSAGES[windowed]}")
        if self.desired != self.stabilized:
            lines.append(f"{self.scaling_limited}: {self.desired}, {MESSAGES[self.scaling_limited]}")
        return tuple(lines)


@dataclass(slots=True)
class Hpa:
    """One HPA with its state; an HPA that is created again needs a new object. Times are in seconds of any one clock.

    The algorithm is that of Kubernetes' pkg/controller/podautoscaler/horizontal.go. A real sync comes some milliseconds
    later than one period after the last, so here an age that equals a window is outside of it.
    """

    spec: HpaSpec
    flags: ControllerFlags = field(default_factory=ControllerFlags)
    _recommendations: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    _synced: bool = field(default=False, init=False)
    _events: ScaleEvents = field(default_factory=ScaleEvents, init=False)

    def looks_at_metrics(self, replicas: int) -> bool:
        """Tell whether a sync at `replicas` reads metrics: not at 0, and not outside of the bounds."""
        return replicas > 0 and self.spec.min_replicas <= replicas <= self.spec.max_replicas

    def sync(self, now: float, pods: Pods, metrics: Sequence[Metric]) -> Decision:
        """Do one sync, and assume that its decision is carried out."""
        replicas = pods.replicas
        if not self._synced:  # the first recommendation of a new HPA is the current number, even 0
            self._recommend(now, replicas)
            self._synced = True
        if replicas == 0:
            return Decision(0, scaling_active="ScalingDisabled")
        if self.looks_at_metrics(replicas):
            decision = self._from_metrics(now, pods, metrics)
        elif replicas > self.spec.max_replicas:
            decision = Decision(self.spec.max_replicas, reason="Current number of replicas above Spec.MaxReplicas")
        else:
            decision = Decision(self.spec.min_replicas, reason="Current number of replicas below Spec.MinReplicas")
        if decision.desired == replicas:
            return decision
        if self.spec.behavior is not None:
            self._events.record(now, replicas, decision.desired, self.spec.behavior)
        return decision._replace(able_to_scale="SucceededRescale")

    def tolerances(self) -> Tolerances:
        """Return the tolerances: those of `behavior`, or of the controller's flag."""
        behavior, flag = self.spec.behavior, self.flags.tolerance
        if behavior is None:
            return Tolerances(flag, flag)
        down, up = behavior.scale_down.tolerance, behavior.scale_up.tolerance
        return Tolerances(flag if down is None else down, flag if up is None else up)

    def _from_metrics(self, now: float, pods: Pods, metrics: Sequence[Metric]) -> Decision:
        """Use the largest proposal; if a metric is missing, only unless it scales down."""
        tolerances = self.tolerances()
        proposal, name, missing = 0, "", not metrics
        for metric in metrics:
            if metric.value is None:
                missing = True
                continue
            asked = propose(metric, metric.value, pods, tolerances)
            if asked > proposal or not proposal:
                proposal, name = asked, metric.name
        if missing and proposal < pods.replicas:
            return Decision(pods.replicas, scaling_active="FailedGetExternalMetric")
        window, stabilized = self._stabilize(now, pods.replicas, proposal)
        self._recommend(now, proposal)
        limited, desired = self._limit(now, pods.replicas, stabilized)
        reason = ""
        if pods.replicas not in (desired, proposal):
            reason = f"{name} above target" if proposal > pods.replicas else "All metrics below target"
        return Decision(desired, proposal, stabilized, reason, window, "ValidMetricFound", limited)

    def _recommend(self, now: float, count: int) -> None:
        """Remember a recommendation; of equal ones in a row only the latest, because it leaves every window last."""
        recent = self._recommendations
        if recent and recent[-1][1] == count:
            recent.pop()
        recent.append((now, count))

    def _stabilize(self, now: float, replicas: int, proposal: int) -> tuple[str, int]:
        """Limit the proposal by the recommendations of the windows; return AbleToScale's reason and the result."""
        behavior = self.spec.behavior
        down_window, up_window = self.flags.downscale_stabilization_seconds, 0.0
        if behavior is not None:
            up_window = behavior.scale_up.stabilization_window_seconds or 0.0
            if behavior.scale_down.stabilization_window_seconds is not None:
                down_window = behavior.scale_down.stabilization_window_seconds
        recent = self._recommendations
        while recent and recent[0][0] <= now - max(up_window, down_window):
            recent.popleft()
        highest = max((count for at, count in recent if at > now - down_window), default=proposal)
        if behavior is None:
            stabilized = max(proposal, highest)
        else:
            lowest = min((count for at, count in recent if at > now - up_window), default=proposal)
            stabilized = min(max(replicas, min(proposal, lowest)), max(proposal, highest))
        if stabilized == proposal:
            return "ReadyForNewScale", stabilized
        growing = behavior is not None and proposal >= replicas
        return "ScaleUpStabilized" if growing else "ScaleDownStabilized", stabilized

    def _limit(self, now: float, replicas: int, wanted: int) -> tuple[str, int]:
        """Apply the bounds and the rate limits; return ScalingLimited's reason and the result.

        Without `behavior` an HPA may double its replicas in a sync, or go up to 4; with it, the policies are the limit.
        """
        behavior, least, most = self.spec.behavior, self.spec.min_replicas, self.spec.max_replicas
        too_many, too_few = "TooManyReplicas", "TooFewReplicas"
        fastest = slowest = None
        if behavior is None:
            fastest = max(2 * replicas, 4)
        elif wanted > replicas:
            fastest = max(replicas, self._events.up_limit(now, replicas, behavior.scale_up))
        elif wanted < replicas:
            slowest = min(replicas, self._events.down_limit(now, replicas, behavior.scale_down))
        if fastest is not None and fastest < most:
            most, too_many = fastest, "ScaleUpLimit"
        if slowest is not None and slowest > least:
            least, too_few = slowest, "ScaleDownLimit"
        if wanted < least:
            return too_few, least
        if wanted > most:
            return too_many, most
        return "DesiredWithinRange", wanted
