"""A plan: the tree of one configuration with what it costs, and its form on disk.

A study keeps every plan that was run in it. From these files alone, without torch, a report knows which paths and
releases belong together, and which states must never be removed.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Any

from lrpath.errors import ConfigError, PlanError
from lrpath.planning import paths
from lrpath.planning.cost import Cost
from lrpath.planning.lineage import content_id
from lrpath.planning.paradigms import KINDS, Paradigm
from lrpath.planning.paths import Release, StateKey, Tree
from lrpath.planning.plain import as_plain, by_kind, typed
from lrpath.planning.readings import Readings
from lrpath.planning.starting_weights import StartingWeights
from lrpath.planning.streams import Increment, in_order

PLAN_FORMAT = 2
_READABLE = (1, PLAN_FORMAT)
"""Format 1 is of plans that were kept before ids followed from content."""


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

    @property
    def versions(self) -> tuple[str, ...]:
        """Names of the versions, in order of arrival."""
        return tuple(increment.version for increment in self.increments)

    @property
    def not_prepared(self) -> tuple[str, ...]:
        """Versions whose tokens are not prepared, so that the ids of paths that read them are provisional."""
        return tuple(increment.version for increment in self.increments if increment.is_provisional)

    @property
    def tokens_per_update(self) -> int:
        """Global batch [tokens]."""
        return self.tree.paths[0].recipe.tokens_per_update

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
        updates = sum(tree.updates(path.id) for path in tree.paths)
        states = sum(1 for _ in tree.kept_states())
        tokens = updates * self.tokens_per_update
        flops, size = self.flops_per_token, self.state_bytes
        return Cost(
            updates=updates,
            tokens=tokens,
            tokens_first=self._tokens_first(tree),
            flops=None if flops is None else tokens * flops,
            states=states,
            state_bytes=None if size is None else states * size,
        )

    def updates_from_scratch(self, *, versions: int | None = None) -> int:
        """Return the updates that training each of the first versions from scratch takes, the unit of relative cost."""
        count = len(self.increments) if versions is None else min(versions, len(self.increments))
        return self._from_scratch[count - 1] if count else 0

    @cached_property
    def _from_scratch(self) -> tuple[int, ...]:
        """Updates of training versions 1…i from scratch each, for every i."""
        return tuple(accumulate(accumulate(increment.updates for increment in self.increments)))

    def relative_cost(self, paradigm: str, *, versions: int | None = None) -> float:
        """Return a paradigm's updates ÷ those of training the same versions from scratch.

        Raises:
            PlanError: If the plan has no such paradigm.
        """
        updates = self._cumulative.get(paradigm)
        if updates is None:
            raise self._unknown_paradigm(paradigm)
        return updates[: len(updates) if versions is None else versions][-1] / self.updates_from_scratch(
            versions=versions
        )

    @cached_property
    def _cumulative(self) -> dict[str, tuple[int, ...]]:
        """Updates of versions 1…i of each paradigm, for every i; a path is run on from where an earlier one left it."""
        found = {}
        for paradigm in self.paradigms:
            by_version: dict[str, list[StateKey]] = {version: [] for version in self.versions}
            for release in self.tree.releases:
                if release.paradigm == paradigm:
                    by_version[release.version] += [key for key, _ in release.parts]
            ends: dict[str, int] = {}
            found[paradigm] = tuple(
                accumulate(sum(self._added(key, ends) for key in keys) for keys in by_version.values())
            )
        return found

    def _added(self, key: StateKey | None, ends: dict[str, int]) -> int:
        """Return the updates that a state takes beyond where its line has been run to, and note where it then is."""
        added = 0
        while key is not None:
            path = self.tree.path(key.path_id)
            end = ends.get(path.id, path.start)
            if key.position <= end:
                break
            added += key.position - end
            is_known = path.id in ends
            ends[path.id] = key.position
            key = None if is_known else path.parent
        return added

    def _unknown_paradigm(self, paradigm: str) -> PlanError:
        return PlanError(f"unknown paradigm {paradigm}; the plan has {', '.join(self.paradigms)}", value=paradigm)

    def _tokens_first(self, tree: Tree) -> int:
        """Tokens that some path of the tree reads for the first time: each increment by the share most of it read."""
        seen = Readings(tree).read_once()
        updates = sum((seen.get(part.version, Fraction(0)) * part.updates for part in self.increments), Fraction(0))
        return round(updates * self.tokens_per_update)

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
            "tree": paths.as_record(self.tree),
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
            tree=paths.from_record(record["tree"]),
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
