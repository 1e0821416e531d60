"""Guards a path against updates that would spoil it: which losses and gradients are at fault, and what is then done.

An update is at fault if its loss, or the norm of its whole gradient before clipping, is not finite or, where a rule is
given, lies above

    bound = median + spike × 1.4826 × median of |value − median|,

over the last `window` finite values of its path. For a normal distribution the second median times 1.4826 is the
standard deviation; unlike it, neither median moves when a few values are spikes. A path is judged by its own values
alone, and not for spikes before it has `window` of them: a path that begins on other data or at another rate may lie at
another level than its parent. Values of updates that were skipped count too, so a level that stays becomes usual.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from lrpath.errors import PlanError

SCALE = 1.4826
"""1 / Φ⁻¹(3/4): median absolute deviation → standard deviation of a normal distribution."""

REPORTED = 6.0
"""Deviations from which a state is said to lie in a spike where no rule is given; OLMo-core skips updates from 6 on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why an update is at fault.

    Args:
        quantity: `loss` or `gradient norm`.
        value: What it was.
        bound: What it must not exceed; infinity where any finite value would do.
    """

    quantity: str
    value: float
    bound: float

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return f"{self.quantity} {self.value} is not finite"
        return f"{self.quantity} {self.value:.6g} is above its bound {self.bound:.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What is at fault, and what is done about it.

    Args:
        policy: `stop` ends the run, and no state from the fault on is saved; `skip` leaves weights and moments as they
            are and goes on with the next update; `rewind` goes back and runs again without the updates before the
            fault either.
        spike: Deviations above the median from which a loss or gradient is a spike; None: only what is not finite is
            at fault.
        window: Values that median and deviation are taken of [updates].
        back: Updates before the fault that `rewind` leaves out too; never so many that a state that a plan needs,
            and branches may have left from, would become another one.
        limit: A path on which more updates than this are at fault ends.
    """

    policy: Literal["stop", "skip", "rewind"]
    spike: float | None
    window: int
    back: int
    limit: int

    def __post_init__(self) -> None:
        rules = {
            "policy": (self.policy in ("stop", "skip", "rewind"), "stop, skip or rewind"),
            "spike": (self.spike is None or 0 < self.spike < math.inf, "positive, or null for no rule about spikes"),
            "window": (self.window >= 4, "at least 4"),
            "back": (self.back >= 1, "at least 1; use guard.policy=skip to leave out the update at fault alone"),
            "limit": (self.limit >= 1, "at least 1; use guard.policy=stop to end at the first update at fault"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                value = getattr(self, name)
                raise PlanError(f"guard.{name}={value} must be {rule}", field=f"guard.{name}", value=value)

    @property
    def acts(self) -> bool:
        """Whether it changes the numbers of a path; `stop` only ends it."""
        return self.policy != "stop"

    def identity(self) -> dict[str, Any]:
        """Return what determines a path's numbers; nothing for `stop`, and never the limit, which may be raised."""
        if not self.acts:
            return {}
        rule = {} if self.spike is None else {"spike": self.spike, "window": self.window}
        return {"policy": self.policy} | rule | ({"back": self.back} if self.policy == "rewind" else {})

    def fault(self, *, loss: float, norm: float, losses: Sequence[float], norms: Sequence[float]) -> Fault | None:
        """Return why an update is at fault, or None.

        Args:
            loss: Mean loss of the update [nats per token].
            norm: Norm of its whole gradient, before clipping.
            losses: The finite losses before it on its path, at least the last `window` if there are as many.
            norms: Its finite gradient norms likewise.
        """
        for quantity, value, before in (("loss", loss, losses), ("gradient norm", norm, norms)):
            bound = self.bound(before, spike=self.spike)
            if not math.isfinite(value) or value > bound:
                return Fault(quantity=quantity, value=value, bound=bound)
        return None

    def bound(self, values: Sequence[float], *, spike: float | None) -> float:
        """Return what the next value must not exceed; infinity without a rule, or before there are enough values.

        >>> round(UNGUARDED.bound([9.0, 2.0, 1.0, 3.0, 2.0], spike=2.0), 4)  # median 2, deviation 0.5 × 1.4826
        3.4826
        """
        if spike is None or len(values) < self.window:
            return math.inf
        last = values[-self.window :]
        middle = median(last)
        return middle + spike * SCALE * median(abs(value - middle) for value in last)


UNGUARDED = Guard(policy="stop", spike=None, window=4, back=1, limit=1)
"""Changes no number of any path; also stands for what a path on disk does not record, since it has no effect."""
