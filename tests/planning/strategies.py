"""Hypothesis strategies and small builders for the tests of planning: decays, increments, recipes, settings."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from lrpath.planning.paradigms import Setting
from lrpath.planning.paths import Optimizer, Recipe
from lrpath.planning.schedule import Decay, DecayShape
from lrpath.planning.streams import Increment
from lrpath.planning.units import parse_updates

TOKENS_PER_UPDATE = 64
ADAMW = Optimizer(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1, clip_norm=1.0)
RECIPE = Recipe(
    model={"family": "llama", "layers": 2, "width": 64},
    data={"source": {"kind": "text"}, "tokenizer": None},
    optimizer=ADAMW,
    precision="fp32",
    seed=0,
    sequences_per_update=4,
    tokens_per_sequence=16,
)
LINEAR = Decay(shape=DecayShape.LINEAR)
COSINE = Decay(shape=DecayShape.COSINE, floor=0.1)


def increments_of(*updates: int) -> tuple[Increment, ...]:
    """Return increments v1, v2, … of these sizes [updates]."""
    return tuple(Increment(version=f"v{number}", updates=count) for number, count in enumerate(updates, start=1))


def setting_of(*updates: int, label: str = "path", recipe: Recipe = RECIPE) -> Setting:
    """Return a setting whose increments have these sizes [updates]."""

    def parse(text: int | str, field: str) -> int:
        return parse_updates(text, tokens_per_update=recipe.tokens_per_update, field=field)

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
    shape = draw(st.sampled_from(DecayShape))
    if shape is DecayShape.KNEE:
        return Decay(shape=shape, floor=draw(floors), hold=draw(st.floats(0.1, 0.9)))
    if shape is DecayShape.POWER:
        return Decay(shape=shape, floor=draw(floors), exponent=draw(st.floats(0.1, 5.0)))
    if shape is DecayShape.STAIR:
        return Decay(shape=shape, floor=draw(positive_floors), shares=draw(shares()))
    needs_floor = shape in (DecayShape.EXPONENTIAL, DecayShape.HARMONIC)
    return Decay(shape=shape, floor=draw(positive_floors if needs_floor else floors))


@st.composite
def shares(draw: st.DrawFn) -> tuple[float, float, float]:
    """Draw three shares of at least a tenth that add up to 1."""
    first = draw(st.integers(10, 80))
    second = draw(st.integers(10, 90 - first))
    return first / 100, second / 100, (100 - first - second) / 100
