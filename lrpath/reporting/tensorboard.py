"""What TensorBoard shows of studies besides the curves of their paths, made anew from what is on disk at every report.

report/tb/                  layouts (CUSTOM SCALARS); findings, tables and trees (TEXT); figures (IMAGES)
report/tb/<series>/         a row of HPARAMS: what the series was given, and of its last release loss and cost
report/tb/<series>/<path>   a link to the curves of a path, so that its run is named by its series: with its α and seed
"""

import pathlib
import re
import shutil
import time
from collections.abc import Sequence
from typing import Any

from lrpath.analysis.compare import Outcome, Series
from lrpath.analysis.comparison import StudyComparison
from lrpath.analysis.task_comparison import outcome_task_scores
from lrpath.records.events import Event, EventFile, scalars
from lrpath.reporting.hparams import columns, hparams_rows
from lrpath.reporting.page import Picture
from lrpath.reporting.release_tables import held_out_versions
from lrpath.reporting.tables import ReportTable
from lrpath.reporting.tensorboard_runs import link_runs, named_runs, runs_table
from lrpath.reporting.tree_text import tree_text

MOST_SELECTED = 40
"""Of more runs than this TensorBoard selects none by default."""
MOST_TREES = 12
"""With more plans than this, the trees of the first are shown."""


def write_tensorboard(
    folder: pathlib.Path,
    comparison: StudyComparison,
    *,
    findings: Sequence[str],
    tables: Sequence[ReportTable],
    pictures: Sequence[Picture] = (),
) -> int:
    """Write a report's event files in place of those that are there, and return how many runs there are.

    One process at a time may do so.

    Args:
        folder: Where to; folders in it that are of no series are removed.
        comparison: The facts.
        findings: Sentences.
        tables: Shown as text, in order.
        pictures: Shown as images, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows, runs = hparams_rows(comparison.outcomes), named_runs(comparison.series)
    kept = {row.name for row in rows} | {run.folder for run in runs}
    for old in folder.iterdir():
        if old.is_dir() and old.name not in kept:
            shutil.rmtree(old)
    texts = {"Findings": "\n".join(f"- {sentence}" for sentence in findings)}
    every = [row.series for row in rows]
    texts |= {table.title: _as_it_stands(table.text()) for table in (*tables, runs_table(runs))}
    texts |= {"Trees": _trees(every)}
    numbered = enumerate(texts.items(), start=1)  # TensorBoard sorts by name
    shown = [_text(f"report/{number} {title}", text) for number, (title, text) in numbered]
    images = [
        _image(f"figures/{number} {picture.file.stem}", picture) for number, picture in enumerate(pictures, start=1)
    ]
    EventFile(folder, map(_event, [_layout(comparison.outcomes), columns(rows), *shown, *images])).close()
    for row in rows:
        figures = [] if row.last is None else [scalars(row.last.number, row.figures(), seconds=time.time())]
        figures += _task_figures(row.series, comparison)
        EventFile(folder / row.name, [_event(row.summary()), *figures]).close()
    link_runs(folder, runs)
    return 1 + len(kept) + len(runs)


def _task_figures(series: Series, comparison: StudyComparison) -> list[Event]:
    """Return the scores of a series on tasks, its versions on TensorBoard's axis of steps."""
    made = [outcome for outcome in comparison.outcomes if outcome.series is series]
    scored = {outcome.number: outcome_task_scores(outcome) for outcome in made}
    return [
        scalars(number, {score.tag: score.value for score in scores}, seconds=time.time())
        for number, scores in sorted(scored.items())
        if scores
    ]


def _layout(outcomes: Sequence[Outcome]) -> Any:
    """Return the charts of CUSTOM SCALARS, one for each held-out set."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.custom_scalar import metadata
    from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent

    sets = {key: None for outcome in outcomes for key in sorted(outcome.scores or {})}
    versions = held_out_versions(outcomes) or {v: None for outcome in outcomes for v in outcome.series.plan.versions}
    domains = {
        f"held-out loss on {version}/{domain} [nats/token]": f"held_out_loss/{re.escape(f'{version}.{domain}')}$"
        for version in versions
        for domain in [domain for other, domain in sets if other == version]
    } or {f"held-out loss on {version} [nats/token]": f"held_out_loss/{re.escape(version)}\\." for version in versions}
    newest = re.escape(list(versions)[-1])
    charts = {
        "1 look here first": {
            "training loss [nats/token]": "train/loss$",
            f"held-out loss on {list(versions)[-1]} [nats/token]": f"held_out_loss/{newest}\\.",
            "learning rate": "train/lr$",
        },
        "2 held-out loss by set": domains,
        "3 health": {
            "gradient norm": "train/grad_norm$",
            "tokens per second": "speed/tokens_per_second$",
        },
    }
    layout = Layout(
        category=[
            Category(
                title=title,
                chart=[Chart(title=name, multiline=MultilineChartContent(tag=[tag])) for name, tag in drawn.items()],
            )
            for title, drawn in charts.items()
        ]
    )
    value = Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=metadata.create_summary_metadata(),
        tensor=_string(layout.SerializeToString()),
    )
    return Summary(value=[value])


def _trees(found: Sequence[Series]) -> str:
    """Return the plans' trees as Markdown, each under the series that are its."""
    plans = {id(series.plan): series.plan for series in found}
    labels = {key: [series.label for series in found if series.plan is plan] for key, plan in plans.items()}
    drawn = [f"**{', '.join(labels[key])}**\n\n{_as_it_stands(tree_text(plan))}" for key, plan in plans.items()]
    left_out = [f"{len(drawn) - MOST_TREES:,} more plans are left out."] if len(drawn) > MOST_TREES else []
    return "\n\n".join([*drawn[:MOST_TREES], *left_out])


def _as_it_stands(text: str) -> str:
    """Return Markdown of lines kept as they are; TensorBoard would break the words in the cells of a Markdown table."""
    return f"```\n{text}\n```"


def _text(tag: str, markdown: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text import metadata

    shown = metadata.create_summary_metadata(display_name=None, description=None)
    return Summary(value=[Summary.Value(tag=tag, metadata=shown, tensor=_string(markdown.encode()))])


def _image(tag: str, picture: Picture) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    png = picture.file.read_bytes()
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))  # of the header that PNGs begin with
    image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=png)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def _string(content: bytes) -> Any:
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    return TensorProto(dtype=DT_STRING, string_val=[content])


def _event(summary: Any) -> Event:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(summary=summary, wall_time=time.time())
