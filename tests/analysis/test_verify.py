"""Every check of a study: silent on one that is as it claims, and each kind of damage found, alone, with what to do."""

import json
import math
import pathlib
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace

import pytest

from lrpath.analysis.verify.finding import Check
from lrpath.analysis.verify.study import verify_study
from lrpath.errors import StateError
from lrpath.planning.continuation import leave_where_data_differ
from lrpath.planning.paradigms import Paradigm
from lrpath.planning.paths import Path
from lrpath.planning.plan import Plan
from lrpath.records.path_folder import PathFolder
from lrpath.records.study import Study
from tests.analysis.studies import (
    MERGED,
    SWITCHING,
    THREE,
    add_run,
    change_json,
    finish,
    keep,
    keep_state,
    plan_of,
)
from tests.records.lab import RUN
from tests.refusals import refused

PLAN = plan_of(10, 10, paradigms={"path_switching": SWITCHING})
"""A main path that forks at 4 and 14, and branches from there to 10 and 20."""


@pytest.fixture
def study(tmp_path: pathlib.Path) -> Study:
    made = Study(tmp_path / "toy")
    finish(made, PLAN)
    return made


def part(study: Study, name: str, plan: Plan = PLAN) -> PathFolder:
    """Return the folder of a path by its name."""
    (path,) = (path for path in plan.tree.paths if path.name == f"path_switching.{name}")
    folder = study.find(path.id)
    assert folder is not None
    return folder


def findings(checks: tuple[Check, ...]) -> list[tuple[str, str, int | None]]:
    return [(check.name, finding.path, finding.position) for check in checks for finding in check.findings]


def notes(checks: tuple[Check, ...]) -> list[str]:
    return [note for check in checks for note in check.notes]


@pytest.mark.parametrize("paradigms", [THREE, {"merged": MERGED}], ids=["three", "merged"])
def test_a_finished_study_is_as_it_claims(tmp_path: pathlib.Path, paradigms: dict[str, Paradigm]) -> None:
    plan, study = plan_of(10, 10, paradigms=paradigms), Study(tmp_path / "toy")
    finish(study, plan)

    checks = verify_study(study)

    assert findings(checks) == []
    assert {check.name: check.count for check in checks} == {
        "paths": len(plan.tree.paths),
        "backbones": 0,
        "needed": sum(1 for _ in plan.tree.states()),
        "states": sum(1 for _ in plan.tree.states()),
        "data": sum(1 for _ in plan.tree.states()),
        "rows": sum(plan.tree.updates(path.id) for path in plan.tree.paths),
        "evaluations": sum(1 for _ in plan.tree.states()),
        "ledger": len(plan.tree.paths),
    }
    unevaluated = [note for note in notes(checks) if "a mean of states, is not evaluated; run the plan again" in note]
    assert notes(checks) == unevaluated
    assert len(unevaluated) == (2 if "merged" in paradigms else 0)


def edit(file: pathlib.Path, before: str, after: str) -> None:
    """Replace the first match of a pattern in a file."""
    text, count = re.subn(before, after, file.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1
    file.write_text(text)


def spoil_reading(study: Study, field: str, value: object) -> None:
    file = part(study, "main").state(14) / "state.json"
    change_json(file, lambda record: record["read"]["segments"][0].update({field: value}))


def swap_tokens(study: Study) -> None:
    file = part(study, "v1").state(10) / "state.json"
    change_json(file, lambda r: r["read"]["segments"][0]["increments"]["v1"].update({"digest": "another"}))


def rename_path(study: Study) -> None:
    main = part(study, "main").folder
    main.rename(main.with_name("path_switching.main-0123456789ab"))


def lose_ledger_lines(study: Study, name: str) -> None:
    lines = study.ledger.file.read_text().splitlines(keepends=True)
    study.ledger.file.write_text("".join(line for line in lines if f'"{name}"' not in line))


DAMAGES: dict[str, tuple[Callable[[Study], object], tuple[str, str, int | None], str]] = {
    "an identity that was altered": (
        lambda s: change_json(
            part(s, "v1").folder / "path.json", lambda r: r["identity"]["recipe"].update({"seed": 9})
        ),
        ("paths", "path_switching.v1", None),
        "whose content gives id [0-9a-f]{12}, not [0-9a-f]{12}: it was altered; restore it",
    ),
    "a path file that is no JSON": (
        lambda s: (part(s, "v1").folder / "path.json").write_text("{"),
        ("paths", "path_switching.v1", None),
        "is not JSON",
    ),
    "a path file that says nothing": (
        lambda s: (part(s, "v1").folder / "path.json").write_text("[]"),
        ("paths", "path_switching.v1", None),
        "does not say what the path is; restore it",
    ),
    "a path file that is gone": (
        lambda s: (part(s, "v1").folder / "path.json").unlink(),
        ("paths", "path_switching.v1", None),
        "path.json is missing",
    ),
    "an identity with a number that is none": (
        lambda s: change_json(part(s, "v1").folder / "path.json", lambda r: r["identity"].update({"x": math.nan})),
        ("paths", "path_switching.v1", None),
        "whose content gives id none",
    ),
    "a second folder of a path": (
        lambda s: shutil.copytree(part(s, "v1").folder, part(s, "v1").folder.with_name("z-" + PLAN.tree.paths[1].id)),
        ("paths", "path_switching.v1", None),
        "is a second folder of path",
    ),
    "a byte that was flipped": (
        lambda s: (part(s, "main").state(4) / "model-1.safetensors").write_bytes(b"weightz"),
        ("states", "path_switching.main", 4),
        "was altered: its SHA-256 is not the one in state.json; restore it from a copy, or remove .* and run",
    ),
    "a file that was cut": (
        lambda s: (part(s, "main").state(4) / "model-1.safetensors").write_bytes(b"weight"),
        ("states", "path_switching.main", 4),
        "has 6 bytes, state.json says 7",
    ),
    "a file that is not listed": (
        lambda s: (part(s, "v2").state(20) / "more").write_bytes(b""),
        ("states", "path_switching.v2", 20),
        "more missing or not listed",
    ),
    "a state moved to another position": (
        lambda s: change_json(part(s, "v1").state(10) / "state.json", lambda r: r.update({"position": 9})),
        ("states", "path_switching.v1", 10),
        "move it back",
    ),
    "a state of another identity": (
        lambda s: change_json(
            part(s, "v1").state(10) / "state.json",
            lambda r: r["identity"]["recipe"]["optimizer"].update({"weight_decay": 0.2}),
        ),
        ("states", "path_switching.v1", 10),
        r"says it is of another path \(recipe.optimizer.weight_decay: 0.2 → 0.1\)",
    ),
    "a cursor that is elsewhere": (
        lambda s: spoil_reading(s, "first", 1),
        ("data", "path_switching.main", 14),
        r"has read other data than the plan says \(segments\[0\].first: 1 → 0\)",
    ),
    "tokens that are not those of another state": (
        swap_tokens,
        ("data", "path_switching.v1", 10),
        r"has read v1 with other tokens than path_switching.main at 4 \(another, not digest of v1\)",
    ),
    "a fork's state that is gone": (
        lambda s: part(s, "main").remove_state(4),
        ("needed", "path_switching.main", 4),
        "its state at 4, which a plan needs, was made and is gone; restore it",
    ),
    "a release that is gone": (
        lambda s: part(s, "v2").remove_state(20),
        ("needed", "path_switching.v2", 20),
        "its state at 20, which a plan needs, was made and is gone",
    ),
    "a first rate that is another": (
        lambda s: edit(part(s, "v1").metrics.file, r"^5,(.*?),[0-9.]+,", r"5,\1,1.0,"),
        ("rows", "path_switching.v1", 5),
        r"the row at 5, its first update, has lr 1.0, the plan says 0.85; restore",
    ),
    "a rate that is off by the last digit": (
        lambda s: edit(part(s, "main").metrics.file, r"^9,(.*?),1.0,", r"9,\1,0.9999999999999999,"),
        ("rows", "path_switching.main", 9),
        "the row at 9 has lr 0.9999999999999999, the plan says 1.0",
    ),
    "tokens of another batch": (
        lambda s: edit(part(s, "main").metrics.file, r",72$", ",71"),
        ("rows", "path_switching.main", 9),
        "the row at 9 has tokens 71, the plan says 72",
    ),
    "a loss that is no number": (
        lambda s: edit(part(s, "main").metrics.file, r"^9,[0-9.]+", "9,nan"),
        ("rows", "path_switching.main", 9),
        "the row at 9 has loss nan, which is not finite",
    ),
    "a row that is missing": (
        lambda s: edit(part(s, "main").metrics.file, r"^9,.*\n", ""),
        ("rows", "path_switching.main", 9),
        "has no row at 9; restore",
    ),
    "a row that is there twice": (
        lambda s: edit(part(s, "main").metrics.file, r"^(9,.*\n)", r"\1\1"),
        ("rows", "path_switching.main", 9),
        "has more than one row at 9",
    ),
    "a row from before the path": (
        lambda s: part(s, "v1").metrics.append([(4, 1.0, 1.0, 1.0, 32)]),
        ("rows", "path_switching.v1", 4),
        "begins later, but has a row at 4",
    ),
    "a table with an incomplete row": (
        lambda s: edit(part(s, "main").metrics.file, r"^9,.*\n", "9,1\n"),
        ("rows", "path_switching.main", None),
        "has 2 fields, not 5",
    ),
    "an evaluation that is lost": (
        lambda s: part(s, "main").evaluation.cut(4),
        ("evaluations", "path_switching.main", 14),
        "at 14 was not evaluated, although its state is there; restore",
    ),
    "one held-out set that is lost": (
        lambda s: edit(part(s, "main").evaluation.file, r"^14,v2.*\n", ""),
        ("evaluations", "path_switching.main", 14),
        "at 14 lacks its loss on v2 all",
    ),
    "a held-out set that is there twice": (
        lambda s: edit(part(s, "main").evaluation.file, r"^(14,v2.*\n)", r"\1\1"),
        ("evaluations", "path_switching.main", 14),
        "at 14 was evaluated on one held-out set more than once",
    ),
    "a held-out loss that is no number": (
        lambda s: edit(part(s, "main").evaluation.file, r"^14,v2,all,[0-9.]+", "14,v2,all,inf"),
        ("evaluations", "path_switching.main", 14),
        "has an nll of inf on 100 tokens of v2 all",
    ),
    "a table of evaluations with other columns": (
        lambda s: edit(part(s, "main").evaluation.file, "nll", "loss"),
        ("evaluations", "path_switching.main", None),
        "has columns",
    ),
    "a ledger line that is lost": (
        lambda s: lose_ledger_lines(s, "path_switching.v2"),
        ("ledger", "path_switching.v2", 14),
        "6 updates from 14 to 20 are in no run of the ledger; restore",
    ),
    "a run with other tokens": (
        lambda s: edit(s.ledger.file, r'"tokens": 112', '"tokens": 113'),
        ("ledger", "", None),
        "is not a line of a ledger .it was altered: its digest is another",
    ),
    "updates that were counted twice": (
        lambda s: add_run(s, PLAN, PLAN.tree.paths[0].id, begin=4, end=14),
        ("ledger", "path_switching.main", 0),
        "its runs count 24 updates once, but cover 14",
    ),
    "a count of updates that cannot be read": (
        lambda s: (part(s, "main").folder / "running.json").write_text("{}"),
        ("ledger", "", None),
        "running.json does not describe a run",
    ),
    "a ledger that cannot be read": (
        lambda s: edit(s.ledger.file, "^.", "x"),
        ("ledger", "", None),
        "ledger.jsonl:1 is not a line of a ledger",
    ),
}


@pytest.mark.parametrize(("damage", "where", "text"), DAMAGES.values(), ids=DAMAGES.keys())
def test_each_damage_is_one_finding_with_its_place(
    study: Study, damage: Callable[[Study], object], where: tuple[str, str, int | None], text: str
) -> None:
    damage(study)

    checks = verify_study(study)

    assert findings(checks) == [where]
    (found,) = (finding for check in checks for finding in check.findings)
    assert re.search(text, found.text)
    assert "\n" not in found.text


def test_a_path_whose_folder_was_renamed_is_lost_and_the_folder_is_not_what_it_says(study: Study) -> None:
    rename_path(study)

    found = verify_study(study)

    assert ("paths", "path_switching.main-0123456789ab", None) in findings(found)
    assert {("needed", "path_switching.main", 4), ("needed", "path_switching.main", 14)} <= set(findings(found))
    assert notes(found) == [
        "paths/path_switching.main-0123456789ab belongs to no plan of the study; it is compared by itself"
    ]


def test_contents_are_left_uncompared_on_request_and_then_said(study: Study) -> None:
    DAMAGES["a byte that was flipped"][0](study)

    checks = verify_study(study, digests=False)

    assert findings(checks) == []
    assert [check.statement for check in checks if "SHA-256 not compared: digests=false" in check.statement] != []


def test_reading_says_how_far_it_is(study: Study) -> None:
    seen: list[tuple[int, int]] = []

    verify_study(study, seen=lambda done, total: seen.append((done, total)))

    assert [done for done, _ in seen] == [7 * number for number in range(1, 9)]  # two files of 7 bytes in 4 states
    assert len({total for _, total in seen}) == 1


def test_a_study_that_has_just_begun_has_no_findings(tmp_path: pathlib.Path) -> None:
    study = Study(tmp_path / "toy")
    keep(study, PLAN)
    study.open(PLAN.tree.paths[0])

    checks = verify_study(study)

    assert findings(checks) == []
    assert notes(checks) == [
        "path_switching.main is unfinished: it has no state yet, and needs 4, 14; run the plan again to go on",
        "path_switching.v1 is unfinished: it has no state yet, and needs 10; run the plan again to go on",
        "path_switching.v2 is unfinished: it has no state yet, and needs 20; run the plan again to go on",
    ]


def test_candidates_for_a_version_are_each_judged_on_their_own_held_out_sets(tmp_path: pathlib.Path) -> None:
    # Both share v1 and what leads to it; that was evaluated on the first candidate's set of v2, in a domain of its own.
    study, known, plans = Study(tmp_path / "toy"), dict[str, Path](), {}
    for domain in ("code", "prose"):
        texts = {"v1": "first", "v2": domain}
        plan = plan_of(10, 10, paradigms={"path_switching": SWITCHING}, texts=texts)
        plans[domain] = replace(plan, tree=leave_where_data_differ(plan.tree, known))
        finish(study, plans[domain], domains={"v2": domain})
        known |= {path.id: path for path in plan.tree.paths}
    main = plans["code"].tree.paths[0]
    keep_state(
        part(study, "main", plans["code"]), main, 10
    )  # where v1 ends, not evaluated; the second candidate's fork

    assert findings(verify_study(study)) == []

    edit(part(study, "v2", plans["prose"]).evaluation.file, r"^20,v2,prose.*\n", "")
    (finding,) = [one for check in verify_study(study) for one in check.findings if check.name == "evaluations"]
    assert "at 20 lacks its loss on v2 prose; restore" in finding.text


def test_a_killed_run_is_unfinished_work_with_its_incomplete_state_and_rows(study: Study) -> None:
    main, path = part(study, "main"), PLAN.tree.paths[0]
    shutil.rmtree(part(study, "v2").folder)
    main.remove_state(14)
    keep_state(main, path, 6)
    main.evaluation.cut(4)
    main.metrics.cut(8)
    study.ledger.file.unlink()
    add_run(study, PLAN, path.id, begin=0, end=4)
    add_run(study, PLAN, PLAN.tree.paths[1].id, begin=4, end=10)
    waiting = replace(RUN, path_id=path.id, name=path.name, begin=4, end=14, tokens=80)
    (main.folder / "running.json").write_text(json.dumps(asdict(waiting)))
    (main.folder / "reached").write_text("8\n")
    (main.folder / "states" / ".000000014.77").mkdir()

    checks = verify_study(study)

    assert findings(checks) == []
    assert notes(checks) == [
        "path_switching.main is unfinished: it has states up to 6, and needs 14; a run of it is at work, or was "
        "killed, at 8; run the plan again to go on",
        "path_switching.main has incomplete states, which are never loaded: .000000014.77; the next "
        "run of the path removes them",
        "path_switching.v2 is unfinished: it has no state yet, and needs 20; run the plan again to go on",
        "path_switching.main has rows up to 8, its last state is at 6; the next run makes them anew",
    ]
    assert [check.count for check in checks if check.name == "ledger"] == [3]
    assert (main.folder / "running.json").exists()


def test_rolling_states_of_a_finished_path_are_left_over(study: Study) -> None:
    keep_state(part(study, "main"), PLAN.tree.paths[0], 6)

    checks = verify_study(study)

    assert findings(checks) == []
    assert notes(checks) == [
        "path_switching.main keeps rolling states that no plan needs, at 6; they stay until the next version leads it "
        "on"
    ]


def test_a_version_added_later_is_unfinished_and_what_was_made_before_is_well(study: Study) -> None:
    longer = plan_of(10, 10, 10, paradigms={"path_switching": SWITCHING})
    keep(study, longer)

    checks = verify_study(study)

    assert findings(checks) == []
    assert [note.split(" is ")[0] for note in notes(checks)] == ["path_switching.main", "path_switching.v3"]


def test_a_run_of_a_path_of_no_plan_is_said(study: Study) -> None:
    other = plan_of(12, paradigms={"path_switching": SWITCHING}, seed=1)
    add_run(study, other, other.tree.paths[0].id, begin=0, end=2)

    checks = verify_study(study)

    assert findings(checks) == []
    assert notes(checks) == ["the ledger has runs of path_switching.main, which no plan of the study has"]


def test_nothing_of_the_study_is_written(study: Study) -> None:
    before = {file: file.stat().st_mtime_ns for file in study.folder.rglob("*")}

    verify_study(study)

    assert {file: file.stat().st_mtime_ns for file in study.folder.rglob("*")} == before


def test_a_study_without_a_plan_is_refused(tmp_path: pathlib.Path) -> None:
    (tmp_path / "toy" / "plans").mkdir(parents=True)

    with refused(StateError):
        verify_study(Study(tmp_path / "toy"))


def test_an_altered_plan_is_refused(study: Study) -> None:
    (file,) = (study.folder / "plans").glob("*.json")
    change_json(file, lambda record: record["increments"].update({"v1": 11}))

    with refused(StateError):
        verify_study(study)
