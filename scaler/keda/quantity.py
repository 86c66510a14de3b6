"""Numbers of KEDA and Kubernetes, which are in thousandths."""

import math
import re

_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([numkMGTPE]?)")


def milli(value: float) -> int:
    """Return `value` in thousandths, as the HPA gets it from KEDA.

    KEDA writes `%.3f`, and 0 for a negative, infinite or NaN value (pkg/scalers/scaler.go, GenerateMetricInMili). The
    HPA reads thousandths of 64 bits, and 0 for what does not fit (apimachinery, Quantity.MilliValue). So 1e16 becomes
    0.
    """
    if not 0 < value < math.inf:
        return 0
    thousandths = int(f"{value:.3f}".replace(".", ""))
    return thousandths if thousandths < 2**63 else 0


def parse_quantity(text: str) -> float:
    """Parse a decimal Kubernetes quantity (`0.1`, `100m`, `2k`); raises `ValueError` for anything else."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("must be a quantity such as 0.1 or 100m")
    return float(match[1]) * _SUFFIXES[match[2]]
