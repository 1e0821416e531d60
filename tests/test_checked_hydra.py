"""Configuration files are data: what Hydra or logging would call is refused before it is called."""

import sys
from pathlib import Path

import pytest

from lrpath import entry, plan

TOUCH = "import pathlib\n\n\ndef touch(path):\n    pathlib.Path(path).touch()\n"
HOSTILE = {
    "a callback": "callbacks: {x: {_target_: hostile.touch, path: touched}}",
    "a sweeper's settings": "sweeper: {params: {_target_: hostile.touch, path: touched}}",
    "a launcher's settings": "launcher: {setup: [{_target_: hostile.touch, path: touched}]}",
    "a search space": "sweeper: {custom_search_space: hostile.touch}",
    "a sampler": "sweeper: {sampler: {_target_: optuna.samplers.os.system}}",
    "a hidden callback": "callbacks: {x: {_target_: '${oc.env:LRPATH_TEST_TARGET}', path: touched}}",
    "a handler of logging": "hydra_logging: {handlers: {x: {'()': hostile.touch, path: touched}}}",
    "a class of logging": "job_logging: {handlers: {x: {class: hostile.touch, path: touched}}}",
    "an import of logging": "hydra_logging: {handlers: {x: {class: logging.StreamHandler, stream: 'ext://hostile.touch'}}}",
}


@pytest.mark.parametrize("hydra", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_experiment_file_that_names_code_is_refused_in_one_line(
    hydra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "theirs.yaml").write_text(f"# @package _global_\nhydra:\n  {hydra}\n")
    (tmp_path / "hostile.py").write_text(TOUCH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LRPATH_TEST_TARGET", "hostile.touch")
    monkeypatch.setattr(sys, "argv", ["lrpath.plan", "--config-dir", str(tmp_path), "+exp=theirs"])

    with pytest.raises(SystemExit) as ended:
        entry.run(plan.plan, config_name="config")

    reported = capsys.readouterr().err
    assert ended.value.code == 2
    assert len(reported.splitlines()) == 1
    assert not (tmp_path / "touched").exists()
    assert "hostile" not in sys.modules


@pytest.mark.parametrize("given", ["outputs=nope://bucket/x", "data.folder=nope://bucket/x", "figure=s3://bucket/x"])
def test_a_url_that_cannot_be_written_to_becomes_no_folder(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lrpath.plan", "+exp=quickstart", given])

    with pytest.raises(SystemExit) as ended:
        entry.run(plan.plan, config_name="config")

    assert ended.value.code == 2
    assert given.partition("=")[2] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
