"""Intervals of predicted losses that hold what a law gets wrong, not only what its parameters leave open.

Parameters of a law that is fitted to a few hundred losses are sharp, and the law is wrong by ten times as much:
intervals from parameters alone held 7 to 38 % of the outcomes of runs that were not fitted. So an interval comes

- from two laws of different memory (`laws`): from the lower to the higher of the last-iterate and the multi-power law,
  and of the first one's bootstrap, widened on either side by a margin and a share of what the law says that annealing
  has gained, since it is in this gain that laws are wrong. Both were measured: 9 of 10 last losses of public runs that
  were not fitted lie within, see experiments/07_laws;
- or from the study itself (`finished`): each finished branch is left out in turn, and predicted from a fit to the rest.
  An interval is as wide as ⌈(n + 1)·level⌉ of the n errors are large (conformal prediction): exact for a path that is
  to the study as its finished ones are to each other, and too narrow for one that is longer than all of them.

References: the margin is derived from measurements; Vovk, Gammerman and Shafer 2005 (conformal prediction).

Shapes: P positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array
from lrpath.laws.curves import Curve
from lrpath.laws.fit import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalRule:
    """How intervals of predictions are made.

    Args:
        second: The law of another memory, fitted to the same curves; None where there is none.
        margin: What widens the interval on either side [nats per token].
        gain_margin: What widens it further, as a share of the predicted gain of annealing, see `annealing_gain`.
        level: Probability that is asked for.
        scores: Absolute errors of the study's finished paths, each predicted from the others [nats per token]; None
            where the interval comes from two laws.
    """

    second: Fit | None
    margin: float
    gain_margin: float
    level: float
    scores: tuple[float, ...] | None = None

    def around(self, fit: Fit, curve: Curve) -> tuple[Array, Array, Array]:
        """Return the predicted losses of a curve, and the ends of their intervals, which always hold them."""
        predicted = fit.predict(curve, level=self.level, extrapolate=True)
        losses = predicted.losses_P
        if self.scores is not None:
            width = conformal_width(self.scores, level=self.level)
            return losses, losses - width, losses + width
        ends = [losses]
        if predicted.low_P is not None and predicted.high_P is not None:
            ends += [predicted.low_P, predicted.high_P]
        if self.second is not None:
            ends.append(self.second.predict(curve, extrapolate=True).losses_P)
        margin_P = self.margin + self.gain_margin * annealing_gain(fit, curve, losses)
        return losses, np.min(ends, axis=0) - margin_P, np.max(ends, axis=0) + margin_P

    def sentence(self) -> str:
        """Return in words what an interval holds, to stand beside it."""
        if self.scores is not None:
            return (
                f"Intervals ({self.level:.0%}): from the errors of {len(self.scores)} finished paths of this study, "
                "each predicted from the others; too narrow for a path that is longer than these."
            )
        laws = "this law" if self.second is None else f"this law and {self.second.law.name}"
        return (
            f"Intervals: from the lower to the higher of {laws}, widened by {self.margin:g} nats and "
            f"{self.gain_margin:.0%} of what annealing is predicted to gain. On public runs that were not fitted they "
            "held 9 of 10 last losses (experiments/07_laws); a change of the data is not in them."
        )


def annealing_gain(fit: Fit, curve: Curve, losses_P: Array) -> Array:
    """Return how far a curve's predicted losses lie below those at the highest rate held throughout; 0 if above.

    Args:
        fit: The fit.
        curve: The curve.
        losses_P: What the fit predicts of it.
    """
    held = replace(curve, rates_U=np.maximum.accumulate(curve.rates_U), losses_P=None)
    return np.maximum(fit.law.predict(fit.values, curve=held) - losses_P, 0.0)


def conformal_width(scores: Sequence[float], *, level: float) -> float:
    """Return the half-width of an interval that holds with a probability of `level`: the ⌈(n + 1)·level⌉-th score.

    Raises:
        LawError: If there are too few scores for the level.

    >>> conformal_width([0.3, 0.1, 0.2, 0.4], level=0.5)
    0.3
    """
    rank = math.ceil((len(scores) + 1) * level - 1e-9)
    if rank > len(scores):
        needed = math.ceil(level / (1 - level) - 1e-9)
        raise LawError(
            f"an interval of {level:.0%} from finished paths needs {needed} of them, and {len(scores)} can be left "
            "out; train more, or use interval=laws",
            field="interval",
            value="finished",
        )
    return sorted(scores)[rank - 1]
