"""What a message tells people to type can be typed.

A message advises an override after a verb, `…; add wait=true`, or at its end after a colon, `…: study=…`. All those in
`tests/refusals.txt` are composed here, with an entry that has such a field; a value that a message leaves open (`…`) is
filled in. What cures a refusal of the command line is run in `tests/integration/test_bad_input.py`.
"""

import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lrpath.config import schema
from lrpath.planning.field_names import SYNONYMS
from tests.composing import composed
from tests.refusals import recorded

ENTRIES = ("config", "predict", "advise", "report", "export", "show", "prune", "verify", "tune")
_OVERRIDE = r"'?\+{0,2}[a-z_]+(?:[./@]\w+)*=(?:\[[^\]]*\]|[^'\s;,)]+)'?"
_ADVICE = (
    re.compile(rf"\b(?:set|give|add|pass|use|choose|type|write|name some|or) ({_OVERRIDE})"),
    re.compile(rf"(?<!command line): ({_OVERRIDE}(?: {_OVERRIDE})*)$"),
)
_COMMAND = re.compile(r"-m (lrpath(?:\.\w+)+)")
_EXTRA = re.compile(r"pip install 'lrpath\[(\w+)\]'")
SWEEP = "hydra/launcher=torchrun hydra.launcher.ranks=2"
"""Hydra's own, of a sweep, which tests/test_sweep.py runs."""


def advised(text: str) -> list[str]:
    """Return the overrides that a message advises, as the shell would pass them on."""
    found = [part.rstrip(".") for pattern in _ADVICE for part in pattern.findall(text.strip())]
    return [word for part in found for word in shlex.split(part if part.count("'") != 1 else part.strip("'"))]


def accepted(override: str) -> DictConfig | None:
    """Return what the first entry that takes an override makes of it; None if there is no such entry."""
    given = override.replace("…", "1")
    # First with the source or engine whose field it is: an entry that lacks it costs a composition to find out.
    groups = [f"data={name}" for name in ("text", "tokens", "hf")] if given.lstrip("+").startswith("data.") else []
    groups += ["engine=command"] if given.startswith("engine.") else []
    for name, *others in (*(["config", group] for group in groups), *([name] for name in ENTRIES)):
        try:
            return composed(*others, given, name=name)
        except (HydraException, OmegaConfBaseException):
            continue
    return None


ROOTS = {name for entry in ENTRIES for name in OmegaConf.load(schema.conf_folder() / f"{entry}.yaml")} | {
    folder.name for folder in schema.conf_folder().iterdir() if folder.is_dir()
}


def _is_of_the_root(override: str) -> bool:
    return re.split(r"[.=@/]", override.lstrip("+~"))[0] in ROOTS


# A dataclass that refuses a value alone, as in a unit test, does not know its place; an entry says all in full.
ADVISED = sorted(
    {
        override
        for text in recorded.values()
        for override in advised(text)
        if override != "field=value" and (text.startswith("error: ") or _is_of_the_root(override))
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("override", [one for one in ADVISED if one not in SWEEP.split()])
def test_an_override_that_a_message_advises_is_understood(override: str) -> None:
    assert accepted(override) is not None


def test_messages_advise_many_overrides() -> None:
    assert len(ADVISED) > 20


@pytest.mark.parametrize("module", sorted({name for text in recorded.values() for name in _COMMAND.findall(text)}))
def test_a_command_that_a_message_names_is_there(module: str) -> None:
    assert find_spec(module) is not None


@pytest.mark.parametrize("extra", sorted({name for text in recorded.values() for name in _EXTRA.findall(text)}))
def test_an_extra_that_a_message_asks_to_install_is_there(extra: str) -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert extra in project["optional-dependencies"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("busy; wait, or add wait=true.", ["wait=true"]),
        ("study must be given: study=…", ["study=…"]),
        ("needs levels; add '+schedule.levels=[1,0.3,0]'", ["+schedule.levels=[1,0.3,0]"]),
        ("alpha=0 must be positive", []),
    ],
)
def test_advice_is_found_in_a_message(text: str, found: list[str]) -> None:
    assert advised(text) == found


def test_what_other_frameworks_call_a_field_leads_to_one_that_is_there() -> None:
    fields = {names[-1] for names in SYNONYMS.values()}
    cfg = composed("data=hf", "data.source.dataset=x", "data.source.revision=y")

    missing = {field for field in fields if OmegaConf.select(cfg, field, default=cfg) is cfg}
    assert missing - {"data.tokenizer.end_mark"} == set()
