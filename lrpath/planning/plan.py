"""A plan: the tree of one configuration with what it costs, and its form on disk.

A study keeps every plan that was run in it. From these files alone, without torch, a report knows which paths and
releases belong together, and which states must never be removed.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from lrpath.errors import ConfigError, PlanError
from lrpath.planning import tree_record
from lrpath.planning.cost import Cost
from lrpath.planning.lineage import content_id
from lrpath.planning.paradigms import KINDS, Paradigm
from lrpath.planning.paths import Release, StateKey, Tree
from lrpath.planning.plain import as_plain, by_kind, typed
from lrpath.planning.recipe import Recipe
from lrpath.planning.running_cost import RunningCost
from lrpath.planning.starting_weights import StartingWeights
from lrpath.planning.streams import Increment, in_order

PLAN_FORMAT = 3
_READABLE = (1, 2, PLAN_FORMAT)
"""Format 1 is of before ids followed from content; format 2 repeats in every path what several of them read."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The paths and releases of one configuration.

    Args:
        increments: The data of each version, in order of arrival.
        paradigms: Paradigms by label, in the order in which they are compared.
        tree: All paths and releases; releases carry the labels.
        model_name: What the model is called in tables.
        parameters: Parameters of the model; None where only torch could count them.
        flops_per_token: Training cost of a token [FLOP]; None likewise.
        state_bytes: Size of a state on disk [bytes]; None likewise.
        source: Kind of the source that the text comes from, for people.
        weights: What root paths begin with; None where it is drawn from the seed.
    """

    increments: tuple[Increment, ...]
    paradigms: dict[str, Paradigm]
    tree: Tree
    model_name: str
    parameters: int | None
    flops_per_token: int | None
    state_bytes: int | None
    source: str = "text"
    weights: StartingWeights | None = None

    @cached_property
    def id(self) -> str:
        """Content id of the plan."""
        return content_id(self.as_record())

    @cached_property
    def versions(self) -> tuple[str, ...]:
        """Names of the versions, in order of arrival."""
        return tuple(increment.version for increment in self.increments)

    @property
    def not_prepared(self) -> tuple[str, ...]:
        """Versions whose tokens are not prepared, so that the ids of paths that read them are provisional."""
        return tuple(increment.version for increment in self.increments if increment.is_provisional)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is set and has no effect on this plan, as lines for people.

        It is not refused: such a plan may be the first of a study that a later one, with more versions, goes on from.
        """
        replays = {label: getattr(paradigm, "replay", 0) for label, paradigm in self.paradigms.items()}
        return tuple(
            f"note: {label} with replay={replay} replays nothing here: replay begins with the second version, and "
            f"{self.versions[0]} is the only one; raise versions, or give older text a share in data.mixture"
            for label, replay in replays.items()
            if replay and len(self.versions) == 1
        )

    @property
    def recipe(self) -> Recipe:
        """What all updates share, the optimizers of some paradigms apart."""
        return self.tree.paths[0].recipe

    def increment_tokens(self, increment: Increment) -> int:
        """Return the tokens that an increment of the plan is planned for, read once."""
        return increment.count_windows(sequences=self.recipe.sequences_per_update) * self.recipe.tokens_per_sequence

    def release(self, paradigm: str, version: str) -> Release:
        """Return a release.

        Raises:
            PlanError: If the plan has no such paradigm or version.
        """
        for release in self.tree.releases:
            if (release.paradigm, release.version) == (paradigm, version):
                return release
        known = ", ".join(f"{release.paradigm}/{release.version}" for release in self.tree.releases)
        raise PlanError(f"unknown release {paradigm}/{version}; the plan has {known}", value=f"{paradigm}/{version}")

    def extends(self, other: "Plan") -> bool:
        """Say whether every release of another plan is one of this plan: nothing of the other is then trained anew."""
        return set(other.tree.releases) <= set(self.tree.releases)

    def part(self, paradigm: str, *, versions: int | None = None) -> Tree:
        """Return the tree of one paradigm, for the first `versions` versions (all by default).

        Raises:
            PlanError: If the plan has no such paradigm.
        """
        wanted = set(self.versions[:versions])
        releases = tuple(
            release for release in self.tree.releases if release.paradigm == paradigm and release.version in wanted
        )
        if not releases:
            raise self._unknown_paradigm(paradigm)
        return self.tree.only(releases)

    def cost(self, tree: Tree) -> Cost:
        """Return what a tree of this plan costs when nothing of it is on disk."""
        return self._running_cost(tree).add(key for release in tree.releases for key, _ in release.parts)

    def _running_cost(self, tree: Tree) -> RunningCost:
        sizes = {part.version: self.increment_tokens(part) for part in self.increments}
        return RunningCost(tree, sizes=sizes, flops_per_token=self.flops_per_token, state_bytes=self.state_bytes)

    def costs(self, paradigm: str) -> tuple[Cost, ...]:
        """Return what the first versions of a paradigm cost, for every number of them from 1 on.

        Raises:
            PlanError: If the plan has no such paradigm.
        """
        if paradigm not in self._costs:
            raise self._unknown_paradigm(paradigm)
        return self._costs[paradigm]

    @cached_property
    def _costs(self) -> dict[str, tuple[Cost, ...]]:
        keys: dict[str, dict[str, list[StateKey]]] = {
            paradigm: {version: [] for version in self.versions} for paradigm in self.paradigms
        }
        for release in self.tree.releases:
            if release.paradigm in keys and release.version in keys[release.paradigm]:
                keys[release.paradigm][release.version] += [key for key, _ in release.parts]
        found = {}
        for paradigm, by_version in keys.items():
            running = self._running_cost(self.tree)
            found[paradigm] = tuple(running.add(its) for its in by_version.values())
        return found

    def updates_from_scratch(self, *, versions: int | None = None) -> int:
        """Return the updates that training each of the first versions from scratch takes."""
        return self._updates_from_scratch[:versions][-1]

    def tokens_from_scratch(self, *, versions: int | None = None) -> int:
        """Return the tokens that training each of the first versions from scratch takes, the unit of relative cost."""
        return self._tokens_from_scratch[:versions][-1]

    @cached_property
    def _updates_from_scratch(self) -> tuple[int, ...]:
        """Updates of training versions 1…i from scratch each, for every i."""
        return tuple(accumulate(accumulate(increment.updates for increment in self.increments)))

    @cached_property
    def _tokens_from_scratch(self) -> tuple[int, ...]:
        return tuple(accumulate(accumulate(self.increment_tokens(increment) for increment in self.increments)))

    def relative_cost(self, paradigm: str, *, versions: int | None = None) -> float:
        """Return a paradigm's tokens ÷ those of training the same versions from scratch.

        As long as the batch does not grow, that is its updates ÷ theirs.

        Raises:
            PlanError: If the plan has no such paradigm.
        """
        costs = self.costs(paradigm)[:versions]
        return costs[-1].tokens / self.tokens_from_scratch(versions=versions)

    def _unknown_paradigm(self, paradigm: str) -> PlanError:
        return PlanError(f"unknown paradigm {paradigm}; the plan has {', '.join(self.paradigms)}", value=paradigm)

    def as_record(self) -> dict[str, Any]:
        """Return the plan as plain data; `from_record` reads it back."""
        return {
            "format": PLAN_FORMAT,
            "increments": {
                increment.version: {
                    "updates": increment.updates,
                    "content": increment.content,
                    "held_out": increment.held_out,
                }
                | ({"mixture": dict(increment.mixture)} if increment.mixture else {})
                | ({} if increment.windows is None else {"windows": increment.windows})
                for increment in self.increments
            },
            "source": self.source,
            "paradigms": as_plain(self.paradigms),
            "model": {
                "name": self.model_name,
                "parameters": self.parameters,
                "flops_per_token": self.flops_per_token,
                "state_bytes": self.state_bytes,
                **({} if self.weights is None else {"weights": as_plain(self.weights)}),
            },
            "states": [[key.path_id, key.position] for key in self.tree.states()],
            "increment_ends": [
                [path.id, position] for path in self.tree.paths for position in self.tree.increment_ends(path.id)
            ],
            "tree": tree_record.as_record(self.tree),
        }


_LEFT_OUT: dict[str, dict[str, Any]] = {
    "continual": {"restart": "reset", "rewarm": None, "rewarm_peak": None, "replay": 0.0},
    "path_switching": {"anchor": "end"},
    "merged": {"shape": "linear"},
}
"""What earlier versions of lrpath had as defaults and did not write into a plan, by kind of paradigm."""


def _with_left_out(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a paradigm of a plan on disk, whole also if an earlier version wrote it."""
    whole = _LEFT_OUT.get(str(fields.get("kind")), {}) | fields
    return whole | ({"decay": {"floor": 0.0} | fields["decay"]} if "decay" in fields else {})


def from_record(record: dict[str, Any]) -> Plan:
    """Return the plan that `as_record` wrote.

    Raises:
        PlanError: If the record has another format or was altered.
    """
    try:
        if record.get("format") not in _READABLE:
            raise PlanError(f"the plan has format {record.get('format')}; this lrpath reads up to {PLAN_FORMAT}")
        model = record["model"]
        weights = model.get("weights")
        plan = Plan(
            increments=tuple(_increment(name, entry) for name, entry in record["increments"].items()),
            paradigms={
                label: by_kind(KINDS, _with_left_out(fields), place=f"paradigms.{label}")
                for label, fields in record["paradigms"].items()
            },
            tree=tree_record.from_record(record["tree"]),
            model_name=model["name"],
            parameters=model["parameters"],
            flops_per_token=model["flops_per_token"],
            state_bytes=model["state_bytes"],
            source=record.get("source", "text"),
            weights=typed(StartingWeights, weights, place="model.weights") if weights else None,
        )
        if {tuple(key) for key in record["states"]} != {(key.path_id, key.position) for key in plan.tree.states()}:
            raise PlanError("the plan's list of states does not fit its tree; restore the file from a copy")
    except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
        raise PlanError(f"the plan cannot be read ({error!r}); restore the file from a copy") from error
    return plan


def _increment(version: str, entry: int | dict[str, Any]) -> Increment:
    fields: dict[str, Any] = {"updates": entry} if isinstance(entry, int) else dict(entry)
    return Increment(version=version, mixture=in_order(fields.pop("mixture", {})), **fields)
