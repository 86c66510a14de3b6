"""A short manifest, and what is made of it and told about it."""

from typing import Any

from scaler.keda.manifests import parse

SHORT = """\
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: shop
spec:
  scaleTargetRef:
    name: shop-worker
  triggers:
    - type: external
      metadata:
        scalerAddress: scaler:9090
        queueLength: "5"
"""


def parsed(text: str) -> Any:
    manifests = parse(text, "f.yaml")
    assert manifests.findings == ()
    (found,) = manifests.objects
    return found


def problems(text: str) -> list[str]:
    return [str(finding) for finding in parse(text, "f.yaml").findings]


JOB = SHORT.replace("kind: ScaledObject", "kind: ScaledJob").replace(
    "  scaleTargetRef:\n    name: shop-worker\n", "  jobTargetRef: {template: {}}\n"
)
