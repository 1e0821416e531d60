"""The loss on a third domain as a mixture of those on the old and the new data (Eq. 6 of arXiv 2505.07796v2)."""

import math
from dataclasses import dataclass

import numpy as np

from lrpath.laws.areas import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The loss of a third domain as a mixture `l1·L_old + l2·L_new`.

    The shares need not be positive, nor add up to 1: five of the paper's eight domains have a negative one.

    Args:
        old: l1.
        new: l2.
        r2: Share of the variance that it explains in the losses it was fitted to.

    References: arXiv 2505.07796v2, Eq. 6.
    """

    old: float
    new: float
    r2: float

    def losses(self, *, old: Array, new: Array) -> Array:
        """Return the third domain's losses at the positions of the other two."""
        return self.old * old + self.new * new


def fit_mixture(*, old: Array, new: Array, other: Array) -> Mixture:
    """Return the mixture nearest to the observed losses of a third domain, by ordinary least squares.

    Args:
        old: Losses of the old domain, observed or predicted.
        new: Losses of the new domain at the same positions.
        other: Observed losses of the third domain there.

    >>> old, new = np.array([3.0, 3.1, 3.3]), np.array([3.0, 2.7, 2.2])
    >>> found = fit_mixture(old=old, new=new, other=-0.546 * old + 1.853 * new)
    >>> round(found.old, 3), round(found.new, 3)
    (-0.546, 1.853)
    """
    shares, *_ = np.linalg.lstsq(np.stack((old, new), axis=1), other, rcond=None)
    error = other - shares[0] * old - shares[1] * new
    variance = float(((other - other.mean()) ** 2).sum())
    r2 = 1.0 - float((error**2).sum()) / variance if variance > 0 else math.nan
    return Mixture(old=float(shares[0]), new=float(shares[1]), r2=r2)
