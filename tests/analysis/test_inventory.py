import io
import pathlib
from dataclasses import replace

import pytest

from lrpath import entry, prune
from lrpath.analysis.inventory import Use, read_inventory, remove_unneeded
from lrpath.errors import BusyError
from lrpath.records.study import Study
from lrpath.reporting.inventory_text import inventory_text
from tests.analysis.studies import SWITCHING, keep, plan_of
from tests.records.lab import save
from tests.refusals import refused

PLAN = plan_of(10, 10, paradigms={"path_switching": SWITCHING})
MAIN, V1, V2 = PLAN.tree.paths


@pytest.fixture
def study(tmp_path: pathlib.Path) -> Study:
    """Return a study whose main path is run to its end and has a rolling state, and whose v2 was killed at 17."""
    study = Study(tmp_path / "july")
    keep(study, PLAN)
    for path, position in ((MAIN, 4), (MAIN, 9), (MAIN, 14), (V1, 10), (V2, 15), (V2, 17)):
        save(study.open(path), position, path_id=path.id)
    (study.open(V2).folder / "states" / ".000000018.77").mkdir()
    return study


def uses(study: Study, **changes: list[str]) -> dict[tuple[str, int], Use]:
    found = read_inventory(study, **changes)
    return {(path.name, state.key.position): state.use for path in found.paths for state in path.states}


def test_a_state_is_there_for_a_fork_a_release_to_go_on_from_or_for_nothing(study: Study) -> None:
    assert uses(study) == {
        ("path_switching.main", 4): Use.NEEDED,
        ("path_switching.main", 9): Use.NONE,
        ("path_switching.main", 14): Use.NEEDED,
        ("path_switching.v1", 10): Use.NEEDED,
        ("path_switching.v2", 15): Use.NONE,
        ("path_switching.v2", 17): Use.RESUME,
    }
    inventory = read_inventory(study)
    assert [key.position for key in inventory.missing] == [20]
    assert inventory.paths[0].states[0].users == ("fork of path_switching.v1",)


def test_only_what_nobody_needs_is_removed(study: Study) -> None:
    for path in read_inventory(study).paths:
        remove_unneeded(path, study=study)

    assert sorted(uses(study)) == [
        ("path_switching.main", 4),
        ("path_switching.main", 14),
        ("path_switching.v1", 10),
        ("path_switching.v2", 17),
    ]
    assert [path.incomplete for path in read_inventory(study).paths] == [(), (), ()]


def test_a_plan_that_is_dropped_needs_nothing_any_more(study: Study) -> None:
    longer = plan_of(10, 10, 10, paradigms={"path_switching": SWITCHING})
    keep(study, longer)
    save(study.open(MAIN), 24, path_id=MAIN.id)
    first, second = study.plans()

    assert uses(study)["path_switching.main", 24] is Use.NEEDED
    assert uses(study, without=[second])["path_switching.main", 24] is Use.NONE
    study.drop_plan(first)
    study.drop_plan(second)
    assert set(uses(study).values()) == {Use.NONE}


def test_what_a_plan_kept_meanwhile_needs_stays(study: Study) -> None:
    found = read_inventory(study).paths
    keep(study, plan_of(10, 10, paradigms={"path_switching": replace(SWITCHING, alpha=(0.1, 0.6))}))

    for path in found:
        remove_unneeded(path, study=study)

    assert ("path_switching.main", 9) in uses(study)


def test_a_path_that_is_being_run_is_left_alone(study: Study) -> None:
    main = read_inventory(study).paths[0]

    with main.folder.lock(), refused(BusyError):
        remove_unneeded(main, study=study)

    assert ("path_switching.main", 9) in uses(study)


def test_the_text_says_what_is_there_and_what_could_be_removed(study: Study) -> None:
    text = inventory_text(read_inventory(study))

    lines = text.splitlines()
    assert lines[0] == f"{study.folder}: 1 plan, 3 paths, 6 states, 84 B"
    (rolling,) = (line for line in lines if "at 17 " in line)
    assert rolling.endswith("14 B  to go on from")
    assert "   path_switching.v2" in text
    assert lines[-4:] == [
        "1 state that the plans need not made yet: run lrpath.train",
        "28 B could be removed by python -m lrpath.prune study=july:",
        "  path_switching.main: the state at 9",
        "  path_switching.v2: the state at 15; incomplete files that a killed run left: .000000018.77",
    ]


def pruned(study: Study, *words: str, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Run `python -m lrpath.prune` in this process and return its exit code."""
    arguments = ["lrpath.prune", f"outputs={study.folder.parent}", f"study={study.name}", *words]
    monkeypatch.setattr("sys.argv", arguments)
    try:
        entry.run(prune.prune, config_name="prune")
    except SystemExit as ended:
        return ended.code
    return 0


def test_pruning_lists_asks_and_removes(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert pruned(study, monkeypatch=monkeypatch) == 2
    reported = capsys.readouterr()
    assert "path_switching.main: the state at 9" in reported.out
    assert "there is no terminal to ask on; add ask=false" in reported.err
    assert len(uses(study)) == 6

    assert pruned(study, "ask=false", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.endswith("removed\n")
    assert len(uses(study)) == 4

    assert pruned(study, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("nothing could be removed")

    assert pruned(study, "drop=2", "ask=false", monkeypatch=monkeypatch) == 2
    assert "drop=2: study july has plans 1 to 1" in capsys.readouterr().err
    assert pruned(study, "drop=1", "ask=false", monkeypatch=monkeypatch) == 0
    assert (study.plans(), uses(study)) == ({}, {})


@pytest.mark.parametrize(("answer", "left"), [("y\n", 4), ("\n", 6), ("no\n", 6), ("", 6)])
def test_only_a_yes_is_a_yes(
    answer: str, left: int, study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = io.StringIO(answer)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)

    assert pruned(study, monkeypatch=monkeypatch) == 0

    assert "remove it? [y/N] " in capsys.readouterr().out
    assert len(uses(study)) == left
