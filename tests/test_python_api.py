"""The public names of lrpath in Python, and what an experiment refuses."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lrpath
from lrpath.config.composing import compose_config, plain
from lrpath.errors import ConfigError
from tests.own_code import Lion, MeanModel, halves, texts, wave
from tests.refusals import refused

STUB = Path(lrpath.__file__).with_suffix(".pyi")


def test_type_checkers_are_told_the_same_names() -> None:
    (names,) = [node.value for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.Assign)]

    assert sorted(lrpath.__all__) == ast.literal_eval(names)
    assert all(getattr(lrpath, name) is not None for name in lrpath.__all__)
    assert set(lrpath.__all__) <= set(dir(lrpath))
    with pytest.raises(AttributeError):
        _ = lrpath.nothing


@pytest.mark.slow
def test_planning_in_python_needs_no_torch(tmp_path: Path) -> None:
    lines = ["import sys, lrpath", "light = set(sys.modules)", "str(lrpath.Experiment(exp='paper/main'))"]
    code = "; ".join([*lines, "assert 'torch' not in sys.modules", "assert not {'hydra', 'numpy'} & light"])

    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_values_and_code_of_your_own_are_the_same_configuration_as_on_a_command_line() -> None:
    words = [
        "model=own",
        "model.kind=tests.own_code:MeanModel",
        "+model.width=4",
        "optimizer=own",
        "optimizer.kind=tests.own_code:Lion",
        "optimizer.weight_decay=0",
        "data=own",
        "data.source.kind=tests.own_code:texts",
        "schedule@branch=own",
        "branch.shape=tests.own_code:wave",
        "schedule=linear",
        "paradigm=[]",
        "+paradigms.ours={kind:'tests.own_code:halves',peak:0.5}",
        "versions=2",
        "batch.sequences_per_update=8",
    ]

    composed = compose_config(
        model={"kind": MeanModel, "width": 4},
        optimizer={"kind": Lion, "weight_decay": 0},
        data=texts,
        branch=wave,
        schedule="linear",
        paradigms={"ours": {"kind": halves, "peak": 0.5}},
        versions=2,
        batch={"sequences_per_update": 8},
    )

    assert composed == compose_config(*words)


def test_dataclasses_of_lrpath_are_values() -> None:
    decay = lrpath.Decay(shape="table", table=(0.5, 0.0), floor=0.0)
    muon = lrpath.optimizers.Muon(
        beta1=0.9, beta2=0.9, eps=1e-8, weight_decay=0.0, clip_norm=None, momentum=0.9, newton_schulz_steps=5
    )

    config = lrpath.Experiment(optimizer=muon, branch=decay, paradigm=["path_switching"]).config

    assert config.optimizer == muon
    assert config.paradigms["path_switching"].decay == decay


def test_what_cannot_be_found_again_by_its_name_is_refused() -> None:
    class Local(MeanModel):
        pass

    for value in (Local, lambda number: [str(number)]):
        with refused(ConfigError):
            plain(value)


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"alhpa": 0.5}, "alhpa"), ({"model": "tyni"}, "model"), ({"batch": {"size": 3}}, "batch.size")],
)
def test_an_experiment_refuses_what_the_command_line_refuses(fields: dict[str, object], field: str) -> None:
    with refused(ConfigError, field=field):
        lrpath.Experiment(**fields)
