"""What a study has observed already that bears on the choice of α: branches that were run, and averages of states.

Two ways to choose that need no law:

- three branches of one version that differ in α alone: a parabola through their losses in log α, `fit_parabola`;
- averages of the main path's last states over windows of 2 to 40 % of everything so far (`+exp=averages`), which cost
  evaluations and no training: an average over a window stands for a decay over about as long.

References: derived; arXiv 2507.17634 (averages in place of a decay).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrpath.analysis.compare import read_plans
from lrpath.analysis.scores import StudyScores
from lrpath.laws.loss_view import LossView
from lrpath.laws.path_curves import NamedPath, paths_of
from lrpath.planning.schedule import Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedBranch:
    """A branch that has been run to its end.

    Args:
        version: The version that it makes.
        path: The path.
        alpha: Its updates ÷ those of the version's increment.
        shape: Shape of its decay.
        floor: Last rate as a share of the first.
        loss: Loss at its end [nats per token].
    """

    version: str
    path: NamedPath
    alpha: float
    shape: str
    floor: float
    loss: float

    def text(self) -> str:
        """Return what was run in words, `α=0.4, linear to 0`."""
        return f"α={self.alpha:.3g}, {self.shape} to {self.floor:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parabola:
    """The best α by a parabola in log α through the losses of branches that differ in α alone.

    Args:
        version: The version.
        text: Which branches.
        alpha: Where the loss is least, within the α that were run.
        loss: Loss there [nats per token].
        is_inside: Whether it lies between the shortest and the longest branch; else α should be tried further out.
    """

    version: str
    text: str
    alpha: float
    loss: float
    is_inside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """The loss of an average of a main path's states.

    Args:
        version: The version that it is a release of.
        window: What the states span ÷ everything so far.
        loss: Its loss [nats per token].
    """

    version: str
    window: float
    loss: float


def observed_branches(view: LossView, increments: dict[str, int]) -> tuple[ObservedBranch, ...]:
    """Return the branches of a study that have been run to their end.

    Args:
        view: Which loss.
        increments: Updates of each version's increment.
    """
    found = []
    for path in paths_of(view.study):
        pieces = path.path.schedule.pieces
        versions = [version for version in path.releases if version in increments]
        if path.path.parent is None or not versions or (loss := view.end_loss(path)) is None:
            continue
        first = pieces[0].first
        for version in versions:
            found.append(
                ObservedBranch(
                    version=version,
                    path=path,
                    alpha=(path.end - path.path.start) / increments[version],
                    shape=_shape(pieces),
                    floor=pieces[-1].last / first if first else 0.0,
                    loss=loss,
                )
            )
    return tuple(found)


def _shape(pieces: Sequence[Piece]) -> str:
    return "+".join(dict.fromkeys(piece.shape.value for piece in pieces))


def parabolas(branches: Sequence[ObservedBranch]) -> tuple[Parabola, ...]:
    """Return the best α of every version that has three branches or more which differ in α alone."""
    groups: dict[tuple[str, str, float], dict[float, float]] = {}
    for one in branches:
        groups.setdefault((one.version, one.shape, round(one.floor, 6)), {})[one.alpha] = one.loss
    found = []
    for (version, shape, floor), losses in groups.items():
        if len(losses) >= 3:
            best = fit_parabola(list(losses), list(losses.values()))
            if best is not None:
                alpha, loss = best
                text = f"{len(losses)} branches, {shape} to {floor:g}"
                inside = min(losses) < alpha < max(losses)
                found.append(Parabola(version=version, text=text, alpha=alpha, loss=loss, is_inside=inside))
    return tuple(found)


def fit_parabola(values: Sequence[float], losses: Sequence[float]) -> tuple[float, float] | None:
    """Return where a parabola in the logarithm of some positive values is least, within them, and how much it is there.

    None if it has no least value: if the losses do not curve upwards. With three losses it goes through all of them.

    >>> fit_parabola([0.2, 0.4, 0.8], [2.01, 2.0, 2.01])
    (0.4, 2.0)
    >>> fit_parabola([0.2, 0.4, 0.8], [2.0, 2.1, 2.0]) is None
    True
    """
    x = np.log(np.asarray(values, dtype=np.float64))
    curve, slope, _ = np.polyfit(x - x.mean(), losses, 2)
    if not curve > 0:
        return None
    polynomial = np.poly1d(np.polyfit(x - x.mean(), losses, 2))
    at = float(np.clip(-slope / (2 * curve), *(np.array([x.min(), x.max()]) - x.mean())))
    return round(math.exp(at + x.mean()), 10), round(float(polynomial(at)), 10)


def averages(view: LossView) -> tuple[Average, ...]:
    """Return the losses of the averages of states that a study's plans hold and that were evaluated, by window."""
    keys = None if view.held_out is None else view.held_out.keys
    found: dict[tuple[str, float], Average] = {}
    every = StudyScores(view.study)
    for plan in read_plans(view.study):
        for release in plan.tree.releases:
            if len(release.parts) < 2 or keys is None:
                continue  # a training loss has no average
            scores = every.of(release) or {}
            if not keys <= scores.keys():
                continue
            first, last = (release.parts[at][0].position for at in (0, -1))
            loss = sum(scores[key].nll for key in keys) / sum(scores[key].tokens for key in keys)
            window = (last - first) / last
            found[release.version, window] = Average(version=release.version, window=window, loss=loss)
    return tuple(sorted(found.values(), key=lambda one: (one.version, one.window)))
