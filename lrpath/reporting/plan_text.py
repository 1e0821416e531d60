"""A plan for people and for programs: what will be trained, at which rates, and what it costs, before anything runs."""

from dataclasses import replace
from itertools import groupby
from typing import Any

from lrpath.analysis.measured_speed import MeasuredSpeed
from lrpath.planning.plain import as_plain
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import write_batch, write_seed
from lrpath.planning.shape import ModelShape
from lrpath.planning.units import write_count, write_span
from lrpath.reporting.domain_table import planned_domain_table
from lrpath.reporting.plan_tables import (
    Cluster,
    memory_table,
    path_table,
    planned_cost_table,
    rate_table,
    version_table,
)
from lrpath.reporting.tables import Column, ReportTable, write_flops, write_whole_number
from lrpath.reporting.tree_text import tree_text


def plan_text(
    plan: Plan,
    *,
    cluster: Cluster,
    shape: ModelShape | None = None,
    micro_batch: int = 1,
    recompute: bool = False,
    speed: MeasuredSpeed | None = None,
) -> str:
    """Return the plan as text: header, tree, rates, costs, and memory if the model's shape is given.

    Args:
        plan: The plan.
        cluster: Devices that hours and memory are reckoned for.
        shape: The model, for the memory; left out where only torch could count its parameters.
        micro_batch: Sequences of one rank in one forward pass, for the memory.
        recompute: Whether layers are computed again in the backward pass, for the memory.
        speed: What this machine was measured to do; None if it was not.

    Raises:
        ConfigError: If the cluster's device is unknown, or its count or MFU out of range.
    """
    tables = [_grouped(rate_table(plan)), planned_cost_table(plan, cluster=cluster, speed=speed), version_table(plan)]
    tables += [] if (domains := planned_domain_table(plan)) is None else [domains]
    if shape is not None and shape.parameters is not None:
        tables.append(memory_table(plan, shape=shape, cluster=cluster, micro_batch=micro_batch, recompute=recompute))
    return "\n\n".join([_header(plan), tree_text(plan), *(table.text() for table in tables)])


def plan_json(
    plan: Plan,
    *,
    cluster: Cluster,
    shape: ModelShape | None = None,
    micro_batch: int = 1,
    recompute: bool = False,
    speed: MeasuredSpeed | None = None,
) -> dict[str, Any]:
    """Return the figures of `plan_text` as plain data, one record a row.

    Raises:
        ConfigError: As `plan_text`.
    """
    recipe = plan.recipe
    figures: dict[str, Any] = {
        "plan": plan.id,
        "model": {
            "name": plan.model_name,
            "parameters": plan.parameters,
            "flops_per_token": plan.flops_per_token,
            "state_bytes": plan.state_bytes,
            **({} if plan.weights is None else {"weights": as_plain(plan.weights)}),
        },
        "seed": recipe.as_record()["seed"],
        "precision": recipe.precision,
        "tokens_per_update": recipe.tokens_between(0, 1),
        **({} if not recipe.growth else {"batch_growth": _growth_records(plan)}),
        "increments": _increment_table(plan).records(),
        "paths": path_table(plan).records(),
        "rates": rate_table(plan).records(),
        "cost": planned_cost_table(plan, cluster=cluster, speed=speed).records(),
        "cost_by_version": version_table(plan).records(),
        "cluster": {"device": cluster.device, "count": cluster.count, "mfu": cluster.mfu},
    }
    if (domains := planned_domain_table(plan)) is not None:
        figures["tokens_by_domain"] = domains.records()
    if shape is not None and shape.parameters is not None:
        figures["memory_per_rank"] = memory_table(
            plan, shape=shape, cluster=cluster, micro_batch=micro_batch, recompute=recompute
        ).records()
    return figures


def _header(plan: Plan) -> str:
    recipe = plan.recipe
    parameters = "an unknown count of" if plan.parameters is None else f"{plan.parameters:,}"
    flops = "" if plan.flops_per_token is None else f", {write_flops(plan.flops_per_token)} FLOP a token"
    lines = [
        f"plan {plan.id}",
        f"model       {plan.model_name}, {parameters} parameters{flops}, {recipe.precision}, {write_seed(recipe)}",
        f"batch       {write_batch(recipe)}" + (", attention within a document" if recipe.masks_documents else ""),
        f"increments  {_increments(plan)}",
    ]
    if plan.weights is not None:
        lines.insert(2, f"begins with {plan.weights.line()}")
    return "\n".join(lines)


def _growth_records(plan: Plan) -> list[dict[str, int]]:
    """Return where the batch grows, in updates and in tokens since the root, and to how many sequences."""
    return [
        {"position": position, "tokens": plan.recipe.tokens_before(position), "sequences_per_update": sequences}
        for position, sequences in plan.recipe.growth
    ]


def _increments(plan: Plan) -> str:
    """Write the increments in order; neighbours of one size become one entry."""
    texts = []
    sizes = groupby(plan.increments, key=lambda one: (one.updates, plan.increment_tokens(one)))
    for (updates, tokens), group in sizes:
        names = [increment.version for increment in group]
        each = " each" if len(names) > 1 else ""
        texts.append(f"{write_span(names)} {updates:,} updates ({write_count(tokens)} tokens){each}")
    return ", ".join(texts)


def _increment_table(plan: Plan) -> ReportTable:
    rows = [(part.version, part.updates, plan.increment_tokens(part)) for part in plan.increments]
    keys = ("version", "updates", "tokens")
    columns = tuple(Column(key=key, title=key, write=write_whole_number) for key in keys)
    return ReportTable(title="Increments", columns=columns, rows=tuple(rows))


def _grouped(table: ReportTable) -> ReportTable:
    """Return the table with neighbouring rows that read the same in all but their name made one row."""
    rows = []
    for _, group in groupby(zip(table.rows, table.cells(), strict=True), key=lambda pair: pair[1][1:]):
        same = [row for row, _ in group]
        name = str(same[0][0]) if len(same) == 1 else f"{same[0][0]} … {str(same[-1][0]).rpartition('.')[2]}"
        rows.append((name, *same[0][1:]))
    return replace(table, rows=tuple(rows))
