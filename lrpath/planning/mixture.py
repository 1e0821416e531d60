"""How many windows of a stretch of reading come from which domain: exact at its end, and evenly spread before it.

n windows are shared out to domains of sizes s₁ ≥ s₂ ≥ …, which add up to n. Of the first m windows,

    c₁ = round(m · s₁ / n) come from the first domain, of the m − c₁ others round((m − c₁) · s₂ / (n − s₁)) from the
    second, and so on, halves rounded up; the last domain has what is left.

Each step of m raises exactly one of these counts, by one, so that they say which domain window m is from, without a
table and without a state. At m = n every count is its size. With two domains no count is ever more than 1/2 a window
from its share m · s/n; with D of them, none is more than (1 + H)/2 from it, where H = 1 + 1/2 + … + 1/(D − 2), since
the i-th of them inherits 1/2 · s_i / (what is left after step k) ≤ 1/2 · 1/(i − k) from each step k before it: 1.6
windows for seven domains.

Rejected: the domain furthest behind its share (Tijdeman's rule, never a whole window off) needs a table as long as the
period, which for the union of increments of several mixtures is the whole union.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from lrpath.errors import ConfigError
from lrpath.planning.streams import Component, Increment, Segment, drawn_before, in_order

MIXTURE_PARTS = 1_000_000
"""Weights of a mixture are whole parts of this number: a domain of .01 % is 100 of them."""

WHOLE = ""
"""Stands for the domain of an increment that has no mixture, and is read as it is stored."""


def counts_before(windows: Any, sizes: Sequence[int]) -> list[Any]:
    """Return how many of the first windows come from each domain, by the formula at the top of this file.

    Args:
        windows: m, a whole number or an array of them; beyond n, as if the sizes were weights.
        sizes: Sizes, or weights, descending and positive.

    >>> [counts_before(m, (7, 3)) for m in range(4)]
    [[0, 0], [1, 0], [1, 1], [2, 1]]
    >>> counts_before(10, (7, 3))
    [7, 3]
    """
    left, rest, found = windows, sum(sizes), []
    for size in sizes[:-1]:
        here = (2 * left * size + rest) // (2 * rest)
        found.append(here)
        left, rest = left - here, rest - size
    return [*found, left]


def parse_mixture(weights: Mapping[str, float], *, field: str) -> tuple[tuple[str, int], ...]:
    """Return a mixture in parts of `MIXTURE_PARTS`, the largest first, equal ones by name; a weight of 0 is left out.

    Args:
        weights: Relative weights of domains: 7 and 3 are 0.7 and 0.3.
        field: Where they were given, for messages.

    Raises:
        ConfigError: If a weight is negative, all are 0, or one is less than a part.

    >>> parse_mixture({"code": 3, "web": 7}, field="data.mixture")
    (('web', 700000), ('code', 300000))
    """
    total = sum((Fraction(str(weight)) for weight in weights.values()), Fraction(0))
    if not total or min(weights.values()) < 0:
        text = f"{field}={dict(weights)} must be weights of at least 0, one of them positive"
        raise ConfigError(text, field=field, value=dict(weights))
    shares = {name: Fraction(str(weight)) / total for name, weight in weights.items() if weight}
    small = next((name for name, share in shares.items() if share * MIXTURE_PARTS < 1), None)
    if small is not None:
        text = f"{field}.{small}={weights[small]} is less than {1 / MIXTURE_PARTS} of all; leave it out by giving it 0"
        raise ConfigError(text, field=f"{field}.{small}", value=weights[small])
    parts = {name: int(share * MIXTURE_PARTS) for name, share in shares.items()}
    # What rounding down left goes to those that lost most by it: largest remainders.
    by_loss = sorted(shares, key=lambda name: (parts[name] - shares[name] * MIXTURE_PARTS, name))
    for name in by_loss[: MIXTURE_PARTS - sum(parts.values())]:
        parts[name] += 1
    return in_order(parts)


def windows_by_domain(increment: Increment, *, sequences: int) -> dict[str, int]:
    """Return how many windows of each domain one reading of an increment takes.

    Args:
        increment: The increment.
        sequences: Windows of the first update of all.

    >>> one = Increment(version="v1", updates=3, mixture=(("web", 700_000), ("code", 300_000)))
    >>> windows_by_domain(one, sequences=5)
    {'web': 11, 'code': 4}
    """
    windows = increment.count_windows(sequences=sequences)
    if not increment.mixture:
        return {WHOLE: windows}
    counts = counts_before(windows, [parts for _, parts in increment.mixture])
    return {name: count for (name, _), count in zip(increment.mixture, counts, strict=True) if count}


def pool_by_domain(increments: Iterable[Increment], *, sequences: int) -> dict[str, int]:
    """Return how many windows of each domain a pool of increments has, the largest first, equal ones by name."""
    found: Counter[str] = Counter()
    for increment in increments:
        found.update(windows_by_domain(increment, sequences=sequences))
    return dict(in_order(found))


def domain_reads(spans: Iterable[tuple[Segment, int, int]], *, sequences: int) -> dict[str, int]:
    """Return how many windows of each domain some updates read, exactly, without looking at any of them.

    Args:
        spans: Segments, and from which of their windows to which, as `Stream.window_spans` returns them.
        sequences: Windows of the first update of all.

    >>> one = Increment(version="v1", updates=3, mixture=(("web", 700_000), ("code", 300_000)))
    >>> segment = Segment(updates=3, components=(Component(increments=(one,)),))
    >>> domain_reads([(segment, 0, 10)], sequences=5)
    {'web': 7, 'code': 3}
    """
    found: Counter[str] = Counter()
    for segment, first, last in spans:
        shares = tuple(component.parts for component in segment.components)
        begins, ends = (drawn_before(number, shares) for number in (first, last))
        for component, begin, end in zip(segment.components, begins, ends, strict=True):
            after = _drawn_by_domain(component, end, sequences)
            before = _drawn_by_domain(component, begin, sequences)
            found.update({name: count - before[name] for name, count in after.items() if count > before[name]})
    return dict(found)


def _drawn_by_domain(component: Component, draws: int, sequences: int) -> dict[str, int]:
    pool = pool_by_domain(component.increments, sequences=sequences)
    passes, rest = divmod(draws, sum(pool.values()))
    counts = counts_before(rest, tuple(pool.values()))
    return {name: passes * size + count for (name, size), count in zip(pool.items(), counts, strict=True)}
