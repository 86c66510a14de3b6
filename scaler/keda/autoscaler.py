"""KEDA and the HPA of one ScaledObject as one state machine, used by the stand-in and the simulator."""

from collections.abc import Sequence

from scaler.keda.arithmetic import Pods
from scaler.keda.executor import Executor, MetricResult, Outcome
from scaler.keda.formula import Formula
from scaler.keda.hpa import ControllerFlags, Decision, Hpa
from scaler.keda.scalable import ScaledObject

_PAUSED = "ScaledObjectPaused"


class Autoscaler:
    """The caller asks the scaler, and calls `poll`, `push` and `sync` at the times at which KEDA and the HPA would.

    `replicas` is `spec.replicas` of the workload; set it to scale by hand. Times are Unix seconds. The workload is
    assumed to have as many pods as it should, all of them ready, unless a call says otherwise.
    """

    def __init__(
        self,
        scaled_object: ScaledObject,
        created: float,
        replicas: int = 0,
        flags: ControllerFlags | None = None,
        formula: Formula | None = None,
    ) -> None:
        """Start with a ScaledObject created at `created`, for a workload with `replicas`.

        `formula` is that of its `scalingModifiers`, which are ignored without it.
        """
        self.replicas = replicas
        self.paused = False
        self._flags = flags or ControllerFlags()
        self._executor = Executor(scaled_object, created, formula)
        self._hpa = Hpa(scaled_object.hpa_spec(), self._flags)
        self._pause()

    @property
    def scaled_object(self) -> ScaledObject:
        """The ScaledObject; setting it is an edit, or a pause by annotation."""
        return self._executor.scaled_object

    @scaled_object.setter
    def scaled_object(self, scaled_object: ScaledObject) -> None:
        self._executor.scaled_object = scaled_object
        self._hpa.spec = scaled_object.hpa_spec()
        self._pause()

    def poll(self, now: float, results: Sequence[MetricResult], ready: int | None = None) -> Outcome:
        """Process the answers to KEDA's poll: one for each metric of every trigger, `NO_SPECS` for an unknown one."""
        if self.paused:
            return Outcome(self.replicas, active=False, reason=_PAUSED)
        return self._scaled(self._executor.poll(now, self._pods(None, ready), results))

    def push(self, now: float) -> Outcome:
        """Process a `true` of StreamIsActive."""
        if self.paused:
            return Outcome(self.replicas, active=False, reason=_PAUSED)
        return self._scaled(self._executor.push(now, self.replicas))

    def cached(self, name: str) -> MetricResult | None:
        """Return the result that a sync uses for the metric `name` without a call (`useCachedMetrics`)."""
        return self._executor.cached(name)

    def looks_at_metrics(self) -> bool:
        """Tell whether a sync would read metrics now."""
        return not self.paused and self._hpa.looks_at_metrics(self.replicas)

    def sync(
        self, now: float, results: Sequence[MetricResult], status_replicas: int | None = None, ready: int | None = None
    ) -> Decision:
        """Process the answers to an HPA sync; there are none if `looks_at_metrics` is False."""
        if self.paused:
            return Decision(self.replicas, scaling_active=_PAUSED)
        pods = self._pods(status_replicas, ready)
        decision = self._hpa.sync(now, pods, self._executor.for_hpa(pods, results))
        self.replicas = decision.desired
        return decision

    def _pods(self, status_replicas: int | None, ready: int | None) -> Pods:
        status_replicas = self.replicas if status_replicas is None else status_replicas
        return Pods(self.replicas, status_replicas, self.replicas if ready is None else ready)

    def _scaled(self, outcome: Outcome) -> Outcome:
        self.replicas = outcome.replicas
        return outcome

    def _pause(self) -> None:
        """Follow the pause annotations: a paused ScaledObject has no HPA, and gets a new one when it resumes."""
        if self.paused and not self.scaled_object.paused:
            self._hpa = Hpa(self.scaled_object.hpa_spec(), self._flags)
        self.paused = self.scaled_object.paused
        if self.scaled_object.paused_replicas is not None:
            self.replicas = self.scaled_object.paused_replicas
