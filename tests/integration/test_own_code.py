"""Own paradigm, decay, optimizer, model and source keep the promises, and a study of them needs none of their code."""

import sys
from pathlib import Path

import lightning
import pytest
import torch

import lrpath
from lrpath.assembly.reuse import check_extends
from lrpath.errors import ConfigError, MismatchError, StateError, TrainingError
from tests import own_code
from tests.integration.lab import Job, Lab, states_of, tables_of
from tests.refusals import refused

OWN = (
    "model=own",
    "model.kind=tests.own_code:MeanModel",
    "optimizer=own",
    "optimizer.kind=tests.own_code:Lion",
    "peak=0.01",
    "schedule@branch=own",
    "branch.shape=tests.own_code:wave",
    "+paradigms.halves={kind:'tests.own_code:halves',peak:0.01}",
)


@pytest.mark.slow
def test_a_run_that_was_killed_and_run_again_equals_one_that_was_not(lab: Lab) -> None:
    lab.run("study=undisturbed", *OWN, "+model.dropout=0.1")

    ended = lab.train("study=killed", *OWN, "+model.dropout=0.1", moments=("reach:5", "shards:2", "manifest:2", "end"))

    assert ended.codes == [-9, -9, -9, 0], ended.err
    assert states_of(lab.study("killed")) == states_of(lab.study("undisturbed"))
    assert tables_of(lab.study("killed")) == tables_of(lab.study("undisturbed"))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_ranks_make_what_one_process_makes(lab: Lab, strategy: str) -> None:
    lab.run("study=one", *OWN)

    ended = lab.ranked(Job(("study=two", *OWN, f"strategy={strategy}")), ranks=2)

    assert ended.code == 0, ended.err
    one, two = states_of(lab.study("one")), states_of(lab.study("two"))
    assert one.keys() == two.keys()
    for key, tensors in one.items():
        for name, bits in tensors.items():
            ours, theirs = (torch.frombuffer(bytearray(b), dtype=torch.float32) for b in (bits, two[key][name]))
            # The sign of a momentum near 0 may turn with the order of sums over ranks: then a weight moves by the rate.
            assert (ours - theirs).abs().gt(1e-5).float().mean() < 0.02, name


def written_module(folder: Path) -> Path:
    """Write what `tests.own_code` holds as a module of its own, and return its file."""
    file = folder / "written.py"
    file.write_text(Path(own_code.__file__).read_text())
    return file


def forget(name: str) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


@pytest.mark.slow
def test_a_study_of_code_that_is_gone_is_read_reported_and_verified(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.folder)
    file = written_module(lab.folder)
    written = [word.replace("tests.own_code", "written") for word in OWN]
    lab.run(
        "paradigm=[path_switching,merged]", "paradigms.merged.states=2", "paradigms.merged.spacing=2 updates", *written
    )
    live = states_of(lab.study())
    file.unlink()
    forget("written")

    study = lrpath.Study("study", outputs=lab.folder)
    report, findings = study.report(), study.verify()

    assert findings == []
    assert "halves" in str(report)
    assert all(outcome.scores for outcome in study.outcomes)
    assert [row.position for row in study.metrics("halves.v1")] == [9, 10]
    (halves,) = [one for one in study.plans[0].paradigms.values() if one.kind == "own"]
    assert halves.settings == {"peak": 0.01}
    assert "written" not in sys.modules
    with refused(StateError):
        lrpath.Study("study", outputs=lab.folder).load("halves/v2", into=own_code.MeanModel(300, width=4))
    loaded = study.load("halves/v2", into=own_code.MeanModel(300))
    key = study.plans[0].release("halves", "v2").last
    assert loaded.head.weight.detach().numpy().tobytes() == live[key.path_id, key.position]["model.lm.head.weight"]


def test_a_class_that_was_changed_is_another_path_and_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.folder)
    file = written_module(lab.folder)
    words = ("optimizer=own", "optimizer.kind=written:Lion", "versions=1")
    first = lab.project(*words).plan.tree.paths[0].id
    lab.run(*words)
    file.write_text(file.read_text().replace("SCALE = 1.0", "SCALE = 0.5"))
    forget("written")
    changed = lab.project(*words)

    assert changed.plan.tree.paths[0].id != first
    with refused(MismatchError):
        check_extends(changed)
    forget("written")


def test_a_paradigm_that_gives_the_same_paths_trains_nothing_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lab.folder)
    file = written_module(lab.folder)
    words = ("paradigm=[]", "+paradigms.ours={kind:'written:halves',peak:0.01}", "versions=1")
    assert lab.run(*words) > 0
    file.write_text(file.read_text().replace("def halves(", "def other(").replace("peak / 2", "0.5 * peak"))
    forget("written")

    assert lab.run(words[0], words[1].replace("halves", "other"), words[2]) == 0
    forget("written")


class Freezing(lightning.Callback):
    """Freezes the embedding, where one of Lightning's hooks is called."""

    def __init__(self, *, hook: str) -> None:
        setattr(self, hook, self._freeze)

    def _freeze(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: object, **__: object) -> None:
        next(module.parameters()).requires_grad_(False)


@pytest.mark.parametrize("hook", ["setup", "on_train_start", "on_train_batch_end"])
def test_a_callback_that_freezes_a_part_is_refused_where_it_does(lab: Lab, hook: str) -> None:
    callback = f"callbacks=[{{kind:'tests.integration.test_own_code:Freezing',hook:{hook}}}]"

    with refused(TrainingError):
        lab.run(callback, "versions=1")

    made = {row.position for folder in lab.study().folders() for row in folder.metrics.rows()}
    assert made <= {1}
    assert not [position for folder in lab.study().folders() for position in folder.positions()]


def test_documents_are_not_masked_in_a_model_of_your_own(lab: Lab) -> None:
    with refused(ConfigError, field="data.mask", value="document"):
        _ = lab.project("model=own", "model.kind=tests.own_code:MeanModel", "data.mask=document").shape


def test_muon_needs_blocks(lab: Lab) -> None:
    with refused(ConfigError, field="optimizer.kind", value="muon"):
        lab.run("model=own", "model.kind=tests.integration.test_own_code:Blockless", "optimizer=muon")


class Blockless(own_code.MeanModel):
    """A model without blocks."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__(vocab_size)
        del self.blocks
        self.blocks = ()
