"""The areas under a learning-rate curve, which laws of the loss are made of.

With the rates η₁ … η_U of updates 1 … U, and position p reached by update p,

    S1(p) = Σ_{i≤p} ηᵢ                                   forward area [rate × updates]
    mᵢ = λ·mᵢ₋₁ + (ηᵢ₋₁ − ηᵢ),   S2(p) = Σ_{i≤p} mᵢ      annealing area [rate × updates]

S2 grows while the rate falls and for some 1 ÷ (1 − λ) updates after. The first update and those of the warm-up do not
change m: a warm-up undoes no annealing. A later rise (re-warming) counts with its sign and takes back what annealing
gave.

References: arXiv 2408.11029 (the areas); arXiv 2505.07796 (with λ = .999). That a warm-up does not count is derived.

Shapes: U updates of a curve, P positions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def warmup_updates(rates_U: Array) -> int:
    """Return how many updates at the start of a run warm up: those before the first rate that the next does not top.

    >>> warmup_updates(np.array([1.0, 2.0, 3.0, 3.0, 1.0]))
    2
    """
    rises = np.diff(rates_U) > 0
    return int(rises.size if rises.all() else np.argmin(rises))


def rate_drops(rates_U: Array, *, warmup: int | None = None) -> Array:
    """Return by how much each update's rate lies under the one before; 0 for the first update and in the warm-up.

    Args:
        rates_U: Rate of every update.
        warmup: Updates at the start whose changes do not count; found by `warmup_updates` by default.

    >>> rate_drops(np.array([1.0, 2.0, 2.0, 0.5]))
    array([0. , 0. , 0. , 1.5])
    """
    begin = (warmup_updates(rates_U) if warmup is None else warmup) + 1
    drops_U = np.zeros_like(rates_U)
    drops_U[begin:] = rates_U[begin - 1 : -1] - rates_U[begin:]
    return drops_U


def forward_area(rates_U: Array) -> Array:
    """Return S1 at positions 0 … U.

    >>> forward_area(np.array([1.0, 2.0]))
    array([0., 1., 3.])
    """
    return np.concatenate(([0.0], np.cumsum(rates_U)))


def annealing_area(drops_U: Array, *, momentum: float) -> Array:
    """Return S2 at positions 0 … U.

    Args:
        drops_U: Fall of the rate at every update, as from `rate_drops`.
        momentum: λ in `[0, 1]`.

    >>> annealing_area(np.array([0.0, 1.0, 0.0]), momentum=0.5)
    array([0. , 0. , 1. , 1.5])
    """
    return forward_area(lfilter([1.0], [1.0, -momentum], drops_U))


def annealing_slope(drops_U: Array, *, momentum: float, positions_P: Ints) -> tuple[Array, Array]:
    """Return S2 and ∂S2/∂λ at some positions, for λ below 1.

    Summing mᵢ = λ·mᵢ₋₁ + dᵢ over i ≤ p gives `S2 = (Σ d − λ·m_p) ÷ (1 − λ)`, so only m and nᵢ = ∂mᵢ/∂λ = λ·nᵢ₋₁ + mᵢ₋₁
    at the positions are needed.

    Args:
        drops_U: Fall of the rate at every update.
        momentum: λ in `(0, 1)`.
        positions_P: Positions in `[1, U]`.
    """
    m_U = lfilter([1.0], [1.0, -momentum], drops_U)
    m_P, n_P = m_U[positions_P - 1], lfilter([0.0, 1.0], [1.0, -momentum], m_U)[positions_P - 1]
    area_P = (np.cumsum(drops_U)[positions_P - 1] - momentum * m_P) / (1.0 - momentum)
    return area_P, (area_P - m_P - momentum * n_P) / (1.0 - momentum)
