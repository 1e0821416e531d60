"""How a law is fitted, as a configuration says it: values and comments are those of `conf/laws.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lrpath.errors import ConfigError
from lrpath.laws.curve_files import CurveFile

TRAIN = "train"
"""What the training loss is called among the sets."""


def names_in(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the names in a field that has one or a list; none for null.

    >>> names_in("v1"), names_in(None)
    (('v1',), ())
    """
    return () if value is None else (value,) if isinstance(value, str) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How a law is fitted; `conf/laws.yaml` holds the values and their comments.

    Args:
        law: Name of a law, or a file that `lrpath.predict` wrote, ending in `.json`.
        fixed: Parameters by name that are not sought; None for those that the law is usually fitted with.
        set: `train`, or patterns of held-out sets, see `EvaluationSets.choose`.
        fit: Patterns of the paths that are fitted; None for all that have been run.
        files: Files whose curves are fitted too.
        files_warmup: Updates of the warm-up that files do not show which do not say it themselves; None if they begin
            where the run begins.
        old: For laws with a change of data: versions that are the old data.
        skip: First updates that are not fitted [updates]; None for twice the warm-up.
        bins: Most observations of a curve; more are averaged.
        bootstrap_samples: Samples of the bootstrap that intervals of parameters come from; 0 for none.
        interval: Where intervals of predictions come from, see `intervals`.
        margin: What widens them beyond the two laws [nats per token].
        gain_margin: What widens them further, as a share of what annealing is predicted to gain.
        level: Probability of the intervals.
        extrapolate: Whether the law is asked outside of its range of validity.
    """

    law: str
    fixed: dict[str, float] | None
    set: str | tuple[str, ...]
    fit: str | tuple[str, ...] | None
    files: tuple[str | CurveFile, ...]
    files_warmup: int | None
    old: str | tuple[str, ...]
    skip: int | None
    bins: int
    bootstrap_samples: int
    interval: Literal["laws", "finished"]
    margin: float
    gain_margin: float
    level: float
    extrapolate: bool

    def __post_init__(self) -> None:
        for name, least in (
            ("skip", 0),
            ("bins", 4),
            ("bootstrap_samples", 0),
            ("files_warmup", 0),
            ("margin", 0),
            ("gain_margin", 0),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}={value} must be at least {least}", field=name, value=value)
        if not 0 < self.level < 1:
            raise ConfigError(
                f"level={self.level} must lie in (0, 1): it is a probability", field="level", value=self.level
            )
        for name in ("set", "old"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty; leave it out for that of conf/laws.yaml", field=name, value=())

    def curve_files(self, files: tuple[str | CurveFile, ...]) -> tuple[CurveFile, ...]:
        """Return files with what they do not say themselves."""
        return tuple(
            CurveFile(path=file, warmup=self.files_warmup) if isinstance(file, str) else file for file in files
        )

    def as_record(self) -> Mapping[str, Any]:
        """Return what the fit was made with, as plain data; `read_fitted` needs some of it."""
        return {
            "law": self.law,
            "fixed": self.fixed,
            "set": list(names_in(self.set)),
            "fit": None if self.fit is None else list(names_in(self.fit)),
            "files": [file.path for file in self.curve_files(self.files)],
            "old": list(names_in(self.old)),
            "skip": self.skip,
            "bins": self.bins,
            "bootstrap_samples": self.bootstrap_samples,
            "interval": self.interval,
            "margin": self.margin,
            "gain_margin": self.gain_margin,
            "level": self.level,
            "extrapolate": self.extrapolate,
        }
