"""Which increment a record belongs to: by its file or split, its date, a share of all records, or a field."""

import re
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, pairwise
from typing import Any, Literal

from lrpath.data.manifest import is_name
from lrpath.data.sources.document import (
    Arrival,
    Document,
    hashed_share,
    split_of,
    text_digest,
)
from lrpath.errors import ConfigError, DataError

Rule = Literal["file", "split", "date", "share", "field"]

_DAY = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?(?:$|[T ])")
_ROUNDING = 1e-9  # ten shares of 0.1 add up to 0.9999999999999999


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How records are divided into increments. More versions may be asked for later; earlier ones stay as they are.

    Args:
        by: `file`: the i-th file or folder of each path is version i. `split`: the i-th split of a dataset is.
            `date`: version i has the records dated in `[boundaries[i − 1], boundaries[i])`, v1 all before the first
            boundary; records from the last boundary on wait for a later version. `share`: version i has a random
            share `shares[i]` of all records. `field`: a record's `version` names its version.
        boundaries: Ascending ISO dates (`2017`, `2017-03` and `2017-03-01` are days), one a version.
        shares: Positive, adding up to at most 1, one a version.
        seed: Of the random shares.

    Raises:
        ConfigError: If a list is missing, misplaced, or out of order or range.
    """

    by: Rule
    boundaries: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, owner in (("boundaries", "date"), ("shares", "share")):
            given = bool(getattr(self, name))
            if given and self.by != owner:
                raise ConfigError(
                    f"data.source.versions.{name} belongs to by={owner}, not to by={self.by}; remove it or change by",
                    field=f"data.source.versions.{name}",
                    value=getattr(self, name),
                )
            if self.by == owner and not given:
                raise ConfigError(
                    f"data.source.versions.by={owner} needs {name}, one for each version; add them",
                    field=f"data.source.versions.{name}",
                    value=(),
                )
        days = [_boundary(text) for text in self.boundaries]
        if any(earlier >= later for earlier, later in pairwise(days)):
            raise ConfigError(
                f"data.source.versions.boundaries must ascend: {', '.join(self.boundaries)}; put them in order",
                field="data.source.versions.boundaries",
                value=self.boundaries,
            )
        if self.shares and (min(self.shares) <= 0 or sum(self.shares) > 1 + _ROUNDING):
            raise ConfigError(
                f"data.source.versions.shares must be positive and add up to 1 at most, not {self.shares}",
                field="data.source.versions.shares",
                value=self.shares,
            )

    def spec(self) -> dict[str, Any]:
        """Return what holds for every increment, as plain data."""
        return {"by": self.by, "seed": self.seed if self.by == "share" else None}

    def increment_spec(self, number: int) -> dict[str, Any]:
        """Return what holds for one increment, as plain data.

        Raises:
            ConfigError: If the boundaries or shares end before it.
        """
        listed = {"date": self.boundaries, "share": self.shares}.get(self.by)
        if listed is None:
            return {}
        if number >= len(listed):
            name = "boundaries" if self.by == "date" else "shares"
            raise ConfigError(
                f"data.source.versions.{name} has {len(listed)} entries, but version number {number + 1} was asked "
                "for; add an entry for it",
                field=f"data.source.versions.{name}",
                value=listed,
            )
        if self.by == "date":
            return {"from": self.boundaries[number - 1] if number else None, "until": self.boundaries[number]}
        return {"from": sum(self.shares[:number]), "share": self.shares[number]}

    def holds(self, record: dict[str, Any], digest: bytes, arrival: Arrival, *, place: str) -> bool:
        """Tell whether a record belongs to an increment; the arrival's tally counts those that belong to none.

        Raises:
            DataError: If the record lacks the field that decides, or it is malformed.
        """
        if self.by == "date":
            day, days = _day(record.get("date"), place=place), [_boundary(text) for text in self.boundaries]
            arrival.tally["waiting"] += day >= days[min(len(days), max(len(arrival.versions), 1)) - 1]
            return (not arrival.number or days[arrival.number - 1] <= day) and day < days[arrival.number]
        if self.by == "share":
            edges = [0.0, *accumulate(self.shares)]
            at = hashed_share(digest, seed=self.seed, word="version")
            arrival.tally["waiting"] += at >= edges[min(len(self.shares), max(len(arrival.versions), 1))]
            return edges[arrival.number] <= at < edges[arrival.number + 1]
        if self.by == "field":
            if not isinstance(version := record.get("version"), str):
                raise DataError(f"{place}: versions are divided by field, so `version` must be a string; add it")
            arrival.tally["waiting"] += bool(arrival.versions) and version not in arrival.versions
            return version == arrival.version
        return True

    def document(self, record: dict[str, Any], arrival: Arrival, *, domain: str | None, place: str) -> Document | None:
        """Make the document of a record, or return None if it belongs to another increment.

        Args:
            record: `text`, already checked, and optionally `split`, `date`, `version` and `domain`.
            arrival: The increment that is collected.
            domain: Domain of the document; None reads the record's own, `text` if it has none.
            place: File and line, for messages.

        Raises:
            DataError: If a field is missing or malformed.
        """
        digest = text_digest(record["text"])
        if not self.holds(record, digest, arrival, place=place):
            return None
        domain = record.get("domain", "text") if domain is None else domain
        if not isinstance(domain, str) or not is_name(domain):
            raise DataError(f"{place}: domain must be a short name of letters, digits, `.`, `_`, `-`, not {domain!r}")
        declared = split_of(record["split"], place=place) if "split" in record else None
        return Document(
            text=record["text"], version=arrival.version, domain=domain, declared=declared, fingerprints=(digest,)
        )


def _boundary(text: str) -> date:
    try:
        return _day(text, place="data.source.versions.boundaries")
    except DataError as error:
        raise ConfigError(str(error), field="data.source.versions.boundaries", value=text) from error


def _day(value: object, *, place: str) -> date:
    """Return the day that an ISO date names; a year or a month means its first day."""
    found = _DAY.match(value) if isinstance(value, str) else None
    try:
        if found is not None:
            return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        pass
    raise DataError(f"{place}: date must be an ISO date such as 2017-03-01, not {str(value)[:40]!r}")
