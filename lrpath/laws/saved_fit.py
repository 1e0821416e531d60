"""Fits by name, and as plain data, so that a law fitted on one machine is asked on another."""

import pathlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from lrpath.errors import LawError
from lrpath.laws.continual import ContinualLaw, Domain
from lrpath.laws.curves import Curve
from lrpath.laws.fit import Fit
from lrpath.laws.law import AnnealingLaw, ChinchillaLaw, Law
from lrpath.laws.multi_power import MultiPowerLaw
from lrpath.laws.validity import ValidityRange
from lrpath.records.files import read_json

FORMAT = 1
NAMES = ("annealing", "multi_power", "continual", "chinchilla")
DEFAULT_FIXED: Mapping[str, Mapping[str, float]] = {"multi_power": {"beta": 0.5, "gamma": 0.5}}
"""Parameters that a law is fitted with unless others are given; see `MultiPowerLaw` for why."""


def law_named(name: str, *, domain: Domain | None = None, curves: Sequence[Curve] = ()) -> Law:
    """Return a law.

    Args:
        name: One of `NAMES`.
        domain: For `continual`: whether the losses are of old or of new data.
        curves: For `continual`: what it will be fitted to; replay is a term of the law if they differ in it.

    Raises:
        LawError: If there is no such law, or a domain is missing.
    """
    if name == "continual":
        if domain is None:
            raise LawError(
                "law=continual is for the loss on old or on new data: choose held-out sets of one of them, set=v1"
            )
        return ContinualLaw(domain=domain, replay=len({c.replay for c in curves if c.boundary is not None}) > 1)
    found = {law.name: law for law in (AnnealingLaw(), MultiPowerLaw(), ChinchillaLaw())}
    if name not in found:
        raise LawError(f"law={name} is none; choose one of {', '.join(NAMES)}, or a file that lrpath.predict wrote")
    return found[name]


def as_record(fit: Fit) -> dict[str, Any]:
    """Return a fit as plain data, without its curves; `from_record` reads it back."""
    candidates = {field.name: getattr(fit.law, field.name) for field in fields(fit.law)}  # type: ignore[arg-type]
    if isinstance(fit.law, ContinualLaw):
        candidates["domain"] = fit.law.domain.value
    return {
        "format": FORMAT,
        "law": candidates,
        "curves": list(fit.names),
        "values": fit.values,
        "fixed": list(fit.fixed),
        "bootstrap_samples": fit.samples_BQ.tolist(),
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
            raise LawError(f"{place} has format {record['format']}; this lrpath reads {FORMAT}")
        candidates = dict(record["law"])
        name = candidates.pop("name")
        if name == "continual":
            law: Law = ContinualLaw(**(candidates | {"domain": Domain(candidates["domain"])}))
        else:
            law = type(law_named(name))(**candidates)
        values = {key: float(record["values"][key]) for key in law.names}
        bootstrap_samples = np.array(record["bootstrap_samples"], dtype=np.float64).reshape(-1, len(law.names))
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
            samples_BQ=bootstrap_samples,
            cost=float(record["cost"]),
            residuals_N=np.array(record["residuals"], dtype=np.float64),
            memory=float(record["memory"]),
            condition=float(record["condition"]),
            not_identified=dict(record["not_identified"]),
            validity=ValidityRange(**(dict(record["validity"]) | ranges)),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LawError(f"{place} is no fit of lrpath.predict ({error!r}); choose another, or fit again") from None


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
