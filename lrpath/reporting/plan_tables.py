"""A plan in numbers, as tables: rates at key positions, costs, costs version by version, memory."""

from collections.abc import Iterator
from typing import Any, Protocol, cast

from lrpath.analysis.measured_speed import MeasuredSpeed
from lrpath.planning.cost import DEVICES, Compute, Cost, Strategy, device_hours, memory_per_rank, wall_hours
from lrpath.planning.paths import Path, Tree
from lrpath.planning.plan import Plan
from lrpath.planning.readings import Readings
from lrpath.planning.shape import ModelShape
from lrpath.planning.units import write_bytes, write_count, write_time
from lrpath.reporting.tables import Align, Column, ReportTable, write_fixed, write_flops, write_whole_number
from lrpath.reporting.tree_text import peak_rate, pieces_run, write_rate


class Cluster(Protocol):
    """What device-hours and memory are reckoned for."""

    @property
    def device(self) -> str:
        """Name in `lrpath.planning.cost.DEVICES`."""

    @property
    def count(self) -> int:
        """Number of devices."""

    @property
    def mfu(self) -> float:
        """Share of the peak FLOP/s that is reached, in `(0, 1]`."""


def _text(key: str, title: str) -> Column:
    return Column(key=key, title=title, align=Align.LEFT)


def _rate(key: str, title: str) -> Column:
    return Column(key=key, title=title, write=write_rate)


def path_table(plan: Plan) -> ReportTable:
    """Return every path of the plan once: where it runs, its rates, and what it reads of the increments [updates]."""
    sizes = {increment.version: increment.updates for increment in plan.increments}
    readings, by_path, rows = Readings(plan.tree), _released_by_path(plan), []
    for path in plan.tree.paths:
        end, found = plan.tree.end(path.id), readings.of_path(path)
        first = {version: float(one.first * sizes[version]) for version, one in found.items()}
        again = {version: float(one.again * sizes[version]) for version, one in found.items() if one.again}
        parent = None if path.parent is None else plan.tree.path(path.parent.path_id).name
        released = by_path.get(path.id, [])
        rates = (peak_rate(path, end=end), path.schedule.rate(end - 1))
        rows.append((path.name, path.id, parent, path.start, end, *rates, first, again, released))
    keys = ("path", "id", "parent", "start", "end", "peak", "last", "updates_first", "updates_again", "releases")
    return ReportTable(title="Paths", columns=tuple(_text(key, key) for key in keys), rows=tuple(rows))


def _released_by_path(plan: Plan) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in plan.tree.releases:
        found.setdefault(one.last.path_id, []).append(f"{one.paradigm}/{one.version}")
    return found


def rate_table(plan: Plan) -> ReportTable:
    """Return the rates of every path at its key positions; None where a path has no such position.

    The decay is what follows the last update at the path's peak; its quarters are counted in updates.
    """
    rows = tuple((path.name, *_key_rates(plan.tree, path)) for path in plan.tree.paths)
    return ReportTable(
        title="Learning rate of the update that …",
        columns=(
            _text("path", "path"),
            _rate("before_fork", "precedes the fork"),
            _rate("first", "comes first"),
            _rate("warmup_end", "ends warm-up"),
            _rate("decay_quarter", "¼ of decay"),
            _rate("decay_half", "½"),
            _rate("decay_three_quarters", "¾"),
            _rate("last", "comes last"),
        ),
        rows=rows,
    )


def _key_rates(tree: Tree, path: Path) -> Iterator[float | None]:
    end, rate = tree.end(path.id), path.schedule.rate
    yield None if path.parent is None else tree.rate(path.parent.path_id, path.start - 1)
    yield rate(path.start)
    peak = peak_rate(path, end=end)
    ends = [(piece, begin + (piece.updates or end - begin)) for piece, begin in pieces_run(path, end=end)]
    rises = [stop for piece, stop in ends if piece.first < piece.last and stop <= end]
    yield rate(rises[0] - 1) if rises else None
    decay = max([stop for piece, stop in ends if piece.last == peak], default=path.start)
    for quarter in (1, 2, 3):
        position = decay + quarter * (end - decay) // 4
        yield rate(position - 1) if decay < position < end else None
    yield rate(end - 1)


def planned_cost_table(plan: Plan, *, cluster: Cluster, speed: MeasuredSpeed | None = None) -> ReportTable:
    """Return what each paradigm costs alone, and all of them together, shared paths counted once.

    Args:
        plan: The plan.
        cluster: Devices that hours are reckoned for.
        speed: What this machine was measured to do, which then has a column of its own.

    Raises:
        ConfigError: If the cluster's device is unknown, or its count or MFU out of range.
    """
    rows = [
        (paradigm, *_cost_cells(plan.costs(paradigm)[-1], cluster, speed), plan.relative_cost(paradigm))
        for paradigm in plan.paradigms
    ]
    notes = [f"Hours at {cluster.mfu:.0%} of the peak FLOP/s. Read again: by a path of the paradigm, not by the first."]
    notes.append("On disk: states that are kept. While paths are run, there are rolling states too, to restart from.")
    if len(rows) > 1:
        notes.append("Together: paths that paradigms share are trained once.")
        together = plan.cost(plan.tree)
        rows.append(("together", *_cost_cells(together, cluster, speed), together.tokens / plan.tokens_from_scratch()))
    if speed is not None:
        devices = f"{speed.ranks} process{'' if speed.ranks == 1 else 'es'} on {speed.device}"
        notes.append(
            f"This machine: {speed.tokens_per_second:,.0f} tokens/s, measured over {speed.updates:,} updates of study "
            f"{speed.study} with {devices}."
        )
    hours = f"{cluster.count} × {cluster.device}"
    return ReportTable(
        title="Cost",
        columns=(
            _text("paradigm", "paradigm"),
            Column(key="updates", title="updates", write=write_whole_number),
            Column(key="tokens", title="tokens", write=write_count),
            Column(key="tokens_first", title="read first", unit="tokens", write=write_count),
            Column(key="tokens_again", title="read again", unit="tokens", write=write_count),
            Column(key="flops", title="compute", unit="FLOP", write=write_flops),
            Column(key="states", title="states", write=write_whole_number),
            Column(key="state_bytes", title="on disk", write=write_bytes),
            *([Column(key="measured_seconds", title="this machine", write=write_time)] if speed is not None else []),
            Column(key="device_hours", title=cluster.device, unit="hours", write=write_hours),
            Column(key="wall_hours", title=hours, unit="hours", write=write_hours),
            Column(key="relative_cost", title="cost", unit="× scratch", write=write_fixed(2)),
        ),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def write_hours(hours: float) -> str:
    """Write hours with a decimal, and fewer than a tenth with two digits.

    >>> write_hours(1234.56), write_hours(0.00042), write_hours(0.0)
    ('1,234.6', '0.00042', '0')
    """
    return f"{hours:,.1f}" if hours >= 0.1 else f"{hours:.2g}"


def _cost_cells(cost: Cost, cluster: Cluster, speed: MeasuredSpeed | None) -> tuple[Any, ...]:
    hours: tuple[float | None, float | None] = (None, None)
    if cost.flops is not None:
        one = device_hours(cost.flops, device=cluster.device, mfu=cluster.mfu)
        hours = (one, wall_hours(cost.flops, device=cluster.device, mfu=cluster.mfu, count=cluster.count))
    again = cost.tokens - cost.tokens_first
    here = () if speed is None else (cost.tokens / speed.tokens_per_second,)
    kept = (cost.states, cost.state_bytes)
    return (cost.updates, cost.tokens, cost.tokens_first, again, cost.flops, *kept, *here, *hours)


def version_table(plan: Plan) -> ReportTable:
    """Return the cost of versions 1…i, relative to training each of them from scratch, for every i and paradigm.

    What 1.00 means is said in updates, or in tokens where the batch grows and updates are not worth the same.
    """
    unit, from_scratch = ("updates", plan.updates_from_scratch)
    if plan.recipe.batch.grows_before(sum(one.updates for one in plan.increments)):
        unit, from_scratch = ("tokens", plan.tokens_from_scratch)
    rows = [
        (
            version,
            from_scratch(versions=number),
            *(plan.relative_cost(paradigm, versions=number) for paradigm in plan.paradigms),
        )
        for number, version in enumerate(plan.versions, start=1)
    ]
    return ReportTable(
        title="Cost of all versions up to this one",
        columns=(
            _text("version", "up to"),
            Column(key=f"{unit}_from_scratch", title="1.00 means", unit=unit, write=write_whole_number),
            *(Column(key=name, title=name, unit="× scratch", write=write_fixed(2)) for name in plan.paradigms),
        ),
        rows=tuple(rows),
    )


def memory_table(
    plan: Plan, *, shape: ModelShape, cluster: Cluster, micro_batch: int, recompute: bool = False
) -> ReportTable:
    """Return the estimated peak memory of one rank, by strategy and use.

    Args:
        plan: Gives window length and precision.
        shape: The model; its count of parameters must be known.
        cluster: Gives the device and the number of ranks.
        micro_batch: Sequences of one rank in one forward pass; activations grow with it.
        recompute: Whether layers are computed again in the backward pass, so that they keep their inputs only.

    Raises:
        ConfigError: If the count of parameters is not known or the device is not in the table.
    """
    recipe, ranks = plan.tree.paths[0].recipe, cluster.count
    strategies: tuple[Strategy, ...] = ("ddp", "fsdp") if ranks > 1 else ("single",)
    rows = []
    for strategy in strategies:
        memory = memory_per_rank(
            shape,
            strategy=strategy,
            ranks=ranks,
            micro_batch=micro_batch,
            sequence_length=recipe.tokens_per_sequence,
            optimizer=recipe.optimizer,
            compute=cast(Compute, recipe.precision),
            activation_checkpointing=recompute,
        )
        uses = (memory.parameters, memory.gradients, memory.optimizer, memory.buffers, memory.activations)
        rows.append((strategy, ranks, *uses, memory.total, memory.total / DEVICES[cluster.device].memory_bytes))
    uses_names = ("parameters", "gradients", "optimizer", "buffers", "activations", "total")
    return ReportTable(
        title=f"Estimated memory of one rank, micro-batches of {micro_batch} × {recipe.tokens_per_sequence:,} tokens"
        + (", layers recomputed" if recompute else ""),
        columns=(
            _text("strategy", "strategy"),
            Column(key="ranks", title="ranks"),
            *(Column(key=f"{name}_bytes", title=name, write=write_bytes) for name in uses_names),
            Column(key="share_of_device", title=f"of {cluster.device}", write="{:.0%}".format),
        ),
        rows=tuple(rows),
    )
