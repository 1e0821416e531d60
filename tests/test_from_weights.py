"""The command line of `model.weights`, and every command of docs/from_weights.md."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lrpath import entry, plan
from lrpath.config import schema
from lrpath.config.weights import with_model_group
from lrpath.data.sources import TokensSource
from lrpath.errors import ConfigError
from tests.composing import composed
from tests.refusals import refused
from tests.zero_weights import write_zero_weights

PAGE = (Path(__file__).parents[1] / "docs" / "from_weights.md").read_text(encoding="utf-8")


def test_weights_bring_their_group_and_refuse_sizes_and_other_models() -> None:
    given = "model.weights=folder"

    assert with_model_group(["versions=2", given]) == ["model=weights", "versions=2", given]
    assert with_model_group(["model=weights", given]) == ["model=weights", given]
    assert with_model_group(["model=203m"]) == ["model=203m"]
    for word, field in (("model=203m", "model.weights"), ("model.layers=3", "model.layers")):
        with refused(ConfigError, field=field):
            with_model_group([word, given])


@pytest.mark.slow
def test_a_plan_names_its_weights_and_needs_no_torch(tmp_path: Path) -> None:
    write_zero_weights(tmp_path / "checkpoint")
    code = (
        "import sys\nsys.argv = ['lrpath.plan', '+exp=quickstart', 'model.weights=checkpoint']\n"
        "from lrpath import entry, plan\nentry.run(plan.plan, config_name='config')\n"
        "print(sorted({'torch', 'transformers', 'huggingface_hub'} & sys.modules.keys()))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
    assert re.search(r"^begins with checkpoint, digest \w{12}, .*; moments start at zero$", done.stdout, re.MULTILINE)
    assert "40,960 parameters" in done.stdout


def test_weights_that_are_not_given_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["lrpath.plan", "model=weights"])

    with pytest.raises(SystemExit):
        entry.run(plan.plan, config_name="config")

    assert "model.weights must be given" in capsys.readouterr().err


def test_ids_without_a_tokenizer_may_be_all_that_the_weights_know(tmp_path: Path) -> None:
    folder = write_zero_weights(tmp_path / "checkpoint")
    words = ["data=tokens", f"data.source.files=[{tmp_path}/ids.bin]", "model=weights", f"model.weights={folder}"]
    places = [f"outputs={tmp_path}"]

    def data_of(*more: str) -> schema.DataConfig:
        return schema.load(composed(*words, *places, *more)).data

    taken = data_of()
    (folder / "tokenizer.json").unlink()
    alone, bounded = data_of(), data_of("data.source.vocab_size=200")

    assert taken.tokenizer is not None
    assert (taken.tokenizer.file, taken.tokenizer.end_mark) == (str(folder / "tokenizer.json"), "<end>")
    assert isinstance(taken.source, TokensSource)
    assert isinstance(alone.source, TokensSource)
    assert isinstance(bounded.source, TokensSource)
    assert (taken.source.vocab_size, alone.source.vocab_size, bounded.source.vocab_size) == (76, 300, 200)
    assert (alone.tokenizer, bounded.tokenizer) == (None, None)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")  # an entry that was imported is run as __main__
def test_every_command_of_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.integration.lab import write_texts  # here, since they need torch
    from tests.pretrained import write_checkpoint

    write_checkpoint(tmp_path / "checkpoint", "gpt_neox")
    write_texts(tmp_path / "corpus")
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in re.findall(r"<!-- run -->\n```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()
    ]

    for command in commands:
        _, option, module, *words = shlex.split(command)
        if "versions=5" in words:  # the page says that the folder is not needed any more
            shutil.rmtree(tmp_path / "checkpoint")
        monkeypatch.setattr(sys, "argv", [module, *words])
        assert option == "-m"
        runpy.run_module(module, run_name="__main__")

    assert len(commands) == len(re.findall(r"^python -m ", PAGE, re.MULTILINE)) == 7
    assert (tmp_path / "v5" / "model.safetensors").exists()
