"""The entries `predict` and `advise`: what they print and write, and that what is advised can be trained."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from lrpath import advise, entry, predict
from lrpath.laws.areas import Array
from lrpath.laws.continual import ContinualLaw, Domain
from lrpath.laws.curves import Curve
from lrpath.laws.last_iterate import LastIterateLaw
from tests.composing import project_of
from tests.laws.law_studies import study_in, write_evaluations, write_metrics
from tests.refusals import check_sentence

pytestmark = pytest.mark.slow

SMALL = ("study=toy", "increment=200", "warmup=10", "peak=1.0", "paradigm=[path_switching]", "versions=3", "alpha=0.2")
OLD = {"L0": 2.0, "A": 5.0, "alpha": 0.5, "C1": 0.01, "C2": 0.01, "lambda": 0.9, "B": 0.4, "E": 0.05, "beta": 0.3}
LAST = {"L0": 2.6, "A": 0.9, "alpha": 0.5, "B": 0.02, "rho": 0.8, "zeta": 0.1}
ENDS = {"predict": predict.predict, "advise": advise.give_advice}


class Mixed(ContinualLaw):
    """A third domain's loss, a mixture of that on old and new data."""

    def __init__(self) -> None:
        super().__init__(domain=Domain.OLD)

    def predict(self, given: Mapping[str, float], *, curve: Curve) -> Array:
        old = ContinualLaw(domain=Domain.OLD).predict(OLD, curve=curve)
        return -0.546 * old + 1.853 * ContinualLaw(domain=Domain.NEW).predict(OLD | {"B": -0.4}, curve=curve)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose main path, v1 and v2 have been run, and one that went over to another domain at two points."""
    folder = tmp_path_factory.mktemp("outputs")
    plan = project_of(*SMALL).plan
    names = ["path_switching.main", "path_switching.v1", "path_switching.v2"]
    write_metrics(study_in(folder, plan), plan, names, law=LastIterateLaw(), values=LAST)
    switched = project_of("+exp=cpt_dynamics/transfer_points", "scale=mini", "increment=[200,200]", "peak=1.0").plan
    laws = {
        ("v1", "a"): (ContinualLaw(domain=Domain.OLD), OLD),
        ("v2", "b"): (ContinualLaw(domain=Domain.NEW), OLD | {"B": -0.4}),
    }
    names = [path.name for path in switched.tree.paths]
    laws[("v3", "c")] = (Mixed(), {})
    study = study_in(folder, switched, "switched")
    write_evaluations(study, switched, names, sets=laws, old=["v1"])
    write_metrics(study, switched, names)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, name: str, outputs: Path, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [f"lrpath.{name}", f"outputs={outputs}", "bootstrap_samples=20", *arguments])
    entry.run(ENDS[name], config_name=name)


def test_a_plan_that_was_never_run_is_predicted_from_a_study(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "predict", outputs, *SMALL, "plan=given", "alpha=0.5", "fit=[main,v1]", "format=json")

    found = json.loads(capsys.readouterr().out)
    assert [row["path"] for row in found["paths"]] == [f"path_switching.v{n}" for n in (1, 2, 3)]
    assert all(row["low_nats_per_token"] <= row["predicted_nats_per_token"] for row in found["paths"])
    assert found["fitted"] == ["path_switching.main", "path_switching.v1"]
    assert found["values"]["B"] == pytest.approx(LAST["B"], rel=0.05)
    assert (outputs / "toy" / "predict" / "law.json").is_file()


def test_a_law_that_was_saved_is_asked_again_and_a_path_that_was_run_gets_its_error(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = outputs / "first"
    run(monkeypatch, "predict", outputs, "study=toy", "fit=[main,v1]", f"folder={folder}")
    run(monkeypatch, "predict", outputs, "study=toy", f"law={folder / 'law.json'}", f"folder={outputs / 'second'}")

    assert (outputs / "second" / "table.csv").read_text() == (folder / "table.csv").read_text()
    row = re.search(r"^path_switching\.v2 .*$", capsys.readouterr().out, flags=re.MULTILINE)
    assert row
    assert float(row[0].split()[7]) < 0.002  # RMSE of a branch like the one that was fitted


def test_curves_from_files_are_fitted_without_a_study(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (table,) = (outputs / "toy" / "paths").glob("path_switching.v2-*/metrics.csv")
    (main,) = (outputs / "toy" / "paths").glob("path_switching.main-*/metrics.csv")
    rows = [line.split(",") for line in (main.read_text() + table.read_text()).splitlines() if line[0].isdigit()]
    by_position = {int(row[0]): f"{row[0]},{row[2]},{row[1]}" for row in rows}
    (tmp_path / "whole.csv").write_text("\n".join(["step,lr,loss", *(by_position[n] for n in range(1, 401))]) + "\n")

    asked = [text for text in SMALL if not text.startswith("study=")]
    run(
        monkeypatch, "predict", tmp_path, *asked, "fit=[]", f"files=[{tmp_path / 'whole.csv'}]", "plan=given", "skip=20"
    )

    printed = capsys.readouterr().out
    assert "of 1 curves" in printed
    assert re.search(r"^path_switching\.v3 +600 +2\.\d+", printed, flags=re.MULTILINE)


def test_the_advised_command_plans_the_very_paths_that_were_predicted(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch, "advise", outputs, *SMALL, "fit=[main,v1,v2]")

    found = json.loads((outputs / "toy" / "advise" / "advice.json").read_text())
    words = shlex.split(found["command"])
    assert words[:3] == ["python", "-m", "lrpath.train"]
    project = project_of(*words[3:])
    chosen = found["releases"][0]
    assert [one["version"] for one in found["releases"]] == ["v3"]  # v1 and v2 have been run
    branch = next(path for path in project.plan.tree.paths if path.name == "path_switching.v3")
    assert project.plan.tree.updates(branch.id) == chosen["updates"] == round(chosen["alpha"] * 200)
    assert branch.schedule.pieces[0].shape == chosen["shape"]
    assert branch.schedule.pieces[-1].last == chosen["floor"]
    assert set(project.selected or ()) == {branch.id, project.plan.tree.paths[0].id}
    printed = capsys.readouterr().out
    assert found["command"] in printed
    assert "WARNING: this extrapolates: of v3's choice, " in printed  # long decays were never seen


def test_the_command_names_a_main_path_that_another_paradigm_shares_as_the_plan_does(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = (
        "paradigm=[merged,path_switching]",
        "paradigms.path_switching.decay={shape:knee,hold:0.5,floor:0.1}",
        "paradigms.merged.spacing=5",
        "releases=v3",
        f"folder={outputs / 'it'}",
    )

    run(monkeypatch, "advise", outputs, *SMALL, "fit=[main,v1,v2]", *shared)

    words = shlex.split(json.loads((outputs / "it" / "advice.json").read_text())["command"])
    assert words[-1] == "paths=[merged.main,path_switching.v3]"
    project = project_of(*words[3:])
    assert len(project.selected or ()) == 2
    assert len(project.plan.tree.paths[-1].schedule.pieces) == 1  # nothing of the knee stays


def test_after_a_change_of_domain_both_losses_are_weighed_and_the_turning_length_is_printed(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    setup = ("+exp=cpt_dynamics/transfer_points", "scale=mini", "increment=[200,200]", "peak=1.0", "study=switched")

    change = ("+paradigms.after_all.restart=rewarm", "+paradigms.after_all.rewarm=5", "peaks=[0.5]")
    law = ("law=continual", "fixed={}", "set=[v1,v2]", "weight=0.25")
    run(monkeypatch, "advise", outputs, *setup, *change, *law, "label=after_all")

    printed = capsys.readouterr().out
    assert "by the loss on v1 × 0.75 and v2 × 0.25" in printed
    assert re.search(r"at loss potential 1\.00: by the law .*turning length.* critical point: [\d,]+ updates", printed)
    assert re.search(r"cannot be chosen: for one, its replay [\d.]+ lies outside \[0, 0\]", printed)
    words = shlex.split(json.loads((outputs / "switched" / "advise" / "advice.json").read_text())["command"])
    assert words[-2:] == ["++paradigms.after_all.replay=0", "++paradigms.after_all.rewarm_peak=0.5"]
    assert project_of(*words[3:]).config.paradigms["after_all"].rewarm_peak == 0.5


def test_another_trainers_file_is_fitted_and_one_that_comes_later_is_compared(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"early": np.repeat([1.0, 0.1], [150, 50]), "late": np.repeat([1.0, 0.1], [250, 50])}
    for name, rate in rates.items():
        positions = np.arange(2, rate.size + 1)
        losses = LastIterateLaw().predict(LAST, curve=Curve(name=name, rates_U=rate, positions_P=positions))
        rows = [f"{at};{rate[at - 1]:g};{loss:.5f};" for at, loss in zip(positions, losses, strict=True)]
        text = "\n".join(["Step;LR;train/loss;val/loss", *rows]).replace(".", ",")  # as a German spreadsheet writes it
        (tmp_path / f"{name}.csv").write_text(f"{text}\n")
    files = [f"{{path:{tmp_path / 'early.csv'},warmup:1}}", f"{{path:{tmp_path / 'late.csv'},warmup:1}}"]

    run(
        monkeypatch, "predict", tmp_path, *SMALL, "fit=[]", "predict=[]", "skip=20", "format=json",
        f"files=[{files[0]}]", f"compare=[{files[1]}]",
    )  # fmt: skip

    (row,) = json.loads(capsys.readouterr().out)["paths"]
    assert row["path"] == "late"
    assert row["error_nats_per_token"] == pytest.approx(0.0, abs=2e-3)
    assert row["low_nats_per_token"] <= row["predicted_nats_per_token"] <= row["high_nats_per_token"]


def test_models_of_several_sizes_are_fitted_together(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    law, rate = ContinualLaw(domain=Domain.OLD, sizes=True), np.repeat([1.0, 0.2, 0.5, 0.1], [100, 40, 100, 60])
    values = OLD | {"gamma1": 0.1, "gamma2": 0.05, "F": 2.0, "gamma3": 0.4}
    files = {}
    for size in (5e6, 2e7, 8e7, 3.2e8):
        curve = Curve(name="x", rates_U=rate, positions_P=np.arange(1, 301), boundary=140, parameters=size)
        rows = [
            f"{at},{rate[at - 1]:g},{loss:.8f}" for at, loss in enumerate(law.predict(values, curve=curve), start=1)
        ]
        (tmp_path / f"{size:.0f}.csv").write_text("\n".join(["step,lr,loss", *rows]) + "\n")
        files[size] = f"{{path:{tmp_path / f'{size:.0f}.csv'},boundary:140,parameters:{size:.0f}}}"

    run(
        monkeypatch, "predict", tmp_path, *SMALL, "fit=[]", "law=continual", "fixed={lambda:0.9}", "set=old", "skip=20",
        f"files=[{','.join(list(files.values())[:3])}]", f"compare=[{files[3.2e8]}]", "format=json",
    )  # fmt: skip

    found = json.loads(capsys.readouterr().out)
    assert {"gamma1", "gamma2", "gamma3", "F"} <= found["values"].keys()  # Eq. 7
    assert found["paths"][0]["error_nats_per_token"] == pytest.approx(0.0, abs=0.02)


def test_the_loss_on_a_third_domain_is_predicted_as_a_mixture(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    third = ("law=continual", "fixed={}", "set=[v1,v2]", "mixture=v3", "predict='*'", "format=json", "extrapolate=true")

    run(monkeypatch, "predict", outputs, "study=switched", *third)

    found = json.loads(capsys.readouterr().out)
    assert "-0.546 × the loss on v1 + 1.853 × that on v2" in found["note"]
    assert all(abs(row["error_nats_per_token"]) < 0.02 for row in found["paths"])


def test_what_was_run_stands_beside_the_advice_and_three_branches_need_no_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = None
    for alpha in (0.2, 0.5, 0.8):
        plan = project_of(*SMALL[:-1], f"alpha={alpha}").plan
        study = study_in(tmp_path, plan) if study is None else study
        study.save_plan(plan.as_record())
        names = ["path_switching.v2"] if alpha > 0.2 else ["path_switching.main", "path_switching.v2"]
        write_metrics(study, plan, names, law=LastIterateLaw(), values=LAST)

    run(monkeypatch, "advise", tmp_path, *SMALL, "fit=[main,'*alpha=0.2*.v2']", "releases=v2")

    printed = capsys.readouterr().out
    assert printed.count("v2 has been run with α=") == 3
    assert "by a parabola in log α through 3 branches" in printed
    found = json.loads((tmp_path / "toy" / "advise" / "advice.json").read_text())
    assert found["format"] == 3
    assert found["fit"]["law"] == "last_iterate"
    assert [one["alpha"] for one in found["observed"]] == [0.2, 0.5, 0.8]
    assert found["configured"][0]["observed"] == pytest.approx(found["observed"][0]["loss"])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("predict", ["study=absent"]),
        ("predict", ["study=toy", "fit=v3"]),
        ("predict", ["study=toy", "fit=nothing"]),
        ("predict", ["study=switched", "law=continual"]),
        ("predict", ["study=toy", "plan=mine"]),
        ("advise", [*SMALL, "loss=0.5"]),
        ("advise", [*SMALL, "budget='5 updates'"]),
        ("advise", [*SMALL, "releases=v7"]),
        ("advise", [*SMALL, "label=continual"]),
        ("advise", [*SMALL, "paradigm=[from_scratch,continual]"]),
        ("advise", [*SMALL, "paradigm=[from_scratch]"]),
        ("advise", [*SMALL, "model.layers=7"]),
        ("advise", [*SMALL, "fit=main"]),
        ("advise", [*SMALL, "fit=[main,v2]", "bins=14"]),
        ("predict", ["study=toy", "fit=[main,v2]", "mixture=v3"]),
        ("predict", ["study=toy", "fit=[main,v2]", "interval=finished"]),
    ],
    ids=lambda part: part[-1] if isinstance(part, list) else part,
)
def test_a_question_that_cannot_be_answered_is_one_line(
    name: str,
    arguments: list[str],
    outputs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, outputs, "bootstrap_samples=0", *arguments)

    reported = capsys.readouterr().err
    assert ended.value.code == 2
    assert reported.count("\n") == 1
    check_sentence(reported)


def test_help_explains_the_fields_and_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom lrpath import advise, entry, predict\n"
        "for name, end in (('predict', predict.predict), ('advise', advise.give_advice)):\n"
        "    sys.argv = [f'lrpath.{name}', '--help']\n"
        "    try: entry.run(end, config_name=name)\n"
        "    except SystemExit as ended: assert not ended.code\n"
        "print('torch' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert all(f"python -m lrpath.{name} " in done.stdout for name in ENDS)
    assert done.stdout.count("bootstrap_samples: 200") == 2
    assert done.stdout.splitlines()[-1] == "False"
