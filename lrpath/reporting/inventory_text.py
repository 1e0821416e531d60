"""Writes what a study holds on disk as text: plans, paths as a tree, states, and what could be removed."""

from collections.abc import Sequence

from lrpath.analysis.inventory import Inventory, PathOnDisk, StateOnDisk, Use
from lrpath.planning.units import write_bytes

_USES = {Use.NEEDED: "", Use.RESUME: "to go on from", Use.NONE: "not needed"}


def inventory_text(inventory: Inventory) -> str:
    """Return the whole of a study: its plans, its paths with their states, what is missing and what nobody needs."""
    states = [state for path in inventory.paths for state in path.states]
    total = write_bytes(sum(path.size for path in inventory.paths))
    lines = [
        f"{inventory.study.folder}: {_count(len(inventory.plans), 'plan')}, {_count(len(inventory.paths), 'path')}, "
        f"{_count(len(states), 'state')}, {total}",
        "",
        *(
            f"plan {number}  {plan_id}  {', '.join(paradigms)}"
            for number, (plan_id, paradigms) in enumerate(inventory.plans.items(), start=1)
        ),
        "",
        *_tree_lines(inventory.paths),
        "",
    ]
    if inventory.missing:
        lines.append(f"{_count(len(inventory.missing), 'state')} that the plans need not made yet: run lrpath.train")
    return "\n".join([*lines, removal_text(inventory)])


def removal_text(inventory: Inventory) -> str:
    """Return what could be removed, path by path."""
    paths = [path for path in inventory.paths if path.removable or path.incomplete]
    if not paths:
        return "nothing could be removed: every state is needed by a plan, or to go on from"
    size = write_bytes(sum(state.size for path in paths for state in path.removable))
    return "\n".join(
        [f"{size} could be removed by python -m lrpath.prune study={inventory.study.name}:", *map(_removal, paths)]
    )


def _removal(path: PathOnDisk) -> str:
    parts = []
    if path.removable:
        positions = ", ".join(f"{state.key.position:,}" for state in path.removable)
        parts.append(f"{'states' if len(path.removable) > 1 else 'the state'} at {positions}")
    if path.incomplete:
        parts.append(f"incomplete files that a killed run left: {', '.join(folder.name for folder in path.incomplete)}")
    return f"  {path.name}: {'; '.join(parts)}"


def _tree_lines(paths: Sequence[PathOnDisk]) -> list[str]:
    held = {path.folder.path_id for path in paths}
    roots = [path for path in paths if _parent(path) not in held]
    rows = [row for root in roots for row in _rows(root, paths, depth=0)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    return [_line(row, widths) for row in rows]


def _parent(path: PathOnDisk) -> str | None:
    return None if path.path is None or path.path.parent is None else path.path.parent.path_id


InventoryLine = tuple[str, str, str, str, str]
"""Name or position, id or digest, extent, size, use."""


def _line(row: InventoryLine, widths: list[int]) -> str:
    name, identity, extent, size, use = row
    cells = (name.ljust(widths[0]), identity.ljust(widths[1]), extent.ljust(widths[2]), size.rjust(widths[3]), use)
    return "  ".join(cells).rstrip()


def _rows(path: PathOnDisk, paths: Sequence[PathOnDisk], *, depth: int) -> list[InventoryLine]:
    lead = "   " * depth
    begin = 0 if path.path is None else path.path.start
    reached = max((state.key.position for state in path.states), default=begin)
    goal = "" if path.end in (None, reached) else f" of {path.end:,}"
    extent = "of no plan" if path.path is None else f"{begin:,} → {reached:,}{goal}"
    rows: list[InventoryLine] = [(lead + path.name, path.folder.path_id, extent, write_bytes(path.size), "")]
    rows += [_state_row(state, lead=lead) for state in path.states]
    for child in paths:
        if _parent(child) == path.folder.path_id:
            rows += _rows(child, paths, depth=depth + 1)
    return rows


def _state_row(state: StateOnDisk, *, lead: str) -> InventoryLine:
    digest = state.digest[:12] or "manifest unreadable"
    use = ", ".join(state.users) or _USES[state.use]
    return f"{lead}  at {state.key.position:,}", digest, "", write_bytes(state.size), use


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
