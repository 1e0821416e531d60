"""Hypothesis strategies and small builders for the tests of planning, and what they compare readings with."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from lrpath.planning.decay import Decay
from lrpath.planning.guard import Guard
from lrpath.planning.optimizers import AdamW
from lrpath.planning.paradigms import Anchor, Continual, Merged, PathSwitching, Restart, Setting
from lrpath.planning.plain import typed
from lrpath.planning.recipe import Recipe
from lrpath.planning.schedule import Shape
from lrpath.planning.shape import FileModel, ModelShape
from lrpath.planning.streams import WEIGHT_PARTS, Increment, Segment
from lrpath.planning.units import parse_updates

TOKENS_PER_UPDATE = 64
ADAMW = AdamW(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0)
RECIPE = Recipe(
    model={"family": "llama", "layers": 2, "width": 64},
    data={"source": {"kind": "text"}, "tokenizer": None},
    optimizer=ADAMW,
    precision="fp32",
    seed=0,
    sequences_per_update=4,
    tokens_per_sequence=16,
)
LINEAR = Decay(shape=Shape.LINEAR, floor=0.0)
COSINE = Decay(shape=Shape.COSINE, floor=0.1)


SIZES: dict[str, Any] = {
    "kv_heads": None,
    "head_dim": None,
    "tie_embeddings": False,
    "rope_theta": 10_000.0,
    "norm_eps": 1e-5,
    "init_std": 0.02,
}
"""What a model of a test has where its sizes do not matter."""


def build_continual(**fields: Any) -> Continual:
    """Return the paradigm that resets the rate and replays nothing, with some fields changed."""
    return Continual(**({"restart": Restart.RESET, "rewarm": None, "rewarm_peak": None, "replay": 0.0} | fields))


def build_switching(**fields: Any) -> PathSwitching:
    """Return path switching whose branches end with their increments, with some fields changed."""
    return PathSwitching(**({"anchor": Anchor.END} | fields))


def build_merged(**fields: Any) -> Merged:
    """Return merging by the plain mean, with some fields changed."""
    return Merged(**({"shape": Shape.LINEAR} | fields))


def build_guard(**fields: Any) -> Guard:
    """Return the guard that only stops, with some fields changed."""
    return Guard(**({"policy": "stop", "spike": None, "window": 128, "back": 100, "limit": 20} | fields))


def shape_of(fields: Mapping[str, Any]) -> ModelShape:
    """Return the shape that the fields of a file of conf/model describe."""
    if fields["family"] == "file":
        return typed(FileModel, fields, place="model").shape()
    return typed(ModelShape, fields, place="model")


def shape_of_file(path: object, **fields: Any) -> ModelShape:
    """Return the shape of a `config.json`, of which nothing is changed unless it is given."""
    unchanged = {"vocab_size": None, "context": None, "stated_parameters": None}
    return FileModel(**({"family": "file", "file": str(path)} | unchanged | fields)).shape()


def increments_of(*updates: int) -> tuple[Increment, ...]:
    """Return increments v1, v2, … of these sizes [updates]."""
    return tuple(Increment(version=f"v{number}", updates=count) for number, count in enumerate(updates, start=1))


def setting_of(*updates: int, label: str = "path", recipe: Recipe = RECIPE) -> Setting:
    """Return a setting whose increments have these sizes [updates]."""

    def parse(text: int | str, field: str) -> int:
        return parse_updates(text, tokens_per_update=recipe.tokens_between(0, 1), field=field)

    return Setting(label=label, recipe=recipe, increments=increments_of(*updates), parse=parse)


def recipe_with(**changes: Any) -> Recipe:
    """Return the usual recipe with some fields, or fields of its optimizer, changed."""
    ours = {name: value for name, value in changes.items() if name in ADAMW.__slots__}
    others = {name: value for name, value in changes.items() if name not in ours}
    return replace(RECIPE, optimizer=replace(ADAMW, **ours), **others)


floors = st.one_of(st.just(0.0), st.floats(0.001, 0.99))
positive_floors = st.floats(0.001, 0.99)
peaks = st.floats(1e-6, 1.0)
sizes = st.lists(st.integers(1, 500), min_size=1, max_size=6)


@st.composite
def decays(draw: st.DrawFn) -> Decay:
    """Draw a decay of any shape; over 20 updates or more it has no empty part."""
    shape = draw(st.sampled_from([shape for shape in Shape if shape.is_decay]))
    if shape is Shape.KNEE:
        return Decay(shape=shape, floor=draw(floors), hold=draw(st.floats(0.1, 0.9)))
    if shape is Shape.POWER:
        return Decay(shape=shape, floor=draw(floors), exponent=draw(st.floats(0.1, 5.0)))
    if shape is Shape.STAIR:
        return Decay(shape=shape, floor=draw(positive_floors), shares=draw(shares()))
    if shape is Shape.TABLE:
        falling = sorted(draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=9)), reverse=True)
        return Decay(shape=shape, floor=min(falling[-1], 0.99), table=(*falling[:-1], min(falling[-1], 0.99)))
    return Decay(shape=shape, floor=draw(positive_floors if shape.needs_floor else floors))


@st.composite
def shares(draw: st.DrawFn) -> tuple[float, float, float]:
    """Draw three shares of at least a tenth that add up to 1."""
    first = draw(st.integers(10, 80))
    second = draw(st.integers(10, 90 - first))
    return first / 100, second / 100, (100 - first - second) / 100


def coverage(reads: list[tuple[Segment, int]]) -> dict[str, Fraction]:
    """Share of each increment that has been read at least once, after `(segment, updates read of it)` in turn.

    Exact as long as no pool of several increments is read in part; there it is the expected share under a uniform
    order.
    """
    seen: dict[str, Fraction] = {}
    for segment, updates in reads:
        for component in segment.components:
            pool = sum(increment.updates for increment in component.increments)
            share = min(Fraction(1), Fraction(updates * component.parts, WEIGHT_PARTS * pool))
            for increment in component.increments:
                before = seen.get(increment.version, Fraction(0))
                seen[increment.version] = before + (1 - before) * share
    return seen
