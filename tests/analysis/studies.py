"""Small plans and study folders, written through lrpath.records as training would."""

import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from lrpath.planning.continuation import unite_where_data_agree
from lrpath.planning.decay import Decay
from lrpath.planning.optimizers import Optimizer
from lrpath.planning.paradigms import FromScratch, Paradigm, Setting
from lrpath.planning.paths import Path, Release
from lrpath.planning.plan import Plan
from lrpath.planning.recipe import Recipe, Seeds
from lrpath.planning.schedule import Shape
from lrpath.planning.stream_record import as_record
from lrpath.planning.streams import Increment
from lrpath.records.ledger import Run
from lrpath.records.path_folder import PathFolder
from lrpath.records.read_segments import folded
from lrpath.records.rows import EvaluationRow, MetricsRow
from lrpath.records.study import Study
from tests.planning.strategies import ADAMW, build_continual, build_merged, build_switching
from tests.records.lab import save

LINEAR = Decay(shape=Shape.LINEAR, floor=0.1)
SCRATCH = FromScratch(peak=1.0, warmup=2, decay=LINEAR)
CONTINUAL = build_continual(peak=1.0, warmup=2, decay=LINEAR)
SWITCHING = build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=0.6)
MERGED = build_merged(peak=1.0, warmup=2, states=3, spacing=2)
THREE: dict[str, Paradigm] = {"from_scratch": SCRATCH, "continual": CONTINUAL, "path_switching": SWITCHING}
TOKENS_PER_UPDATE = 8


def plan_of(
    *updates: int,
    paradigms: Mapping[str, Paradigm] = THREE,
    seed: int | Seeds = 0,
    flops_per_token: int | None = 10,
    texts: Mapping[str, str] = MappingProxyType({}),
    held_out: str | None = None,
    optimizer: Optimizer = ADAMW,
) -> Plan:
    recipe = Recipe(
        model={"family": "llama", "layers": 1},
        data={"source": "toy"},
        optimizer=optimizer,
        precision="fp32",
        seed=seed,
        sequences_per_update=2,
        tokens_per_sequence=4,
    )
    names = {f"v{n}": count for n, count in enumerate(updates, start=1)}
    increments = tuple(
        Increment(version=name, updates=count, content=texts.get(name), held_out=held_out or texts.get(name))
        for name, count in names.items()
    )
    settings = [
        Setting(label=label, recipe=recipe, increments=increments, parse=lambda length, _: int(length))
        for label in paradigms
    ]
    return Plan(
        increments=increments,
        paradigms=dict(paradigms),
        tree=unite_where_data_agree(
            one.plan(setting) for one, setting in zip(paradigms.values(), settings, strict=True)
        ),
        model_name="toy",
        parameters=100,
        flops_per_token=flops_per_token,
        state_bytes=1200,
    )


def keep(study: Study, plan: Plan) -> None:
    study.save_plan(plan.as_record())


def evaluate(study: Study, plan: Plan, release: Release, scores: Mapping[tuple[str, str], tuple[float, int]]) -> None:
    """Write rows `(version, domain): (nll [nats], tokens)` for a release of one state, once."""
    table = study.open(plan.tree.path(release.last.path_id)).evaluation
    rows = [EvaluationRow(release.last.position, *key, nll, tokens) for key, (nll, tokens) in scores.items()]
    if not any(row.position == release.last.position for row in table.rows()):
        table.append(rows)


def evaluate_evenly(study: Study, plan: Plan, losses: Mapping[str, Sequence[float | None]]) -> None:
    """Give releases, by paradigm and version, one loss on 100 tokens of every version's set; None leaves one out."""
    for release in plan.tree.releases:
        loss = losses[release.paradigm][plan.versions.index(release.version)]
        if loss is not None:
            evaluate(study, plan, release, {(version, "all"): (100 * loss, 100) for version in plan.versions})


def run_all(study: Study, plan: Plan, *, paths: Sequence[Path] | None = None) -> None:
    """Write the ledger and the metrics of an undisturbed run, of all paths or of some."""
    for path in plan.tree.paths if paths is None else paths:
        begin, end = path.start, plan.tree.end(path.id)
        add_run(study, plan, path.id, begin=begin, end=end)
        study.open(path).metrics.append(
            MetricsRow(n, 5.0 - n / 100, path.schedule.rate(n - 1), 1.0, 8 * n) for n in range(begin + 1, end + 1)
        )


def add_run(study: Study, plan: Plan, path_id: str, *, begin: int, end: int, repeated: int = 0) -> None:
    tokens = (end - begin) * TOKENS_PER_UPDATE
    study.ledger.append(
        Run(
            id=uuid4().hex,
            path_id=path_id,
            name=plan.tree.path(path_id).name,
            begin=begin,
            end=end,
            repeated=repeated,
            tokens=tokens,
            flops=float(tokens * (plan.flops_per_token or 0)),
            seconds=1.0,
            outcome="done",
            device="cpu",
            ranks=1,
        )
    )


def record_of(path: Path, position: int) -> dict[str, Any]:
    """Return what training would write into the manifest of a state of a path."""
    segments = [
        {
            "segment": as_record(segment),
            "first": first,
            "updates": last - first,
            "increments": {
                increment.version: {"digest": f"digest of {increment.version}", "windows": 20}
                for component in segment.components
                for increment in component.increments
            },
        }
        for segment, first, last in path.stream.spans(path.start, position)
    ]
    read = {"sequences": 2, "length": 4, "seed": path.recipe.seed, "repeat": False, "segments": segments}
    return {"identity": path.identity(), "read": folded(read)}


def change_json(file: pathlib.Path, change: Callable[[Any], object]) -> None:
    """Change what a JSON file holds, in place."""
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))


def keep_state(folder: PathFolder, path: Path, position: int) -> None:
    """Write a state of 14 bytes with the manifest that training would write."""
    place = save(folder, position, path_id=path.id)
    change_json(place / "state.json", lambda record: record.update(record_of(path, position)))


def finish(study: Study, plan: Plan, *, domains: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write all that an undisturbed run of a plan leaves: plan, ledger, tables and states.

    Args:
        study: The study.
        plan: The plan; paths that the study has already are taken to be finished.
        domains: The domain of each version's held-out set; `all` where none is given.
    """
    missing = [path for path in plan.tree.paths if study.find(path.id) is None]
    keep(study, plan)
    run_all(study, plan, paths=missing)
    for path in missing:
        folder = study.open(path)
        for position in plan.tree.needed(path.id):
            sets = [(version, domains.get(version, "all")) for version in plan.versions]
            folder.evaluation.append(EvaluationRow(position, *held_out, 250.0, 100) for held_out in sets)
            keep_state(folder, path, position)
