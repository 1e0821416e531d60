"""What docs/ shows is run: every command and every block of code, in order, with small numbers."""

import contextlib
import importlib
import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from lrpath import train
from lrpath.config.composing import compose_config
from lrpath.records.study import Study
from tests.integration.lab import states_of

DOCS = Path(__file__).parent.parent / "docs"
SMALL = (
    "versions=2",
    "increment=8 updates",
    "warmup=2 updates",
    "model=tiny",
    "data=own",
    "data.source.kind=mine:texts",
    "data.tokenizer.vocab_size=300",
    "batch.sequences_per_update=2",
    "batch.tokens_per_sequence=16",
    "strategy.accelerator=cpu",
    "strategy.threads=1",
    "logger=none",
    "paradigm=[path_switching]",
)


def blocks(file: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / file).read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty current folder, where modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return tmp_path


COMMANDS = [line for block in blocks("own_code.md", "sh") for line in block.splitlines()]


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, id=shlex.split(one)[-1], marks=[pytest.mark.slow] if "lrpath.train" in one else [])
        for number, one in enumerate(COMMANDS)
    ],
)
def test_the_commands_of_the_guide_to_own_code_work(
    here: Path, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    (here / "mine.py").write_text("".join(blocks("own_code.md", "python")))
    _, _, module, *overrides = shlex.split(COMMANDS[number])
    given = {one.partition("=")[0] for one in overrides}
    small = [one for one in SMALL if not {one.partition("=")[0], one.partition(".")[0]} & given]

    entry = getattr(importlib.import_module(module), module.rpartition(".")[2])
    entry(compose_config(*small, f"study=guide_{number}", *overrides))
    sys.modules.pop("mine", None)

    printed = capsys.readouterr().out
    assert "path_switching" in printed
    assert ("updates were run" in printed) is (module == "lrpath.train")


@pytest.mark.slow
def test_what_the_guide_freezes_stays_as_it_was(here: Path) -> None:
    (here / "mine.py").write_text(
        "".join(blocks("own_code.md", "python"))
        + "class Frozen(Recurrent):\n"
        + "    def __init__(self, vocab_size: int, width: int = 64):\n"
        + "        super().__init__(vocab_size, width)\n"
        + "        self.embedding.requires_grad_(False)\n"
    )
    (command,) = (one for one in COMMANDS if "Frozen" in one)
    by_model = ("study=by_model", "model=own", "model.kind=mine:Frozen")
    small = [one for one in SMALL if not one.startswith("model=")]

    train.train(compose_config(*SMALL, "study=by_optimizer", "cadence.save_every=4", *shlex.split(command)[3:]))
    train.train(compose_config(*small, "cadence.save_every=4", *by_model))
    sys.modules.pop("mine", None)

    for study, tables in (("by_optimizer", ["embed_tokens", "lm_head"]), ("by_model", ["embedding"])):
        states = list(states_of(Study(here / "outputs" / study)).values())
        weights = [name for name in states[0] if name.startswith("model.")]
        still = [name for name in weights if len({state[name] for state in states}) == 1]
        assert [name.split(".")[-2] for name in sorted(still, key=len, reverse=True)] == tables
        assert len(states) > 2


def test_the_notebook_is_the_page_on_python() -> None:
    cells = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]

    code = ["".join(cell["source"]).strip() for cell in cells if cell["cell_type"] == "code"]

    assert code == [block.strip() for block in blocks("python_api.md", "python")]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


@pytest.mark.slow
def test_the_notebook_runs(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a module, since its classes are found again by name; a kernel has them in `__main__`."""
    cells = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]
    source = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    (here / "notebook.py").write_text(source)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        __import__("notebook")
    module = sys.modules.pop("notebook")

    assert "path_switching" in printed.getvalue()
    assert module.shorter.train(quiet=True) == 0
    assert module.study.verify() == []
