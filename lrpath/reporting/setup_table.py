"""What stands at the head of a report: model, text, batch, rates, seeds, machine, commit and command."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

from lrpath.analysis.compare import Series, write_seeds
from lrpath.analysis.comparison import ComparableGroup, StudyComparison
from lrpath.analysis.labels import sort_key
from lrpath.planning.optimizers import OwnOptimizer, further_settings, write_optimizer
from lrpath.planning.paradigms import PARADIGMS
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import write_batch
from lrpath.planning.units import write_bytes, write_count
from lrpath.records.commands import Command
from lrpath.records.held_out import HeldOutSet
from lrpath.records.read_segments import digests_read
from lrpath.reporting.tables import Align, Column, ReportTable

MOST_COMMANDS = 4
"""Commands that are listed; the study's `commands.jsonl` has all."""
_COLUMNS = (Column(key="what", title="what", align=Align.LEFT), Column(key="value", title="value", align=Align.LEFT))


def setup_tables(comparison: StudyComparison) -> list[ReportTable]:
    """Return one table a group: what its series were given, and on what they were run."""
    return [_setup_table(comparison, group) for group in comparison.groups]


def _setup_table(comparison: StudyComparison, group: ComparableGroup) -> ReportTable:
    rows = [
        ("question", _questions(group)),
        ("model", _each(_model(series) for series in group.series)),
        ("begins with", _each(series.plan.weights.line() for series in group.series if series.plan.weights)),
        ("training text", _training_text(group)),
        ("valid sets", _held_out_text(group)),
        ("batch", _each(_batch(series) for series in group.series)),
        ("optimizer", _each(_optimizer(series) for series in group.series)),
        ("seeds", write_seeds(series.seed for series in group.series)),
        *((f"paradigm {name}", text) for name, text in _paradigms(group.series)),
        *_where(comparison, group),
    ]
    title = f"What was run ({group.name})" if group.name else "What was run"
    return ReportTable(title=title, columns=_COLUMNS, rows=tuple(row for row in rows if row[1]))


def _questions(group: ComparableGroup) -> str:
    """Return what the configurations say that they ask (`description`), by study where there are several."""
    asked = {
        study.name: " ".join(dict.fromkeys(one.description for one in study.commands.read() if one.description))
        for study in dict.fromkeys(series.study for series in group.series)
    }
    if len(asked) == 1:
        return "".join(asked.values())
    return " ".join(f"{name}: {question}" for name, question in asked.items() if question)


def _each(values: Iterable[Any]) -> str:
    """Write the different values, in order."""
    return "; ".join(str(value) for value in sorted(set(values), key=sort_key))


def _model(series: Series) -> str:
    model, size = series.recipe.model, series.plan.parameters
    parameters = "an unknown number of parameters" if size is None else f"{size:,} parameters"
    known = (("hidden_size", "wide"), ("layers", "layers"), ("vocab_size", "token ids"))
    sizes = [f"{model[key]:,} {word}" for key, word in known if isinstance(model.get(key), int)]
    return ", ".join([f"{series.plan.model_name}: {parameters}", *sizes, series.recipe.precision])


def _batch(series: Series) -> str:
    recipe = series.recipe
    return write_batch(recipe) + (", attention within a document" if recipe.masks_documents else "")


def _optimizer(series: Series) -> str:
    one = series.recipe.optimizer
    if one is None:
        return "the module's own"
    clip = "gradients not clipped" if one.clip_norm is None else f"gradient norm clipped at {one.clip_norm:g}"
    if isinstance(one, OwnOptimizer):
        return f"{write_optimizer(one)}, {clip}"
    numbers = f"β {one.beta1:g} and {one.beta2:g}, ε {one.eps:g}, weight decay {one.weight_decay:g}"
    return ", ".join([type(one).__name__, numbers, *further_settings(one), clip])


def _paradigms(found: Sequence[Series]) -> list[tuple[str, str]]:
    """Return, by paradigm, what it is, and peak, warm-up, schedule and α, with the values that its series have."""
    words = {
        "peak": "peak rate",
        "warmup": "warm-up",
        "decay.shape": "decay",
        "decay.floor": "floor",
        "alpha": "branch updates ÷ increment updates (α)",
        "restart": "restart",
        "states": "states merged",
    }
    rows = []
    for name in dict.fromkeys(series.paradigm for series in found):
        its = [series.settings for series in found if series.paradigm == name]
        texts = [
            f"{word} {_values([settings[key] for settings in its if key in settings])}"
            + (" updates" if key == "warmup" and all(isinstance(one.get(key), int) for one in its) else "")
            for key, word in words.items()
            if any(settings.get(key) is not None for settings in its)
        ]
        kinds = dict.fromkeys(series.kind for series in found if series.paradigm == name)
        given = ", ".join(texts)
        rows.append((name, " ".join(filter(None, [*map(_what_it_is, kinds), given[:1].upper() + given[1:]]))))
    return rows


def _what_it_is(kind: str) -> str:
    """Return the sentence with which lrpath's code explains a kind of paradigm; empty for one of somebody's own."""
    return (inspect.getdoc(PARADIGMS[kind]) or "").partition("\n")[0] if kind in PARADIGMS else ""


def _values(values: Iterable[Any]) -> str:
    texts = {f"{value:g}" if isinstance(value, float) else str(value): value for value in values if value is not None}
    return " or ".join(sorted(texts, key=lambda text: sort_key(texts[text])))


def _training_text(group: ComparableGroup) -> str:
    """Write source, tokens and digests of what was trained on; of several texts each, with its studies."""
    texts: list[list[Series]] = []
    for series in sorted(group.series, key=lambda series: -len(series.plan.versions)):
        same = next((found for found in texts if _goes_on_to(series.plan, found[0].plan)), None)
        texts.append([series]) if same is None else same.append(series)
    if len(texts) == 1:
        return _text_of(texts[0])
    return "; ".join(f"{', '.join(sorted({one.study.name for one in found}))}: {_text_of(found)}" for found in texts)


def _goes_on_to(plan: Plan, longer: Plan) -> bool:
    """Tell whether the increments of a plan have the text of a longer plan's, as far as it is known of both."""
    return all(one.may_have_text_of(other) for one, other in zip(plan.increments, longer.increments, strict=False))


def _text_of(found: Sequence[Series]) -> str:
    """Write the source of one text, and of each increment its tokens and the digest of what was read."""
    longest = max(found, key=lambda series: len(series.plan.versions))
    digests = _digests(found)
    parts = [
        f"{one.version} {write_count(longest.plan.increment_tokens(one))} tokens{digests.get(one.version, '')}"
        for one in longest.plan.increments
    ]
    return f"{longest.plan.source}: {', '.join(parts)}"


def _digests(found: Sequence[Series]) -> dict[str, str]:
    """Return, by version, how the tokens of its increment are known: by the plan, or by what states have read."""
    increments = [one for series in found for one in series.plan.increments]
    known = {one.version: one.content for one in increments if one.content and not one.is_provisional}
    digests = {version: f" (digest {content[:12]})" for version, content in known.items()}
    for series in found:
        for path in series.tree.paths:
            folder = series.study.find(path.id)
            if folder is None or digests.keys() >= set(series.plan.versions):
                continue
            for version, digest in digests_read(folder).items():
                digests.setdefault(version, f" (digest {digest[:12]})")
    return digests


def _held_out_text(group: ComparableGroup) -> str:
    sets: dict[str, list[HeldOutSet]] = {}
    for series in group.series[:1]:
        known = series.study.held_out.read()
        for (version, _), found in next((known[path.id] for path in series.tree.paths if path.id in known), {}).items():
            sets.setdefault(version, []).append(found)
    if not sets:
        return "sizes and digests are not known; the study was made by an older lrpath"
    return ", ".join(f"{version} {_sizes(found)}" for version, found in sets.items())


def _sizes(found: Sequence[HeldOutSet]) -> str:
    texts = [f"{sum(one.tokens for one in found):,} tokens"]
    if all(one.text_bytes is not None for one in found):
        texts.append(write_bytes(sum(one.text_bytes or 0 for one in found)))
        texts.append(f"{sum(one.documents or 0 for one in found):,} documents")
    digest = f"digest {found[0].sha256[:12]}" if len(found) == 1 else f"{len(found)} domains"
    return f"{' of '.join(texts[:2])}{''.join(f', {text}' for text in texts[2:])} ({digest})"


def _where(comparison: StudyComparison, group: ComparableGroup) -> list[tuple[str, str]]:
    studies = list(dict.fromkeys(series.study for series in group.series))
    commands: list[Command] = [command for study in studies for command in study.commands.read()]
    runs = [run for study in studies for run in comparison.runs[study]]
    rows = [("devices", _each(f"{run.ranks} process{'' if run.ranks == 1 else 'es'} on {run.device}" for run in runs))]
    if commands:
        rows.append(("host", _each(command.host for command in commands)))
        code = _each(f"lrpath {one.lrpath}{f', commit {one.commit}' if one.commit else ''}" for one in commands)
        rows.append(("code", code))
        rows += [("command", command.text) for command in commands[-MOST_COMMANDS:]]
        if len(commands) > MOST_COMMANDS:
            rows.append(("command", f"{len(commands) - MOST_COMMANDS:,} earlier ones are in commands.jsonl"))
    return [(what, value) for what, value in rows if value]
