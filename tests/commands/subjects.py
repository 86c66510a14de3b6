"""Subjects of simulations, from a ScaledObject with one trigger."""

import json
from typing import Any

from scaler.commands.judging import Subject, subject_of
from scaler.keda.manifests import parse
from scaler.keda.scalable import ScaledObject


def subject(spec: dict[str, Any], metadata: dict[str, str], kind: str = "external") -> Subject:
    document = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            **spec,
            "scaleTargetRef": {"name": "worker"},
            "triggers": [{"type": kind, "name": "orders", "metadata": {"scalerAddress": "x:1", **metadata}}],
        },
    }
    (found,) = parse(json.dumps(document)).objects
    assert isinstance(found, ScaledObject)
    return subject_of(found, 0)
