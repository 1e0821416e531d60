"""Laws by name, and fits as plain data, so that a law fitted on one machine is asked on another."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from types import MappingProxyType
from typing import Any

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.continual import ContinualLaw, Domain, ShiftedLastIterateLaw
from lrpath.laws.curves import Curve
from lrpath.laws.fit import Fit
from lrpath.laws.last_iterate import LastIterateLaw
from lrpath.laws.law import AnnealingLaw, ChinchillaLaw, Law
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.validity import ValidityRange
from lrpath.records.files import read_json

FORMAT = 2
SHIFTED = ("continual", "shifted_last_iterate")
"""Laws that know of a change of data."""
_PLAIN: Mapping[str, Callable[[], Law]] = MappingProxyType(
    {
        "last_iterate": LastIterateLaw,
        "multi_power": MultiPowerLaw,
        "annealing": AnnealingLaw,
        "chinchilla": ChinchillaLaw,
    }
)
NAMES = (*_PLAIN, *SHIFTED)
_POWERS = {"rho": 0.8, "zeta": 0.1}
USUAL_FIXED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "last_iterate": _POWERS,
        "shifted_last_iterate": _POWERS,
        "multi_power": {"beta": 0.5, "gamma": 0.5},
        # the papers' value; freed, λ comes out .988 to .9998 by what is fitted: no time constant of training
        "annealing": {"lambda": 0.999},
        "continual": {"lambda": 0.999},
    }
)
"""Parameters that a law is fitted with unless others are given; `fixed={}` gives none."""
SECOND: Mapping[str, str] = MappingProxyType(
    {
        "last_iterate": "multi_power",
        "multi_power": "last_iterate",
        "annealing": "last_iterate",
        "chinchilla": "last_iterate",
        "continual": "shifted_last_iterate",
        "shifted_last_iterate": "continual",
    }
)
"""The law of another memory that each is set against."""


def law_named(name: str, *, domain: Domain | None = None, curves: Sequence[Curve] = ()) -> Law:
    """Return a law.

    Args:
        name: One of `NAMES`.
        domain: For those of `SHIFTED`: whether the losses are of old or of new data.
        curves: For those: what it will be fitted to; replay, and the size of the model, are terms of the law if curves
            differ in them.

    Raises:
        LawError: If there is no such law, or a domain is missing.
    """
    if name in _PLAIN:
        return _PLAIN[name]()
    if name not in SHIFTED:
        raise LawError(
            f"unknown law {name!r}; choose one of {', '.join(NAMES)}, or a file that lrpath.predict wrote",
            field="law",
            value=name,
        )
    if domain is None:
        raise LawError(
            f"law={name} needs the loss on old or on new data: choose held-out sets of one of them, set=v1",
            field="set",
        )
    replay = len({curve.replay for curve in curves if curve.boundary is not None}) > 1
    if name == "shifted_last_iterate":
        return ShiftedLastIterateLaw(domain=domain, replay=replay)
    return ContinualLaw(domain=domain, replay=replay, sizes=len({curve.parameters for curve in curves}) > 1)


def as_record(fit: Fit) -> dict[str, Any]:
    """Return a fit as plain data, without its curves; `from_record` reads it back."""
    options = {field.name: getattr(fit.law, field.name) for field in fields(fit.law)}  # type: ignore[arg-type]
    if isinstance(fit.law, ContinualLaw | ShiftedLastIterateLaw):
        options["domain"] = fit.law.domain.value
    return {
        "format": FORMAT,
        "law": options,
        "curves": list(fit.names),
        "values": fit.values,
        "fixed": list(fit.fixed),
        "steps": fit.steps_BF.tolist(),
        "cost": fit.cost,
        "residuals": fit.residuals_N.tolist(),
        "memory": fit.memory,
        "condition": fit.condition,
        "not_identified": fit.not_identified,
        "validity": asdict(fit.validity),
    }


def from_record(record: Mapping[str, Any], *, place: str) -> Fit:
    """Return the fit that `as_record` wrote.

    Args:
        record: The plain data.
        place: Where they come from, for the message.

    Raises:
        LawError: If they are of another format, or altered.
    """
    try:
        if record["format"] != FORMAT:
            raise LawError(f"{place} has format {record['format']}; this lrpath reads {FORMAT}: fit again")
        options = dict(record["law"])
        name = options.pop("name")
        if "domain" in options:
            options["domain"] = Domain(options["domain"])
        law: Law = type(law_named(name, domain=options.get("domain")))(**options)
        values = {key: float(record["values"][key]) for key in law.names}
        free = len(law.names) - len(record["fixed"])
        steps = np.array(record["steps"], dtype=np.float64).reshape(-1, free)
        ranges = {
            key: None if record["validity"][key] is None else tuple(record["validity"][key])
            for key in ("potential", "replay", "parameters")
        }
        return Fit(
            law=law,
            curves=(),
            names=tuple(record["curves"]),
            values=values,
            fixed=tuple(record["fixed"]),
            steps_BF=steps,
            cost=float(record["cost"]),
            residuals_N=np.array(record["residuals"], dtype=np.float64),
            memory=float(record["memory"]),
            condition=float(record["condition"]),
            not_identified=dict(record["not_identified"]),
            validity=ValidityRange(**(dict(record["validity"]) | ranges)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LawError(f"{place} is not a fit of lrpath.predict ({error!r}); choose another, or fit again") from None


def read_fits(file: pathlib.Path) -> tuple[dict[str, Any], dict[str, Fit]]:
    """Return what a file that `lrpath.predict` or `lrpath.advise` wrote says of its fits, and the fits by set.

    Raises:
        LawError: If it is no such file.
        OSError: If it cannot be read.
    """
    record = read_json(file)
    if not isinstance(record, dict) or not isinstance(record.get("fits"), dict) or not record["fits"]:
        raise LawError(f"{file} holds no fits; give a law.json that lrpath.predict or lrpath.advise wrote")
    return record, {name: from_record(fit, place=str(file)) for name, fit in record["fits"].items()}
