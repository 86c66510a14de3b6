"""Manifests that are validated."""

from pathlib import Path

from scaler.commands.validate import validate

HEAD = """\
apiVersion: keda.sh/v1alpha1
kind: {kind}
metadata:
  name: orders
  namespace: shop
spec:
  {target}
  cooldownPeriod: 120
"""
TRIGGER = """\
  triggers:
    - type: external-push
      metadata:
        scalerAddress: keda-queue-scaler.keda:9090
        source: sqs
        queueURL: https://sqs.eu-west-1.amazonaws.com/123456789012/orders
"""
SCALED_OBJECT = HEAD.format(kind="ScaledObject", target="scaleTargetRef: {name: worker}")


def found(tmp_path: Path, text: str) -> list[str]:
    (tmp_path / "so.yaml").write_text(text)
    return [
        f"{finding.line}: {finding.key}: {finding.problem}"
        for finding in validate([str(tmp_path / "so.yaml")]).findings
    ]
