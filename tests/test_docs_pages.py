"""The blocks of docs/ that are marked to be run are run."""

import re
import sys
from pathlib import Path

import pytest

from lrpath.records.study import Study
from tests.integration.lab import REPOSITORY, Lab, call
from tests.integration.test_another_trainer import run

DOCS = REPOSITORY / "docs"


def block(page: str, name: str) -> str:
    (found,) = re.findall(
        rf"<!-- run: {re.escape(name)} -->\n```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL
    )
    return found


@pytest.mark.slow
def test_the_trainer_of_the_page_runs_a_plan(lab: Lab) -> None:
    script = lab.folder / "my_trainer.py"
    script.write_text(block("another_trainer.md", script.name))
    words = f"engine.run='{sys.executable} {script} {{stretch}}'"

    assert run(lab, "engine=command", "engine.name=mine", words, "engine.data=ids", "cadence.save_every=1000") == 26


@pytest.mark.slow
def test_the_trainer_of_hugging_face_runs_a_plan(lab: Lab) -> None:
    pytest.importorskip("accelerate")
    script = REPOSITORY / "experiments" / "16_doors" / "hf_trainer.py"
    words = f"engine.run='{sys.executable} {script} {{stretch}}'"

    made = run(lab, "versions=1", "engine=command", "engine.name=hf_trainer", words, "cadence.save_every=1000")

    study = lab.study()
    saved = [checkpoint.name for checkpoint in study.folder.glob("paths/*/states/*/checkpoint-*")]
    assert made == sum(one.updates for one in study.ledger.runs()) == 10
    assert sorted(saved) == ["checkpoint-10", "checkpoint-4"]


@pytest.mark.slow
def test_the_callbacks_of_the_page_train_and_resume(tmp_path: Path) -> None:
    script = tmp_path / "callbacks.py"
    script.write_text(block("lightning_callbacks.md", script.name))

    done = call(str(script), folder=tmp_path, env={"OMP_NUM_THREADS": "1"})

    assert done.code == 0, done.err
    study = Study(tmp_path / "runs" / "net")
    assert sorted(position for folder in study.folders() for position in folder.positions()) == [4, 10, 10, 14, 20]
    assert sum(run.updates for run in study.ledger.runs()) == 26
