"""Every command that README.md and docs/ show composes, is accepted, and is planned where that needs no text.

So a renamed field, option or experiment shows here. What such commands do is run by the tests of what they are about;
the commands of docs/own_code.md and docs/from_weights.md are run as they stand.
"""

import functools
import importlib
import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

from lrpath import entry
from lrpath.assembly.project import Project
from lrpath.config import commands as configs
from lrpath.config import schema
from lrpath.config.laws import AdviseConfig, PredictConfig, TuneConfig, load_laws
from lrpath.config.typed import typed_root
from lrpath.config.weights import with_model_group
from tests.composing import composed
from tests.zero_weights import write_zero_weights

TOP = Path(__file__).parents[1]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
RUN = {"own_code.md", "from_weights.md"}
"""Pages whose every command is run by a test of their own."""
LOADS: dict[str, Callable[..., Any]] = {
    "train": schema.load,
    "plan": schema.load,
    "verify": configs.load_verify,
    "evaluate": configs.load_evaluate,
    "report": functools.partial(typed_root, configs.ReportConfig),
    "show": functools.partial(typed_root, configs.ShowConfig),
    "prune": functools.partial(typed_root, configs.PruneConfig),
    "export": functools.partial(typed_root, configs.ExportConfig),
    "tune": functools.partial(typed_root, TuneConfig),
    "predict": functools.partial(load_laws, PredictConfig),
    "advise": functools.partial(load_laws, AdviseConfig),
}
PLACEHOLDERS = "…" + "("
"""Where a page leaves something out, it is no command."""


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """Yield the module and the overrides of every command of a page, in blocks and within sentences."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [line for block in blocks for line in block.replace("\\\n", " ").splitlines()] + inline:
        found = re.search(r"-m lrpath\.(\w+)( .*|$)", line)
        if found is not None and not set(line) & set(PLACEHOLDERS):
            words = shlex.split(found[2].partition("  #")[0], comments=True)
            yield found[1], *itertools.takewhile(lambda word: word not in (";", "&&", "|"), words)


def single(override: str) -> str:
    """Return an override with the first value of a sweep, or the lower end of an interval."""
    parsed = OverridesParser.create().parse_override(override)
    if not parsed.is_sweep_override():
        return override
    value = parsed.value()
    first = value.start if isinstance(value, IntervalSweep) else next(parsed.sweep_string_iterator())
    return f"{parsed.get_key_element()}={first}"


FOUND = [(page.name, *words) for page in PAGES if page.name not in RUN for words in commands(page)]


@pytest.fixture(scope="module", autouse=True)
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Work where what the commands name can be."""
    folder = tmp_path_factory.mktemp("here")
    write_zero_weights(folder / "FOLDER")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [*sys.path, entry._PLUGINS])
        yield


def compose_here(module: str, *overrides: str) -> Any:
    name = "config" if module in ("train", "plan") else module
    return composed(*with_model_group([single(one) for one in overrides]), name=name)


def test_the_pages_have_commands() -> None:
    assert len(FOUND) > 50
    assert {module for _, module, *_ in FOUND} == set(LOADS)


@pytest.mark.parametrize("found", sorted(set(FOUND)), ids=" ".join)
def test_a_command_of_the_documentation_is_accepted(found: tuple[str, ...]) -> None:
    _, module, *words = found
    overrides = [word for word in words if word not in ("-m", "--multirun")]
    if any("=mine" in word or "engine=command" in word for word in overrides if word.startswith(("+exp", "engine"))):
        pytest.skip("an experiment and a trainer of the reader's own")

    assert importlib.import_module(f"lrpath.{module}")
    loaded = LOADS[module](compose_here(module, *overrides))

    if module in ("train", "plan") and not any(word.startswith("data=") or "://" in word for word in overrides):
        project = Project(loaded)
        assert project.plan.tree.paths
        assert project.selected is None or project.selected
