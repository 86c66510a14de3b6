"""`python -m tools` writes everything that is generated; with `--check` it only tells what is out of date, and fails."""

import difflib
import sys
from collections.abc import Callable
from pathlib import Path

from tools import (
    admission_policy,
    artifact_hub,
    chart_readme,
    chart_schema,
    configuration_docs,
    dashboard,
    metadata_docs,
    top_docs,
    tuning_docs,
)

ROOT = Path(__file__).parent.parent
CHART = "charts/keda-queue-scaler"
GENERATED: dict[str, Callable[[], str]] = {
    "docs/metadata.md": metadata_docs.render,
    "docs/configuration.md": configuration_docs.render,
    "docs/simulate.md": tuning_docs.render_simulate,
    "docs/top.md": top_docs.render,
    "docs/tuning.md": tuning_docs.render,
    **tuning_docs.images(),
    "artifacthub/keda-queue-scaler/artifacthub-pkg.yml": artifact_hub.package,
    f"{CHART}/Chart.yaml": artifact_hub.chart,
    f"{CHART}/files/admission-policy.yaml": admission_policy.render,
    f"{CHART}/files/dashboard.json": dashboard.render,
    f"{CHART}/values.schema.json": lambda: chart_schema.render((ROOT / CHART / "values.yaml").read_text()),
    f"{CHART}/README.md": lambda: chart_readme.render((ROOT / CHART / "values.yaml").read_text()),
}


def main() -> int:
    """Write or check every file; return the exit code."""
    check = "--check" in sys.argv[1:]
    stale = False
    for name, render in GENERATED.items():
        path, wanted = ROOT / name, render()
        present = path.read_text() if path.exists() else ""
        if present == wanted:
            continue
        stale = True
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(present.splitlines(True), wanted.splitlines(True), name, "python -m tools")
            )
        else:
            path.write_text(wanted)
            sys.stdout.write(f"wrote {name}\n")
    return int(stale and check)


if __name__ == "__main__":
    sys.exit(main())
