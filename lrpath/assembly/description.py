"""Writes the plan of a project for people, or as JSON: its tree, rates and cost, its data, and what it reuses."""

import json
from pathlib import Path
from typing import Any

from lrpath.analysis.measured_speed import measured_speed
from lrpath.assembly.project import Project
from lrpath.assembly.reuse import check_extends, read_reuse
from lrpath.errors import MismatchError
from lrpath.planning.shape import ModelShape
from lrpath.reporting.plan_text import plan_json, plan_text
from lrpath.reporting.trainer_paths import FORMAT, trainer_paths


def describe(project: Project) -> str:
    """Return the plan of a project in the format that its configuration says.

    Raises:
        LrpathError: If there is no plan, or with `extend=true` if it trains an old version anew.
    """
    refusal = _refusal(project)
    settings = project.config
    share = max(settings.batch.sizes.sizes[-1] // settings.cluster.count, 1)
    details: dict[str, Any] = {
        "cluster": settings.cluster,
        "shape": project.shape if isinstance(project.shape, ModelShape) else None,
        "micro_batch": settings.strategy.micro_batch or share,
        "recompute": settings.strategy.recompute,
        "speed": measured_speed(project.plan, outputs=project.study_folder.parent, study=settings.study),
    }
    if settings.format == "json":
        more = {
            "tree": trainer_paths(project.plan, rates=None if settings.rates is None else Path(settings.rates)),
            "data": [facts.as_record() for facts in project.increment_facts()],
            "reuse": read_reuse(project).as_record() | {"refusal": refusal},
            "notes": list(project.plan.notes),
        }
        return json.dumps({"format": FORMAT} | plan_json(project.plan, **details) | more, indent=1)
    refused = "" if refusal is None else f"\ntrain will refuse this plan: {refusal}"
    prepared = "".join(f"{facts.line()}\n" for facts in project.increment_facts())
    noted = "".join(f"{note}\n" for note in project.plan.notes)
    return f"{plan_text(project.plan, **details)}\n\n{prepared}{noted}{read_reuse(project).text()}{refused}"


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
