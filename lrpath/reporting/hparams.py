"""The rows of TensorBoard's HPARAMS: one a series, with what it was given and what its last release is worth."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lrpath.analysis.compare import Outcome, Series
from lrpath.analysis.labels import SEEDS

MOST_CHOICES = 8
"""A number with more values than this is filtered by its range, not value by value."""
_ALWAYS = ("alpha", *SEEDS)
"""HparamValues that have a column even where they are the same in all rows."""
_TITLES = {
    "release/loss": "loss [nats/token]",
    "release/bits_per_byte": "loss [bits/byte]",
    "release/perplexity": "perplexity",
    "release/updates": "updates",
    "release/cost": "cost [× scratch]",
}
"""How the columns of figures are called, by tag."""

HparamValues = dict[str, float | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HparamsRow:
    """A series.

    Args:
        name: Name of a folder, unlike that of any other row.
        series: The series.
        last: Its last release that was evaluated; None while there is none.
        settings: What stands in the columns of settings.
    """

    name: str
    series: Series
    last: Outcome | None
    settings: HparamValues

    def figures(self) -> dict[str, float]:
        """Return the figures of the last release by tag; none while there is no release."""
        if self.last is None or (score := self.last.headline) is None:
            return {}
        values = (score.loss, score.bits_per_byte, score.perplexity, self.last.cost.updates, self.last.relative_cost)
        return {tag: value for tag, value in zip(_TITLES, values, strict=True) if value is not None}

    def summary(self) -> Any:
        """Return TensorBoard's summary of the settings."""
        from tensorboard.plugins.hparams import summary_v2

        return summary_v2.hparams_pb(self.settings, trial_id=self.series.label)


def hparams_rows(outcomes: Sequence[Outcome]) -> tuple[HparamsRow, ...]:
    """Return a row for every series; its columns are the settings that differ between series, α and the seed."""
    releases: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        releases.setdefault(outcome.series.label, []).append(outcome)
    every = [found[0].series for found in releases.values()]
    settings = _alike([_settings(series) for series in every])
    if all(series.kind == series.paradigm for series in every):
        settings = [{name: value for name, value in found.items() if name != "kind"} for found in settings]
    values: dict[str, set[float | str]] = {}
    for name, value in (item for found in settings for item in found.items()):
        values.setdefault(name, set()).add(value)
    columns = [name for name in values if name in _ALWAYS or len(values[name]) > 1]
    rows: dict[str, HparamsRow] = {}
    for number, (series, found) in enumerate(zip(every, settings, strict=True), start=1):
        made = [outcome for outcome in releases[series.label] if outcome.headline is not None]
        last = max(made, key=lambda outcome: outcome.number, default=None)
        head: HparamValues = {"paradigm": series.paradigm}
        if last is not None:
            head["release"] = last.version
        name = folder_name(series.label)
        name = f"{name}-{number}" if name in rows else name
        shown = {column: found[column] for column in columns if column in found}
        rows[name] = HparamsRow(name=name, series=series, last=last, settings=head | shown)
    return tuple(rows.values())


def folder_name(label: str) -> str:
    """Return a label as the name of a folder, which TensorBoard shows as the name of a run."""
    return re.sub(r"[^A-Za-z0-9._=,()-]+", "_", label)[:80]


def columns(rows: Sequence[HparamsRow]) -> Any:
    """Return TensorBoard's summary of the columns that some rows have."""
    from tensorboard.plugins.hparams import summary_v2

    found = []
    for name in dict.fromkeys(name for row in rows for name in row.settings):
        values = sorted({row.settings[name] for row in rows if name in row.settings})
        many = len(values) > MOST_CHOICES and not isinstance(values[0], str)
        domain = summary_v2.RealInterval(values[0], values[-1]) if many else summary_v2.Discrete(values)
        found.append(summary_v2.HParam(name, domain))
    metrics = [summary_v2.Metric(tag, display_name=title) for tag, title in _TITLES.items()]
    return summary_v2.hparams_config_pb(found, metrics)


def _settings(series: Series) -> HparamValues:
    """Return what a series was given, as numbers and text; what is None is left out."""
    found = {"study": series.study.name} | series.settings
    return {
        name: value if isinstance(value, str) else float(value) if type(value) in (int, float) else str(value)
        for name, value in found.items()
        if value is not None
    }


def _alike(found: Sequence[HparamValues]) -> list[HparamValues]:
    """Turn the numbers of a column that has text too, such as lists of one α a version, into text."""
    texts = {name for settings in found for name, value in settings.items() if isinstance(value, str)}
    return [
        {
            name: f"{value:g}" if name in texts and isinstance(value, float) else value
            for name, value in settings.items()
        }
        for settings in found
    ]
