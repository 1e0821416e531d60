"""How what lrpath does around the updates grows: planted studies, no training, sizes that double.

    python experiments/10_throughput/growth.py [--figure growth.png] [--only WORD]

Prints CPU seconds (or bytes) by size, and the exponent between the last two sizes: 1 is linear, 2 quadratic. Everything
is done in one process, on studies that are written to a temporary folder before the clock starts.
"""

import argparse
import gc
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure

from lrpath.analysis.compare import read_outcomes
from lrpath.analysis.measured_speed import measured_speed
from lrpath.analysis.verify.states import verify_data
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.assembly.project import Project
from lrpath.assembly.reuse import read_reuse
from lrpath.config.schema import conf_folder, load
from lrpath.data.order import WindowOrder
from lrpath.data.stream import TokenBatches
from lrpath.planning.plan import Plan, from_record
from lrpath.records.events import PathEvents
from lrpath.records.files import write_json
from lrpath.records.ledger import Run
from lrpath.records.manifest import MANIFEST, read_manifest, seal_manifest
from lrpath.records.path_folder import PathFolder
from lrpath.records.row_digests import find_alterations, row_digests, seal
from lrpath.records.rows import EvaluationRow, MetricsRow, SpeedRow
from lrpath.records.study import Study
from lrpath.reporting.plan_text import plan_text
from lrpath.reporting.report import write_report
from lrpath.training.planned_run import PlannedRun
from lrpath.training.prepare_rows import prepare_tables
from tests.analysis.studies import SWITCHING, plan_of
from tests.integration.lab import Lab, write_texts
from tests.records.lab import save

ONE = {"path_switching": SWITCHING}


def clock(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work, of its threads too."""
    gc.collect()
    gc.freeze()  # as `lrpath.train` does once torch is imported, whose objects would else be gone through again
    begin = time.process_time()
    work()
    seconds = time.process_time() - begin
    gc.unfreeze()
    return seconds


def printed_plan(folder: Path, versions: int) -> float:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = load(compose("config", overrides=[f"versions={versions}", f"outputs={folder}", f"study=s{versions}"]))

    def work() -> None:
        project = Project(config)
        speed = measured_speed(project.plan, outputs=folder, study=config.study)
        plan_text(project.plan, cluster=config.cluster, shape=project.shape, speed=speed)
        read_reuse(project).text()

    return clock(work)


def plan_bytes(_: Path, versions: int) -> float:
    return len(json.dumps(plan_of(*[10] * versions).as_record(), indent=1))


def plan_files(folder: Path, versions: int) -> float:
    plan, study = plan_of(*[10] * versions), Study(folder / str(versions))
    return clock(lambda: (study.save_plan(plan.as_record()), [from_record(one) for one in study.plans().values()]))


def outcomes_of_nothing(folder: Path, versions: int) -> float:
    study = Study(folder / str(versions))
    study.save_plan(plan_of(*[10] * versions).as_record())
    return clock(lambda: read_outcomes(study))


def outcomes_of_rows(folder: Path, rows: int) -> float:
    """Every release is judged on the sets of all versions, so that rows grow with the square of versions."""
    versions = math.isqrt(rows // 3)
    plan, study = plan_of(*[10] * versions), Study(folder / str(rows))
    study.save_plan(plan.as_record())
    for release in plan.tree.releases:
        table = study.open(plan.tree.path(release.last.path_id)).evaluation
        table.append(EvaluationRow(release.last.position, name, "all", 300.0, 100) for name in plan.versions)
    return clock(lambda: read_outcomes(study))


def sweep(folder: Path, plans: int) -> float:
    """Keep the plans of the jobs of an α sweep, one after another, as `lrpath.train -m` does."""
    texts = folder / "texts"
    if not texts.exists():
        write_texts(texts)
    lab = Lab(folder=folder, texts=texts, stores=folder / "stores")
    given = ("increment=2000 updates", "data.repeat=true", f"study=sweep{plans}")
    projects = [lab.project(*given, f"alpha={0.2 + number / 1000:.3f}") for number in range(plans)]
    projects[0].prepare()

    def work() -> None:
        for project in projects:
            project.refresh()
            project.keep_plan()

    return clock(work)


def plant_rows(folder: PathFolder, first: int, last: int) -> list[MetricsRow]:
    rows = [MetricsRow(at, 5.0 - at / 1e6, 0.01, 1.0, 8 * at) for at in range(first, last + 1)]
    folder.metrics.append(rows)
    folder.speed.append([SpeedRow(last, 1.0, 1000.0)])
    return rows


def starts(folder: Path, runs: int) -> float:
    """Begin one path again and again, 100 rows later each time, as the main path of many versions is."""
    plan = plan_of(*[100] * (runs + 1), paradigms=ONE)
    path, study = plan.tree.paths[0], Study(folder / str(runs))
    study.save_plan(plan.as_record())
    place, seconds = study.open(path), 0.0
    for number in range(runs):
        begin = 100 * number
        run = PlannedRun(
            path=path,
            begin=begin,
            end=begin + 100,
            pinned=frozenset({begin + 100}),
            rolling_every=1000,
            evaluate_every=1000,
            keep=2,
        )

        def start(run: PlannedRun = run) -> None:
            prepare_tables(run, place)
            with PathEvents(place, until=run.begin) as events:
                rows = plant_rows(place, run.begin + 1, run.end)
                events.append(metrics=rows)

        seconds += clock(start)
        save(place, begin + 100, path_id=path.id)
        seal(place, only_missing=True) if number < 1 else None
    return seconds


def ledger(folder: Path, runs: int) -> float:
    run = Run(
        id="r", path_id="p", name="main", begin=0, end=9, repeated=0, tokens=9, flops=9.0, seconds=1.0, outcome="done",
        device="cpu", ranks=1,
    )  # fmt: skip
    log = Study(folder / str(runs)).ledger
    return clock(lambda: [log.append(replace(run, id=f"run-{number}")) for number in range(runs)])


def opened(folder: Path, rows: int) -> float:
    """Look at a study as `lrpath.train` does before it runs anything, with 1,000 rows a path."""
    paths = rows // 1000
    plan, study = plan_of(*[625] * (paths - 1), paradigms=ONE), Study(folder / str(rows))
    plant_study(study, plan)

    def work() -> None:
        for path in plan.tree.paths:
            study.check_single(path.id)
            place = study.find(path.id)
            assert place is not None
            assert not find_alterations(place)
            for at in plan.tree.needed(path.id):
                study.has_state(type(path.parent or plan.tree.paths[1].parent)(path.id, at))
        read_outcomes(study)

    return clock(work)


def plant_study(study: Study, plan: Plan) -> None:
    study.save_plan(plan.as_record())
    for path in plan.tree.paths:
        place, needed = study.open(path), plan.tree.needed(path.id)
        plant_rows(place, path.start + 1, needed[-1])
        place.evaluation.append(EvaluationRow(at, "v1", "all", 300.0, 100) for at in needed)
        for at in needed:
            save(place, at, path_id=path.id)
        if len(needed) < 5:
            seal(place, only_missing=True)


class OneText:
    """In place of a token store: every version has the same tokens."""

    def digest(self, _version: str) -> str:
        return "0" * 64


@cache
def written_states(folder: Path, states: int) -> Study:
    """Write a main path with a state for each version, whose manifests say what training writes into them."""
    plan, study = plan_of(*[100] * (states + 1), paradigms=ONE), Study(folder / str(states))
    study.save_plan(plan.as_record())
    path, place = plan.tree.paths[0], study.open(plan.tree.paths[0])
    windows = dict.fromkeys(plan.versions, 10**6)
    order = WindowOrder(stream=path.stream, sequences=2, length=4, seed=0, windows=windows)
    batches = TokenBatches(store=OneText(), order=order)
    for at in plan.tree.needed(path.id):
        plant_rows(place, at - 99, at)
        place.evaluation.append(
            EvaluationRow(one, version, "all", 300.0, 100) for one in (at - 50, at) for version in ("v1", "v2")
        )
        manifest = read_manifest(save(place, at, path_id=path.id))
        read = {"identity": path.identity(), "read": batches.reading(path.start, at)}
        write_json(place.state(at) / MANIFEST, seal_manifest(manifest | {"tables": row_digests(place, at)} | read))
    return study


def manifest_bytes(folder: Path, states: int) -> float:
    (place,) = written_states(folder, states).folders()
    return sum((place.state(at) / MANIFEST).stat().st_size for at in place.positions())


def states_compared(folder: Path, states: int) -> float:
    """Compare the tables of a path with its states, and what these have read with the plan, as a start does."""
    study = written_states(folder, states)
    (place,) = study.folders()
    index = StudyIndex.of(study)

    def work() -> None:
        assert not find_alterations(place)
        assert not verify_data(index).findings

    return clock(work)


def report(folder: Path, paths: int) -> float:
    plan, study = plan_of(*[100] * (paths - 1), paradigms=ONE), Study(folder / str(paths))
    plant_study(study, plan)
    return clock(lambda: write_report(study))


MEASURES: dict[str, tuple[Callable[[Path, int], float], tuple[int, ...], str]] = {
    "plan composed, printed": (printed_plan, (75, 150, 300), "versions"),
    "plan file": (plan_bytes, (75, 150, 300), "versions"),
    "plan file written, read": (plan_files, (75, 150, 300), "versions"),
    "read_outcomes, nothing made": (outcomes_of_nothing, (50, 100, 200), "versions"),
    "read_outcomes, all judged": (outcomes_of_rows, (3 * 16**2, 3 * 32**2, 3 * 64**2), "rows"),
    "plans kept in a sweep": (sweep, (16, 32, 64, 128), "plans"),
    "one path begun again": (starts, (16, 32, 64), "runs"),
    "ledger appended to": (ledger, (250, 500, 1000), "runs"),
    "study opened": (opened, (125_000, 250_000, 500_000, 1_000_000), "rows"),
    "manifests of one path": (manifest_bytes, (100, 200, 400), "states"),
    "states of one path compared": (states_compared, (100, 200, 400), "states"),
    "report written": (report, (26, 51, 101), "paths"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--figure", default=None)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    os.fsync = lambda _: None  # the clock is the processor's; planting a thousand paths would wait for the disk
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, (measure, sizes, unit) in MEASURES.items():
        if arguments.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = [measure(Path(folder), size) for size in sizes]
        exponent = math.log(found[-1] / found[-2]) / math.log(sizes[-1] / sizes[-2])
        is_bytes = measure in (plan_bytes, manifest_bytes)
        texts = [f"{value / 1e6:.2f} MB" if is_bytes else f"{value:.2f} s" for value in found]
        cells = ", ".join(f"{size:,}: {text}" for size, text in zip(sizes, texts, strict=True))
        print(f"{name:28} {exponent:5.2f}   by {unit}: {cells}", flush=True)
        if not is_bytes:
            axes.loglog(sizes, found, "o-", label=f"{name} [{unit}]: {exponent:.1f}")
    axes.set_xlabel("size")
    axes.set_ylabel("CPU seconds")
    axes.legend(fontsize=7)
    if arguments.figure:
        figure.savefig(arguments.figure, dpi=120)


if __name__ == "__main__":
    main()
