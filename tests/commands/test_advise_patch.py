"""The patch of an advice applies, and touches nothing but the settings."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scaler.commands.advice.patch import diff, patched
from scaler.keda.behavior import Policy
from scaler.keda.manifests import parse as parse_manifests
from scaler.keda.scalable import ScaledObject

SAMPLES = Path(__file__).parents[2] / "samples"


def change(spec: ScaledObject) -> list[tuple[tuple[str | int, ...], Any]]:
    down = ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior", "scaleDown")
    return [
        (("spec", "cooldownPeriod"), 77),
        (("spec", "triggers", 0, "metadata", "queueLength"), "9"),
        (("spec", "triggers", 0, "type"), "external"),
        ((*down, "stabilizationWindowSeconds"), 60),
        ((*down, "policies"), [{"type": "Pods", "value": 3, "periodSeconds": 60}]),
    ]


FILES = [file for file in sorted(SAMPLES.glob("*.yaml")) if "kind: ScaledObject" in file.read_text()]
ODD = """\
# the first
apiVersion: keda.sh/v1alpha1
kind:   ScaledObject
metadata: {name: other, namespace: shop}
spec: {scaleTargetRef: {name: other}, triggers: [{type: cpu, metadata: {value: '60'}}]}
--- # the second
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
    name: orders     # four blanks
    namespace: shop
spec:
    scaleTargetRef:   {name: worker}
    pollingInterval: 10   # often
    triggers:
    - type: external
      metadata: {scalerAddress: 'x:1',   source: sqs, queueURL: "https://sqs.eu-west-1.amazonaws.com/1/orders"} # end
"""


@pytest.mark.parametrize("file", [*FILES, None], ids=lambda file: file.stem if file else "odd")
def test_the_patch_applies_and_touches_nothing_else(file: Path | None, tmp_path: Path) -> None:
    text = ODD if file is None else file.read_text()
    manifests = [each for each in parse_manifests(text).objects if isinstance(each, ScaledObject)]
    chosen = manifests[-1] if file is None else manifests[0]
    after = patched(text, chosen, change(chosen))
    (tmp_path / "k8s").mkdir()
    path = tmp_path / "k8s" / "so.yaml"
    path.write_text(text)
    applied = subprocess.run(
        ["git", "apply", "-"],
        cwd=tmp_path,
        input=diff(text, after, "k8s/so.yaml"),
        text=True,
        capture_output=True,
        check=False,
    )
    assert applied.returncode == 0, applied.stderr
    assert path.read_text() == after
    found = [each for each in parse_manifests(after).objects if isinstance(each, ScaledObject)]
    (changed,) = [each for each in found if (each.name, each.namespace) == (chosen.name, chosen.namespace)]
    behavior = changed.advanced.horizontal_pod_autoscaler_config.behavior
    assert behavior is not None
    assert behavior.scale_down.policies == (Policy("Pods", 3, 60),)
    assert (changed.cooldown_period, changed.triggers[0].type) == (77, "external")
    assert changed.triggers[0].metadata["queueLength"] == "9"
    comments = re.findall(r"#.*", text)
    assert re.findall(r"#.*", after) == comments
    lines = diff(text, after, "x").splitlines()
    assert sum(line.startswith("-") for line in lines) <= 7
