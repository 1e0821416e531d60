"""The plans that a study keeps, each read once in a process, however often it is asked for."""

import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from lrpath.errors import StateError
from lrpath.planning import plan as plans
from lrpath.planning.lineage import content_id
from lrpath.planning.paths import Path, StateKey
from lrpath.planning.plan import PLAN_FORMAT, Plan
from lrpath.planning.shared_paths import longer
from lrpath.records.file_memory import FileMemory
from lrpath.records.files import read_json


class KeptPlan:
    """A plan in its file."""

    def __init__(self, file: pathlib.Path) -> None:
        """Read the file.

        Raises:
            StateError: If it was altered: states that the plan needs could then be removed.
        """
        self.id = file.stem
        self.record: dict[str, Any] = read_json(file)
        if content_id(self.record) != self.id:
            raise StateError(f"{file} was altered: its content is not that of plan {self.id}; restore the file")

    @cached_property
    def plan(self) -> Plan:
        """The plan.

        Raises:
            PlanError: If it cannot be read.
        """
        return plans.from_record(self.record)

    @cached_property
    def plan_id(self) -> str:
        """Id that the plan has in the format of this version; its file may have been written in an earlier one."""
        return self.id if self.record.get("format") == PLAN_FORMAT else self.plan.id

    @cached_property
    def needed(self) -> frozenset[StateKey]:
        """States that it needs: forks and releases."""
        return _keys(self.record["states"])

    @cached_property
    def kept(self) -> frozenset[StateKey]:
        """States that are kept for it: those that it needs, and those where an increment ends."""
        return self.needed | _keys(self.record.get("increment_ends", []))


def _keys(listed: list[list[Any]]) -> frozenset[StateKey]:
    return frozenset(StateKey(path_id, position) for path_id, position in listed)


_PLANS = FileMemory(KeptPlan)


def read_kept_plans(folder: pathlib.Path) -> list[KeptPlan]:
    """Return the plans in a folder, oldest first.

    Raises:
        StateError: If one was altered.
    """
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name.endswith(".json") and entry.name[0] not in "!."]
    except (FileNotFoundError, NotADirectoryError):  # a file in place of a folder is refused where something is written
        return []
    oldest_first = sorted(entries, key=lambda entry: (entry.stat().st_mtime_ns, entry.name))
    return [_PLANS.get(folder / entry.name) for entry in oldest_first]


@dataclass(slots=True)
class _United:
    """The paths of some plans by id, and the ids of the plans, which are digests of them."""

    plans: list[str] = field(default_factory=list)
    paths: dict[str, Path] = field(default_factory=dict)


_UNITED: dict[pathlib.Path, _United] = {}


def united_paths(folder: pathlib.Path, kept: list[KeptPlan]) -> Mapping[str, Path]:
    """Return the paths of the plans in a folder by id, parents before children; of equal ones, the longest.

    The jobs of a sweep keep their plans one after another, and each goes on from all before it: what was united for one
    is remembered for the next.

    Args:
        folder: The folder.
        kept: What `read_kept_plans` has returned of it.

    Raises:
        PlanError: If two streams that begin alike go on differently, so that one path would have two meanings.
    """
    known = _UNITED.get(folder)
    if known is None or known.plans != [plan.id for plan in kept[: len(known.plans)]]:
        known = _United()
    for plan in kept[len(known.plans) :]:
        for path in plan.plan.tree.paths:
            known.paths[path.id] = longer(known.paths.get(path.id, path), path)
        known.plans.append(plan.id)
    _UNITED[folder] = known
    return MappingProxyType(known.paths)
