"""The last-iterate law: annealing as the noise that the last iterate of stochastic gradient descent still has.

    L(p) = L0 + A·S(p)^(−α) + B·Γ(p)^ρ·S(p)^(−ζ),   S(p) = Σ_{k≤p} ηₖ,   Q(p) = Σ_{k≤p} ηₖ²

For a convex function with gradients bounded by G, the last iterate of subgradient descent from a distance D to the
optimum has an error of at most `D²/(2·S) + G²/2·Γ`, with

    Γ(p) = Q_p/S_p + Σ_{k<p} ηₖ/(S_p − Sₖ) · (Q_p − Q_{k−1})/(S_p − S_{k−1})

The first term falls with training, whatever the rates; the second is the noise of the rates, and falls when they do.
The two constants, D² and G², become the parameters A and B; L0, and α in place of 1, are those of every law of losses.
Theory has ρ = 1 and ζ = 0, and nothing is then tuned; ρ = .8 and ζ = .1, which are given unless a fit asks for them,
were chosen on real curves: public ones of 24,000 to 72,000 updates want ζ = .2, own ones of 1,500 hardly any (see
experiments/07_laws). There is no memory: how long a fall of the rate goes on to lower the loss follows from the rates.

**A simpler sum.** With vₖ = Q_p − Qₖ and uₖ = 1/(S_p − Sₖ), `ηₖ·uₖ·uₖ₋₁ = uₖ − uₖ₋₁`, so the sum is Σ (uₖ − uₖ₋₁)·vₖ₋₁.
Summed by parts, with v_{p−1} = η_p² and u_{p−1} = 1/η_p, it is η_p − Q_p/S_p + Σ uₖ·ηₖ². So

    Γ(p) = η_p + Σ_{k<p} ηₖ² / (S_p − Sₖ)

every update leaves noise of the square of its rate, and what is done since, in area, divides it. A run of m updates at
one rate η, with the area D after it up to p, adds `η·(ψ(D/η + m) − ψ(D/η))`, ψ being the digamma function: a main path
of a million updates costs one term. An update at rate 0 changes nothing, so Γ is that of the last update above 0.

What it gets wrong by construction: right after an abrupt fall from η to ε the bound jumps up by η²/ε, and comes down
again within some tens of updates, which no loss does; a handful of observations there do not matter in a fit.

References: arXiv 2310.07831, Theorem 10 (the bound); arXiv 2501.18965 (that it has the form of loss curves under
schedules); the sum by parts, ρ and ζ are derived and chosen here. arXiv 2509.19189 has kernels Σ ηₖ²·K(S_p − Sₖ) of
which this is K = 1/ΔS.

Shapes: U updates of a curve, R runs of one rate, P positions, K sets of parameters, N observations of all curves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from lrpath.laws.areas import Array, Ints, forward_area
from lrpath.laws.curves import Curve
from lrpath.laws.law import AREA_FALL, Law, Parameter, Scale, amplitude, at_positions


def last_iterate_noise(rates_U: Array, positions_P: Ints) -> Array:
    """Return Γ at some positions [rate].

    Args:
        rates_U: Rate of every update.
        positions_P: Positions in `[1, U]`, each after at least one update with a rate above 0.

    >>> last_iterate_noise(np.array([1.0, 1.0, 0.5]), np.array([1, 2, 3])).round(4)  # 1;  1 + 1;  .5 + 1/.5 + 1/1.5
    array([1.    , 2.    , 3.1667])
    """
    starts_R = np.concatenate(([0], np.flatnonzero(np.diff(rates_U)) + 1))
    rates_R, lengths_R = rates_U[starts_R], np.diff(np.append(starts_R, rates_U.size)).astype(np.float64)
    areas_R, squares_R = rates_R * lengths_R, rates_R**2 * lengths_R
    long_R = np.flatnonzero((lengths_R > 1) & (rates_R > 0))
    latest_U = np.maximum.accumulate(np.where(rates_U > 0, np.arange(rates_U.size), -1))  # that moved the weights
    found = np.empty(positions_P.size)
    for number, update in enumerate(latest_U[positions_P - 1]):
        run = int(np.searchsorted(starts_R, update, side="right")) - 1  # cut by the position, so it stands apart
        rate, count = rates_U[update], update - starts_R[run]
        found[number] = rate * (1.0 + digamma(1.0 + count) - digamma(1.0))
        if run:
            # summed from the near end, so that small areas are not differences of large ones
            after = np.empty(run)
            after[0], after[1:] = rate * (1.0 + count), areas_R[run - 1 : 0 : -1]
            after = np.cumsum(after, out=after)[::-1]
            terms = squares_R[:run] / after  # exact for runs of one update
            long = long_R[: np.searchsorted(long_R, run)]
            ratio = after[long] / rates_R[long]
            terms[long] = rates_R[long] * (digamma(ratio + lengths_R[long]) - digamma(ratio))
            found[number] += terms.sum()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseAreas:
    """What the law needs of curves: logarithms of S and Γ.

    Args:
        log_S1_N: Logarithm of the forward area.
        log_noise_N: Logarithm of Γ.
    """

    log_S1_N: Array
    log_noise_N: Array

    @classmethod
    def of(cls, curves: Sequence[Curve]) -> "NoiseAreas":
        """Compute the sums of some curves."""
        noises = [last_iterate_noise(curve.rates_U, curve.positions_P) for curve in curves]
        areas = at_positions([forward_area(curve.rates_U) for curve in curves], curves)
        return cls(log_S1_N=np.log(areas), log_noise_N=np.log(np.concatenate(noises)))


NOISE = (
    amplitude("B", "nats/rate^ρ·area^ζ", "loss by the noise of the rates", high=1e9),
    Parameter(
        name="rho", unit="1", meaning="power of the noise", low=0.2, high=2.0, scale=Scale.LINEAR, starts=(0.8,),
        coarse=0.2,
    ),
    Parameter(
        name="zeta", unit="1", meaning="how the noise matters less later on", low=0.0, high=1.0, scale=Scale.LINEAR,
        starts=(0.1,), coarse=0.1,
    ),
)  # fmt: skip
"""B, ρ and ζ of `B·Γ^ρ·S^(−ζ)`."""


@dataclass(frozen=True, slots=True)
class LastIterateLaw(Law):
    """The last-iterate law; see the formulas above.

    References: arXiv 2310.07831, 2501.18965.
    """

    name: str = "last_iterate"

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """L0, A, α, B, ρ, ζ."""
        return (*AREA_FALL, *NOISE)

    def prepare(self, curves: Sequence[Curve]) -> NoiseAreas:
        """Return the logarithms of S and Γ."""
        return NoiseAreas.of(curves)

    def losses(self, values_KQ: Array, prepared: NoiseAreas) -> tuple[Array, Array]:
        """Return losses and derivatives."""
        floor, size, exponent, noise, power, fading = (column[:, None] for column in values_KQ.T)
        fallen = np.exp(-exponent * prepared.log_S1_N)
        left = np.exp(power * prepared.log_noise_N - fading * prepared.log_S1_N)
        by = (
            np.ones_like(fallen),
            fallen,
            -size * fallen * prepared.log_S1_N,
            left,
            noise * left * prepared.log_noise_N,
            -noise * left * prepared.log_S1_N,
        )
        return floor + size * fallen + noise * left, np.stack(by, axis=-1)
