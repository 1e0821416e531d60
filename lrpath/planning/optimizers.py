"""Optimizers, as settings: what determines their updates besides the rate, which comes from the schedule.

    adamw           AdamW with decoupled decay on matrices
    averaged_adamw  the same updates, and beside the weights their running average, which is evaluated and released
    schedule_free   schedule-free AdamW (arXiv 2405.15682): gradients are taken near the average, which is released

A class of an optimizer holds its settings and states what others must know of it: `released` says of which tensors of a
state the weights of a release are made, and `kept` how many tensors a state has for a parameter beside it. No torch is
needed to plan with one, or to read a study that was trained by it.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from lrpath.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """AdamW; the decay is decoupled and acts on matrices only.

    Args:
        beta1: Decay of the first moment, in `[0, 1)`.
        beta2: Decay of the second moment, in `[0, 1)`.
        eps: Added to the root of the second moment; positive.
        weight_decay: Decoupled weight decay, multiplied by the rate; at least 0.
        clip_norm: Largest norm of the whole gradient; None leaves it as it is.
    """

    kind: ClassVar[str] = "adamw"
    kept: ClassVar[int] = 2
    """Tensors that it keeps for a parameter, each of the parameter's size: here the two moments."""
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    clip_norm: float | None

    def __post_init__(self) -> None:
        for name, (holds, rule) in self._rules().items():
            if not holds:
                value = getattr(self, name)
                raise ConfigError(f"optimizer.{name}={value} must be {rule}", field=f"optimizer.{name}", value=value)

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return {
            "beta1": (0 <= self.beta1 < 1, "in [0, 1)"),
            "beta2": (0 <= self.beta2 < 1, "in [0, 1)"),
            "eps": (0 < self.eps < math.inf, "positive"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
            "clip_norm": (self.clip_norm is None or 0 < self.clip_norm < math.inf, "positive, or null for no clipping"),
        }

    @property
    def released(self) -> dict[str, float]:
        """Weights of a release, as a sum over a state's tensors: their kind, and its coefficient."""
        return {"model": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragedAdamW(AdamW):
    """AdamW beside whose weights their running average is kept, which is what is evaluated and released.

    After update t the average is `x_t = x_{t−1} + c_t·(θ_t − x_{t−1})` with `c_t = t^r / Σ_{s≤t} s^r`. Its horizon is a
    share of the position, so that one path serves versions of every length (arXiv 2602.03702): with `r = 9` a half of
    the weight lies on the last 7 % of all updates, with `r = 4` on the last 13 %, with `r = 0` on the last half.

    Args:
        power: Exponent `r` of the average's weights; at least 0.
    """

    kind: ClassVar[str] = "averaged_adamw"
    kept: ClassVar[int] = 3
    """The two moments, and the average."""
    power: float

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return AdamW._rules(self) | {"power": (0 <= self.power < math.inf, "at least 0")}

    @property
    def released(self) -> dict[str, float]:
        """Weights of a release: the average."""
        return {"average": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFree(AdamW):
    """Schedule-free AdamW; `lrpath.training.optimizers.schedule_free` has its formulas.

    Args:
        power: Exponent `r` of the average's weights `t^r · (largest rate so far)²`; at least 0.
    """

    kind: ClassVar[str] = "schedule_free"
    kept: ClassVar[int] = 2
    """The second moment, and the base `z`."""
    power: float

    def _rules(self) -> dict[str, tuple[bool, str]]:
        rules = AdamW._rules(self) | {"power": (0 <= self.power < math.inf, "at least 0")}
        return rules | {"beta1": (0 < self.beta1 < 1, "in (0, 1): gradients are taken at that share of the average")}

    @property
    def released(self) -> dict[str, float]:
        """Weights of a release: the average `x = (y − (1 − β₁)·z) / β₁` of the live weights `y` and the base `z`."""
        return {"model": 1.0 / self.beta1, "z": 1.0 - 1.0 / self.beta1}


Optimizer = AdamW | AveragedAdamW | ScheduleFree

OPTIMIZERS: dict[str, type[Optimizer]] = {kind.kind: kind for kind in (AdamW, AveragedAdamW, ScheduleFree)}
"""Every optimizer by its kind."""


def as_record(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer as plain data; AdamW, once the only one, has no `kind`, so that ids of old paths stay."""
    kind = {} if type(optimizer) is AdamW else {"kind": optimizer.kind}
    return kind | asdict(optimizer)


def from_record(record: dict[str, Any]) -> Optimizer:
    """Return the optimizer that `as_record` wrote.

    >>> settings = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0}
    >>> from_record(settings).released
    {'model': 1.0}
    """
    fields = {name: value for name, value in record.items() if name != "kind"}
    return OPTIMIZERS[record.get("kind", AdamW.kind)](**fields)
