"""Plans the versions of a module that lrpath knows nothing of but what its user says of it."""

from collections.abc import Mapping
from typing import Any

from lrpath.planning.continuation import unite_where_data_agree
from lrpath.planning.lineage import content_id
from lrpath.planning.paradigms import Paradigm, Setting
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import Recipe
from lrpath.planning.streams import Increment
from lrpath.planning.units import parse_updates


def plan_module(
    name: str,
    *,
    describes: Mapping[str, Any],
    increments: Mapping[str, int],
    paradigms: Mapping[str, Paradigm],
    batch: int,
    seed: int,
) -> Plan:
    """Return the plan of a module's versions.

    Args:
        name: What the module is called; part of every path's id.
        describes: Whatever else determines its numbers (sizes, optimizer, data), as plain data that JSON can hold. Part
            of every path's id: a changed value makes other paths, for which no state of the old ones is loaded.
        increments: Updates of each version's data, in order of arrival.
        paradigms: Paradigms by label.
        batch: Samples of an update, over all ranks and micro-batches; a "token" of this plan is a sample. It cannot
            grow: your loader makes the batches.
        seed: Of the random numbers of every update.

    Raises:
        PlanError: If a paradigm cannot be planned.

    >>> from lrpath.planning.paradigms import Anchor, PathSwitching
    >>> from lrpath.planning.decay import Decay
    >>> from lrpath.planning.schedule import Shape
    >>> switching = PathSwitching(
    ...     peak=0.1, warmup=2, alpha=0.5, anchor=Anchor.END, decay=Decay(shape=Shape.LINEAR, floor=0.0)
    ... )
    >>> plan = plan_module(
    ...     "mine", describes={"width": 8}, increments={"v1": 8, "v2": 8}, paradigms={"switching": switching}, batch=4,
    ...     seed=1,
    ... )
    >>> [(path.name, path.start, plan.tree.end(path.id)) for path in plan.tree.paths]
    [('switching.main', 0, 12), ('switching.v1', 4, 8), ('switching.v2', 12, 16)]
    """
    described = {"module": name, "describes": dict(describes)}
    known = tuple(
        Increment(version=version, updates=updates, content=content_id([described, version]))
        for version, updates in increments.items()
    )
    recipe = Recipe(
        model=described,
        data={"tokenizer": None},
        optimizer=None,
        precision="fp32",  # of parameters; what the Trainer computes in stands in every state, and is compared
        seed=seed,
        sequences_per_update=batch,
        tokens_per_sequence=1,
        engine="lightning",
    )

    def parse(text: int | str, field: str) -> int:
        return parse_updates(text, tokens_per_update=batch, field=field)

    trees = [
        paradigm.plan(Setting(label=label, recipe=recipe, increments=known, parse=parse))
        for label, paradigm in paradigms.items()
    ]
    return Plan(
        increments=known,
        paradigms=dict(paradigms),
        tree=unite_where_data_agree(trees),
        model_name=name,
        parameters=None,
        flops_per_token=None,
        state_bytes=None,
        source="module",
    )
