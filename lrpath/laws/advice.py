"""Chooses α, shape and floor of branches, or replay and peak of a continued run, by what fitted laws predict.

    candidates, configured = candidates_of(paradigm, setting, objective, numbers)   # everything there is to choose from
    advice = Adviser(fits=…, objective=objective, …).advise(candidates, configured) # predictions of each, and the
    choice

The loss of a candidate is the weighted mean over the fits, one for each validation loss: one for a single domain, two
(old data, new data) where domains shift. Its price is the updates of its own path; the main path is run anyway. The
same rule is asked of the law of another memory: where the two choose differently, the curves do not settle the choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.areas import Array, forward_area
from lrpath.laws.candidates import Candidate, Evaluated, Objective
from lrpath.laws.choice import cheapest_within, choose, choose_best
from lrpath.laws.continual import ContinualLaw, Domain, ShiftedLastIterateLaw
from lrpath.laws.fit import Fit
from lrpath.laws.path_fit import PathFit
from lrpath.laws.settings import FitSettings
from lrpath.laws.turning import critical_area, loss_potential, turning_area

_TOGETHER = 64
"""Candidates that are predicted at once; bounds the memory."""
SHOWN_WITHIN = 0.005
"""How near to the best predicted loss the shortest branch is that is shown beside the choice, for its price
[nats per token]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedFit:
    """A fitted law with the weight of its loss.

    Args:
        fitted: The fit.
        weight: Share of the loss, in `[0, 1]`.
    """

    fitted: PathFit
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The candidate chosen for a version.

    Args:
        evaluated: What is predicted of it.
        low: Lower end of the interval of its loss.
        high: Upper end.
        marginal: What the last updates of the branch gain [nats per update], from the next shorter one; None for the
            shortest, and where the price is fixed.
        best: What this law predicts to be best among those that differ from the choice in α, or replay, alone.
        shortest: The cheapest of those within `SHOWN_WITHIN` of it.
        second: What the law of another memory chooses by the same rule; None if it cannot.
        interval: Interval of the best α, or share replayed, over the bootstrap samples; None without them, and for a
            wanted loss or budget.
        is_identified: Whether that is less than half of what there was to choose from, and the two laws differ by no
            more than a step of α.
        cautions: What about it no fitted curve shows.
    """

    evaluated: Evaluated
    low: float
    high: float
    marginal: float | None
    best: Evaluated
    shortest: Evaluated
    second: Evaluated | None
    interval: tuple[float, float] | None
    is_identified: bool
    cautions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainShift:
    """What the fitted laws of continual pre-training say of the change of data.

    Args:
        potential: Rate at the boundary ÷ the peak before it (loss potential): 1 if not annealed.
        before: Updates before the boundary.
        turning: Fewest updates at the constant rate after which the old data's loss is back (turning length); 0 if it
            never rises, None if it never comes back.
        critical: Updates of pre-training at the peak from which on it never comes back (critical point); None if it
            always does.
    """

    potential: float
    before: int
    turning: float | None
    critical: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The choice, and what it was chosen from.

    Args:
        choices: One for each version.
        configured: What is predicted of the configuration as it stands.
        evaluated: Everything that was to choose from.
        fits: The laws.
        excluded: Reasons for which candidates were not considered, with their number.
        shift: What is known of the change of data; None without one.
        interval_sentence: What the intervals hold, in words.
    """

    choices: tuple[Choice, ...]
    configured: tuple[Evaluated, ...]
    evaluated: tuple[Evaluated, ...]
    fits: tuple[WeightedFit, ...]
    excluded: dict[str, int]
    shift: DomainShift | None
    interval_sentence: str

    def frontier(self, version: str) -> tuple[Evaluated, ...]:
        """Return the candidates of a version than which none is both cheaper and better, by price."""
        kept: list[Evaluated] = []
        mine = [row for row in self.evaluated if row.candidate.version == version]
        rows = [row for row in mine if not (row.violations and self.excluded)]
        for row in sorted(rows, key=lambda row: (row.candidate.updates, row.loss)):
            if not kept or row.loss < kept[-1].loss:
                kept.append(row)
        return tuple(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adviser:
    """Evaluates candidates by fitted laws and chooses.

    Args:
        fits: Laws with weights.
        objective: The rule: a loss, a budget (in updates here), `within`, or the best predicted.
        settings: Level and margin of intervals, and whether candidates outside the range of validity are considered.
        old: Versions that are the old data; None without shift.
        observed: Weighted loss that was recorded at the end of paths, by path id.
    """

    fits: tuple[WeightedFit, ...]
    objective: Objective
    settings: FitSettings
    old: frozenset[str] | None = None
    observed: Mapping[str, float] = field(default_factory=dict)

    def advise(self, candidates: Sequence[Candidate], configured: Sequence[Candidate]) -> Advice:
        """Evaluate all candidates and choose.

        Args:
            candidates: What there is to choose from.
            configured: What stands in the configuration.

        Raises:
            LawError: If a fit says nothing of annealing, no candidate lies within the range of validity, or none
                attains the loss or fits the budget.
        """
        self._check_fits()
        evaluated = self._evaluate(candidates)
        extrapolate = self.settings.extrapolate
        kept = [row for row in evaluated if extrapolate or not row.violations]
        reasons = [reason for row in evaluated for reason in row.violations] if not extrapolate else []
        lacking = {row.candidate.version for row in evaluated} - {row.candidate.version for row in kept}
        if lacking:
            raise LawError(
                f"every candidate for {', '.join(sorted(lacking))} lies outside the range that was fitted, for "
                f"example: {reasons[0]}. Fit paths that cover it, or add extrapolate=true",
                field="extrapolate",
                value=False,
            )
        chosen = self._choose(kept)
        second = self._second_choice(kept)
        return Advice(
            choices=tuple(self._detail(row, kept, second.get(row.candidate.version)) for row in chosen),
            configured=self._evaluate(configured),
            evaluated=evaluated,
            fits=self.fits,
            excluded={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
            shift=self._shift(chosen),
            interval_sentence=self.fits[0].fitted.rule(self.settings).sentence(),
        )

    def _check_fits(self) -> None:
        for one in self.fits:
            reasons = one.fitted.reasons_against_advice
            if reasons and not self.settings.extrapolate:
                raise LawError(
                    f"the law for {one.fitted.set} cannot advise: {'; '.join(reasons)}. Add extrapolate=true to see "
                    "what it would say all the same",
                    field="fit",
                )

    def _evaluate(self, candidates: Sequence[Candidate]) -> tuple[Evaluated, ...]:
        found: list[Evaluated] = []
        for first in range(0, len(candidates), _TOGETHER):
            some = candidates[first : first + _TOGETHER]
            curves = [candidate.curve(self.old) for candidate in some]
            by_set = {one.fitted.set: one.fitted.fit.losses(curves)[0] for one in self.fits}
            seconds = [
                one.weight * one.fitted.second.losses(curves)[0] for one in self.fits if one.fitted.second is not None
            ]
            second = np.sum(seconds, axis=0) if len(seconds) == len(self.fits) else None
            for number, (candidate, curve) in enumerate(zip(some, curves, strict=True)):
                losses = {name: float(values[number]) for name, values in by_set.items()}
                broken = dict.fromkeys(
                    text for one in self.fits for text in one.fitted.violations(candidate.path, curve)
                )
                found.append(
                    Evaluated(
                        candidate=candidate,
                        loss=sum(one.weight * losses[one.fitted.set] for one in self.fits),
                        losses=losses,
                        second=None if second is None else float(second[number]),
                        observed=self.observed.get(candidate.path.path.id),
                        violations=tuple(broken),
                    )
                )
        return tuple(found)

    def _choose(self, rows: Sequence[Evaluated]) -> tuple[Evaluated, ...]:
        return choose_best(rows) if self.objective.is_best else choose(rows, self.objective)

    def _second_choice(self, rows: Sequence[Evaluated]) -> dict[str, Evaluated]:
        """Return what the law of another memory chooses by the same rule, by version; nothing if it cannot."""
        if any(row.second is None for row in rows):
            return {}
        others = [replace(row, loss=row.second or 0.0) for row in rows]
        try:
            chosen = self._choose(others)
        except LawError:
            return {}
        return {row.candidate.version: rows[others.index(row)] for row in chosen}

    def _detail(self, row: Evaluated, rows: Sequence[Evaluated], second: Evaluated | None) -> Choice:
        candidate = row.candidate
        line = _beside(candidate, rows)
        best = cheapest_within(0.0, line)
        curve, at = candidate.curve(self.old), line.index(row)
        marginal = None
        if at and line[at - 1].candidate.updates < candidate.updates:
            marginal = (line[at - 1].loss - row.loss) / (candidate.updates - line[at - 1].candidate.updates)
        ends = [(one.weight, one.fitted.rule(self.settings).around(one.fitted.fit, curve)) for one in self.fits]
        low, high = (sum(weight * float(parts[side][0]) for weight, parts in ends) for side in (1, 2))
        interval = self._interval_of_choice(line, candidate)
        choices = np.array([one.candidate.chosen_value for one in line])
        wide = interval is not None and len(line) > 1 and interval[1] - interval[0] >= 0.5 * float(np.ptp(choices))
        cautions = dict.fromkeys(text for one in self.fits for text in one.fitted.fit.validity.cautions(curve))
        return Choice(
            evaluated=row,
            low=low,
            high=high,
            marginal=marginal,
            best=best,
            shortest=cheapest_within(SHOWN_WITHIN, line),
            second=second,
            interval=interval,
            is_identified=not wide and not self._laws_differ(choices, candidate, second),
            cautions=(*row.violations, *cautions),
        )

    def _laws_differ(self, choices: Array, candidate: Candidate, second: Evaluated | None) -> bool:
        """Say whether the two laws' choices lie more than a step of what there is to choose from apart."""
        if second is None:
            return False
        values = np.unique(np.append(choices, [candidate.chosen_value, second.candidate.chosen_value]))
        steps = np.searchsorted(values, [candidate.chosen_value, second.candidate.chosen_value])
        return abs(int(steps[0]) - int(steps[1])) > 1

    def _interval_of_choice(self, line: Sequence[Evaluated], candidate: Candidate) -> tuple[float, float] | None:
        """Return between which values the choice lies over the bootstrap samples of the fits."""
        if self.objective.loss is not None or self.objective.budget is not None:
            return None
        curves = [one.candidate.curve(self.old) for one in line]
        sampled = [one.fitted.fit.losses(curves)[1] for one in self.fits]
        count = min(len(rows) for rows in sampled)
        if count == 0:
            return None
        losses = np.sum([one.weight * rows[:count] for one, rows in zip(self.fits, sampled, strict=True)], axis=0)
        room = (
            (self.objective.within or 0.0) if candidate.is_branch else 0.0
        )  # a price that is fixed makes nothing cheaper
        first = np.argmax(losses <= losses.min(axis=1, keepdims=True) + room, axis=1)
        choices = np.array([one.candidate.chosen_value for one in line])
        ends = [(1 - self.settings.level) / 2, (1 + self.settings.level) / 2]
        least, most = np.quantile(choices[first], ends, method="nearest")
        return min(float(least), candidate.chosen_value), max(float(most), candidate.chosen_value)

    def _shift(self, chosen: Sequence[Evaluated]) -> DomainShift | None:
        of_old = [one.fitted.fit for one in self.fits if _is_of_old_data(one.fitted.fit)]
        if self.old is None or not of_old:
            return None
        curve = chosen[-1].candidate.curve(self.old)
        if curve.boundary is None:
            return None
        values = of_old[0].values
        area = float(forward_area(curve.rates_U)[curve.boundary])
        rate = float(curve.rates_U[curve.boundary])
        turning, critical = turning_area(values, before=area), critical_area(values)
        return DomainShift(
            potential=loss_potential(curve),
            before=curve.boundary,
            turning=None if turning is None else turning / max(rate, 1e-300),
            critical=critical / float(curve.rates_U[: curve.boundary].max()) if math.isfinite(critical) else None,
        )


def _beside(candidate: Candidate, rows: Sequence[Evaluated]) -> list[Evaluated]:
    """Return the rows that differ from a candidate in α, or in the share replayed, at most, by price."""
    line = [row for row in rows if row.candidate.version == candidate.version and row.candidate.is_beside(candidate)]
    return sorted(line, key=lambda row: row.candidate.updates)


def _is_of_old_data(fit: Fit) -> bool:
    return isinstance(fit.law, ContinualLaw | ShiftedLastIterateLaw) and fit.law.domain is Domain.OLD
