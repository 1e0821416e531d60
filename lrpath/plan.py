"""`python -m lrpath.plan +exp=…`: print the tree of paths, their rates and their cost; runs nothing, needs no torch."""

import json
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.measured_speed import measured_speed
from lrpath.assembly.project import Project
from lrpath.assembly.reuse import check_extends, read_reuse
from lrpath.config import schema
from lrpath.errors import MismatchError
from lrpath.planning.shape import ModelShape
from lrpath.reporting.plan_text import plan_json, plan_text


def plan(cfg: DictConfig) -> None:
    """Print the plan of a configuration, as text or JSON, and draw its rates if `figure` names a file."""
    project = Project(schema.load(cfg))
    refusal = _refusal(project)
    settings = project.config
    share = max(settings.batch.sequences_per_update // settings.cluster.count, 1)
    details: dict[str, Any] = {
        "cluster": settings.cluster,
        "shape": project.shape if isinstance(project.shape, ModelShape) else None,
        "micro_batch": settings.strategy.micro_batch or share,
        "recompute": settings.strategy.recompute,
        "speed": measured_speed(project.plan, outputs=Path(settings.outputs), study=settings.study),
    }
    if settings.format == "json":
        more = {
            "data": [facts.as_record() for facts in project.increment_facts()],
            "reuse": read_reuse(project).as_record() | {"refusal": refusal},
        }
        text = json.dumps(plan_json(project.plan, **details) | more, indent=1)
    else:
        refused = "" if refusal is None else f"\ntrain will refuse this plan: {refusal}"
        prepared = "".join(f"{facts.line()}\n" for facts in project.increment_facts())
        text = f"{plan_text(project.plan, **details)}\n\n{prepared}{read_reuse(project).text()}{refused}"
    sys.stdout.write(text + "\n")
    if settings.figure is not None:
        from lrpath.reporting.figures import plot_rates

        plot_rates(project.plan, Path(settings.figure))
        sys.stderr.write(f"drawn: {settings.figure}\n")


def _refusal(project: Project) -> str | None:
    """Return why `train` would refuse the plan by default; with extend=true, refuse it here.

    Looking at what another rate would cost in a study that has begun is no mistake.
    """
    try:
        check_extends(project)
    except MismatchError as error:
        if project.config.extend is True:
            raise
        return str(error)
    return None


if __name__ == "__main__":
    entry.run(plan, config_name="config")
