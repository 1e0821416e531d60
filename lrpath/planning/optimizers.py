"""Optimizers, as settings: what determines their updates besides the rate, which comes from the schedule.

    adamw           AdamW with decoupled decay on matrices
    averaged_adamw  the same updates, and beside the weights their running average, which is evaluated and released
    schedule_free   schedule-free AdamW (arXiv 2405.15682): gradients are taken near the average, which is released
    schedule_free_plus  the same with inner momentum and a growing share of the average (arXiv 2605.19095)
    muon            orthogonalized momentum for the matrices of blocks, AdamW for all else (arXiv 2502.16982)
    ademamix        AdamW with a second, slow average of the gradient (arXiv 2409.03137)
    module:Name     your own class; `lrpath.training.optimizers` says what it must have

A class of an optimizer holds its settings and states what others must know of it: `released` says of which tensors of a
state the weights of a release are made, and `kept` how many tensors a state has for a parameter beside it. No torch is
needed to plan with one, or to read a study that was trained by it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from lrpath.errors import ConfigError
from lrpath.planning.own_code import OWN, find_code, is_own, own_settings
from lrpath.planning.plain import convert


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFreePlus(AdamW):
    """ScheduleFree+ at the plan's rate; `lrpath.training.optimizers.schedule_free_plus` has its formulas.

    Args:
        power: Exponent `r` of the average's weights `t^r · (largest rate so far)²`; at least 0.
        share: Share of the average in the point where gradients are taken, at first; in `[0, 1)`.
        last_share: What it grows to; at least `share`, below 1.
        share_updates: After how many updates it has that value [updates]; 0: from the beginning.
        average_after: How many first updates are left out of the average [updates].
    """

    kind: ClassVar[str] = "schedule_free_plus"
    kept: ClassVar[int] = 4
    """The two moments, the base `z` and the average."""
    power: float
    share: float
    last_share: float
    share_updates: int
    average_after: int

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return AdamW._rules(self) | {
            "power": (0 <= self.power < math.inf, "at least 0"),
            "share": (0 <= self.share < 1, "in [0, 1)"),
            "last_share": (self.share <= self.last_share < 1, f"at least share={self.share}, and below 1"),
            "share_updates": (self.share_updates >= 0, "at least 0"),
            "average_after": (self.average_after >= 0, "at least 0"),
        }

    @property
    def released(self) -> dict[str, float]:
        """Weights of a release: the average."""
        return {"average": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Muon(AdamW):
    """Muon for the matrices of blocks, AdamW for vectors, embeddings and output head, all at the rate of the schedule.

    `lrpath.training.optimizers.muon` has the formulas. Its updates are scaled to the size of AdamW's, so that AdamW's
    rates and weight decay fit (arXiv 2502.16982, section 2.2).

    Args:
        momentum: Decay of the momentum of matrices, in `[0, 1)`.
        newton_schulz_steps: Iterations that orthogonalize it; at least 1.
    """

    kind: ClassVar[str] = "muon"
    kept: ClassVar[int] = 2
    """At most: the two moments of what AdamW updates; a matrix of a block has its momentum alone."""
    momentum: float
    newton_schulz_steps: int

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return AdamW._rules(self) | {
            "momentum": (0 <= self.momentum < 1, "in [0, 1)"),
            "newton_schulz_steps": (1 <= self.newton_schulz_steps <= 99, "between 1 and 99"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AdEMAMix(AdamW):
    """AdamW with a second, slow average of the gradient; `lrpath.training.optimizers.ademamix` has its formulas.

    Args:
        beta3: Decay of the slow average once it has grown from `beta1`; at least `beta1`, below 1.
        slow_factor: What the slow average is multiplied by once that has grown from 0; at least 0, where 0 is AdamW.
        growing_updates: After how many updates both have grown [updates]; 0: from the beginning.
    """

    kind: ClassVar[str] = "ademamix"
    kept: ClassVar[int] = 3
    """The two moments, and the slow average."""
    beta3: float
    slow_factor: float
    growing_updates: int

    def _rules(self) -> dict[str, tuple[bool, str]]:
        return AdamW._rules(self) | {
            "beta1": (0 < self.beta1 < 1, "in (0, 1): the slow average's decay grows from it"),
            "beta3": (self.beta1 <= self.beta3 < 1, f"at least beta1={self.beta1}, and below 1"),
            "slow_factor": (0 <= self.slow_factor < math.inf, "at least 0"),
            "growing_updates": (self.growing_updates >= 0, "at least 0"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOptimizer:
    """An optimizer class of yours, as plain data: no code is needed to read a study that was trained by it.

    Args:
        name: Qualified name of the class inside its module.
        code: Digest of its source; see `lrpath.planning.own_source`.
        settings: Its constructor's arguments besides the parameters, defaults filled in.
        weight_decay: Decoupled weight decay; set on the groups of matrices before every update.
        clip_norm: Largest norm of the whole gradient; None leaves it as it is.
        released: Weights of a release, as a sum over a state's tensors: their kind, and its coefficient.
        reference: `module:Name` of the class, for training; no part of an id, since code may move.
    """

    kind: ClassVar[str] = OWN
    name: str
    code: str
    settings: Mapping[str, Any]
    weight_decay: float
    clip_norm: float | None
    released: Mapping[str, float]
    reference: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        rules = AdamW._rules(_Checked(weight_decay=self.weight_decay, clip_norm=self.clip_norm))  # type: ignore[arg-type]
        for name in ("weight_decay", "clip_norm"):
            holds, rule = rules[name]
            if not holds:
                value = getattr(self, name)
                raise ConfigError(f"optimizer.{name}={value} must be {rule}", field=f"optimizer.{name}", value=value)

    @property
    def kept(self) -> int:
        """Tensors that it is taken to keep for a parameter: two moments, and what else a release is made of."""
        return AdamW.kept + len(self.released.keys() - {"model"})

    @classmethod
    def is_meant(cls, value: Mapping[str, Any]) -> bool:
        """Say whether plain data describe one."""
        return is_own(value.get("kind"), group="optimizers")

    @classmethod
    def of_own_code(cls, value: Mapping[str, Any], *, place: str) -> "OwnOptimizer":
        """Return the optimizer that a configuration describes: `kind`, `weight_decay`, `clip_norm`, and its settings.

        Raises:
            ConfigError: If the class is not found, lacks a method, or refuses a setting.
        """
        kind_field = f"{place}.kind"
        code = find_code(value["kind"], group="optimizers", field=kind_field)
        code.check_has("step", "state_of", what="an optimizer", field=kind_field)
        hints = {"weight_decay": float, "clip_norm": float | None}
        if missing := next((name for name in hints if name not in value), None):
            text = f"{place}.{missing} is missing; give it a value: {place}.{missing}=…"
            raise ConfigError(text, field=f"{place}.{missing}")
        ours = {name: convert(hint, value[name], place=f"{place}.{name}") for name, hint in hints.items()}
        given = {name: entry for name, entry in value.items() if name not in ("kind", *ours)}
        settings = own_settings(code, given, given=_PARAMETERS, field=place)
        released: Any = getattr(code.value, "released", {"model": 1.0})
        released = released(**settings) if callable(released) else released
        return cls(
            reference=code.name,
            name=code.value.__qualname__,
            code=code.digest,
            settings=settings,
            released={str(kind): float(share) for kind, share in released.items()},
            **ours,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """What the rules of AdamW look at, of an optimizer that is not AdamW."""

    weight_decay: float
    clip_norm: float | None
    beta1: float = 0.0
    beta2: float = 0.0
    eps: float = 1.0


_PARAMETERS = ("self", "params", "parameters", "lr")
"""What lrpath gives a class of yours: the groups of parameters; the rate is set before every update."""

Optimizer = AdamW | AveragedAdamW | ScheduleFree | ScheduleFreePlus | Muon | AdEMAMix | OwnOptimizer

OPTIMIZERS: dict[str, type[AdamW]] = {
    kind.kind: kind for kind in (AdamW, AveragedAdamW, ScheduleFree, ScheduleFreePlus, Muon, AdEMAMix)
}
"""Every optimizer of lrpath by its kind."""


def write_optimizer(optimizer: Optimizer) -> str:
    """Write an optimizer and its settings for people."""
    if isinstance(optimizer, OwnOptimizer):
        settings = ", ".join(f"{name} {value}" for name, value in sorted(optimizer.settings.items()))
        own = f"{optimizer.name} (own code, digest {optimizer.code}){': ' if settings else ''}{settings}"
        return f"{own}, weight decay {optimizer.weight_decay}"
    name = {"adamw": "AdamW", "muon": "Muon with AdamW", "ademamix": "AdEMAMix"}.get(optimizer.kind, optimizer.kind)
    further = "".join(f", {text}" for text in further_settings(optimizer))
    return f"{name}, β₁ {optimizer.beta1}, β₂ {optimizer.beta2}{further}, weight decay {optimizer.weight_decay}"


def further_settings(optimizer: AdamW) -> list[str]:
    """Write for people the settings that an optimizer of lrpath has beside AdamW's.

    >>> common = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0}
    >>> further_settings(Muon(**common, momentum=0.95, newton_schulz_steps=5))
    ['momentum 0.95', 'newton schulz steps 5']
    >>> further_settings(AdamW(**common))
    []
    """
    known = {one.name for one in fields(AdamW)}
    return [f"{name.replace('_', ' ')} {value}" for name, value in asdict(optimizer).items() if name not in known]


def as_record(optimizer: Optimizer) -> dict[str, Any]:
    """Return an optimizer as plain data; AdamW, once the only one, has no `kind`, so that ids of old paths stay.

    One of yours is recorded without the module that it was in: a class that moves is the same.
    """
    if isinstance(optimizer, OwnOptimizer):
        record = {"kind": OWN} | asdict(optimizer)
        del record["reference"]
        return record
    kind = {} if type(optimizer) is AdamW else {"kind": optimizer.kind}
    return kind | asdict(optimizer)


def from_record(record: dict[str, Any]) -> Optimizer:
    """Return the optimizer that `as_record` wrote.

    >>> settings = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0}
    >>> from_record(settings).released
    {'model': 1.0}
    """
    settings = {name: value for name, value in record.items() if name != "kind"}
    kinds: dict[str, type[Optimizer]] = {OWN: OwnOptimizer, **OPTIMIZERS}
    return kinds[record.get("kind", AdamW.kind)](**settings)
