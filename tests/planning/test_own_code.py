"""Own code: how it is found by its name, what its settings are, and what its identity is."""

import importlib
import linecache
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrpath.errors import ConfigError, LrpathError
from lrpath.planning.optimizers import Optimizer, OwnOptimizer, as_record, from_record
from lrpath.planning.own_code import find_code, own_settings
from lrpath.planning.own_source import digest_source
from lrpath.planning.paradigms import KINDS, OwnParadigm, Paradigm, Setting
from lrpath.planning.plain import as_plain, by_kind, convert
from lrpath.planning.streams import Increment
from tests.planning.strategies import RECIPE
from tests.refusals import refused

SOURCE = '''
"""A module."""

SCALE = 2.0


def scaled(value):
    return value * SCALE


class Base:
    def twice(self, value):
        return 2 * value


class Mine(Base):
    """What I wrote."""

    def __init__(self, params, *, beta: float = 0.9, decay: "int | None" = None):
        self.beta = beta

    def step(self):
        return scaled(self.beta)  # a remark

    def state_of(self, parameter):
        return {}


def unrelated():
    return 0
'''
Write = Callable[[str], Any]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Return a function that writes the module `mine` into the current folder, and returns its class `Mine`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(source: str) -> Any:
        (tmp_path / "mine.py").write_text(source)
        sys.modules.pop("mine", None)
        importlib.invalidate_caches()
        linecache.clearcache()
        for cached in tmp_path.glob("__pycache__/*"):
            cached.unlink()  # two writings of one second and size look the same to Python
        return find_code("mine:Mine", group="optimizers", field="kind").value

    yield write
    sys.modules.pop("mine", None)


def digest(value: Any) -> str:
    return digest_source(value, name="mine:Mine")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("scaled(self.beta)", "scaled(self.beta + 1)", False),
        ("value * SCALE", "value + SCALE", False),
        ("SCALE = 2.0", "SCALE = 3.0", False),
        ("2 * value", "3 * value", False),
        ("beta: float = 0.9", "beta: float = 0.8", False),
        ("return 0", "return 1", True),
        ("  # a remark", "  # another remark", True),
        ("What I wrote.", "What we wrote.", True),
        ("        self.beta = beta", "\n        self.beta = beta", True),
    ],
)
def test_identity_is_the_source_of_a_class_and_of_what_it_uses(
    write: Write, before: str, after: str, *, same: bool
) -> None:
    assert before in SOURCE

    first, second = digest(write(SOURCE)), digest(write(SOURCE.replace(before, after)))

    assert (first == second) is same


def test_a_class_that_moves_to_another_module_is_the_same(write: Write, tmp_path: Path) -> None:
    first = digest(write(SOURCE))
    (tmp_path / "elsewhere.py").write_text(SOURCE)

    moved = find_code("elsewhere:Mine", group="optimizers", field="kind")

    assert moved.digest == first
    sys.modules.pop("elsewhere")


def test_a_class_of_a_notebook_has_the_identity_that_it_has_in_a_file(write: Write) -> None:
    cell = types.ModuleType("cells")  # as IPython runs it: a module without a file, whose cells linecache knows
    linecache.cache["<cell 1>"] = (len(SOURCE), None, SOURCE.splitlines(keepends=True), "<cell 1>")
    sys.modules["cells"] = cell
    exec(compile(SOURCE, "<cell 1>", "exec"), vars(cell))

    in_notebook = digest(cell.Mine)

    del sys.modules["cells"]
    assert in_notebook == digest(write(SOURCE))


def test_a_file_that_was_edited_after_it_was_imported_is_refused(write: Write, tmp_path: Path) -> None:
    mine = write(SOURCE)
    (tmp_path / "mine.py").write_text(SOURCE.replace("scaled(self.beta)", "scaled(self.beta + 1)"))

    with refused(ConfigError):
        digest(mine)


def test_code_without_source_has_no_identity() -> None:
    made = type("Made", (), {})

    with refused(ConfigError):
        digest(made)


@pytest.mark.parametrize(
    "name",
    ["mine:Mien", "nowhere:Mine", "mine.inner:Mine", "mine:", ":Mine", "mine:Mine.step.x", "mine:SCALE", "a b:C"],
)
def test_a_name_that_leads_nowhere_is_refused(write: Write, name: str) -> None:
    write(SOURCE)

    with refused(ConfigError, field="optimizer.kind", value=name):
        find_code(name, group="optimizers", field="optimizer.kind")


@pytest.mark.parametrize("source", ["import nothing_of_this_name", "1 / 0", "def ("])
def test_a_module_that_cannot_be_imported_is_refused_with_its_reason(write: Write, source: str) -> None:
    with refused(ConfigError, field="kind", value="mine:Mine"):
        write(source)


def test_a_module_that_has_the_name_of_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "statistics.py").write_text("class Mine: pass\n")
    monkeypatch.chdir(tmp_path)

    with refused(ConfigError, field="kind", stable=False):
        find_code("statistics:Mine", group="optimizers", field="kind")


def test_a_package_may_offer_kinds_as_entry_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "offered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lrpath.optimizers]\nlion = tests.own_code:Lion\n")
    monkeypatch.syspath_prepend(tmp_path)

    optimizer = convert(Optimizer, {"kind": "lion", "weight_decay": 0.0, "clip_norm": None}, place="optimizer")

    assert isinstance(optimizer, OwnOptimizer)
    assert optimizer.reference == "tests.own_code:Lion"


def test_settings_are_those_of_the_signature_with_its_defaults(write: Write) -> None:
    write(SOURCE)
    code = find_code("mine:Mine", group="optimizers", field="kind")

    assert own_settings(code, {"decay": 3}, given=("params",), field="o") == {"beta": 0.9, "decay": 3}
    with refused(ConfigError, field="o.gamma", value=1):
        own_settings(code, {"gamma": 1}, given=("params",), field="o")
    with refused(ConfigError, field="o.beta", value="high"):
        own_settings(code, {"beta": "high"}, given=("params",), field="o")
    with refused(ConfigError, field="o.params"):
        own_settings(code, {}, field="o")


def test_an_optimizer_of_your_own_is_recorded_without_its_module_and_read_without_it(write: Write) -> None:
    write(SOURCE)
    given = {"kind": "mine:Mine", "beta": 0.5, "weight_decay": 0.1, "clip_norm": None}
    optimizer = convert(Optimizer, given, place="optimizer")
    Path("mine.py").unlink()
    sys.modules.pop("mine")

    record = as_record(optimizer)

    assert from_record(record) == optimizer
    assert "mine" not in str(record)
    assert convert(Optimizer, as_plain(optimizer), place="optimizer") == optimizer


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"clip_norm": -1.0}, "optimizer.clip_norm"),
        ({"weight_decay": -1.0}, "optimizer.weight_decay"),
        ({"kind": "tests.own_code:MeanModel"}, "optimizer.kind"),
        ({"kind": "tests.own_code:wave"}, "optimizer.kind"),
    ],
)
def test_an_optimizer_that_cannot_be_one_is_refused(change: dict[str, Any], field: str) -> None:
    given = {"kind": "tests.own_code:Lion", "weight_decay": 0.1, "clip_norm": None}

    with refused(ConfigError, field=field):
        convert(Optimizer, given | change, place="optimizer")


SETTING = Setting(
    label="ours",
    recipe=RECIPE,
    increments=(Increment(version="v1", updates=8), Increment(version="v2", updates=8)),
    parse=lambda length, _field: int(length),
)


def test_a_function_is_a_paradigm() -> None:
    paradigm = convert(dict[str, Paradigm], {"ours": {"kind": "tests.own_code:halves", "peak": 0.5}}, place="")["ours"]

    tree = paradigm.plan(SETTING)

    assert [(path.name, path.start, tree.end(path.id)) for path in tree.paths] == [
        ("ours.main", 0, 14),
        ("ours.v1", 6, 8),
        ("ours.v2", 14, 16),
    ]
    assert as_plain(paradigm) == {"kind": "own", "name": "tests.own_code:halves", "settings": {"peak": 0.5}}
    assert by_kind(KINDS, as_plain(paradigm), place="") == paradigm


PARADIGMS = """
class Mine:
    def __init__(self, *, decay: "Decay"):
        self.decay = decay
    def plan(self, setting):
        assert self.decay.floor == 0.1
        return 3
    def step(self): ...
    def state_of(self): ...

class Plain:
    pass

def broken(setting):
    return setting.nothing

def nothing(setting):
    return 3

def too_few(setting):
    from lrpath.planning.paradigms import main_path
    from lrpath import Tree, schedules
    main = main_path(setting, (schedules.constant(1.0),))
    return Tree(paths=(main,), releases=(setting.release(0, main, 8),))

from lrpath import Decay
"""


@pytest.mark.parametrize("name", ["broken", "nothing", "too_few", "Plain", "Mine"])
def test_a_paradigm_that_gives_no_tree_is_refused(write: Write, name: str) -> None:
    write(PARADIGMS)
    settings = {"decay": {"shape": "linear", "floor": 0.1}} if name == "Mine" else {}

    with refused(LrpathError):
        OwnParadigm.of_own_code({"kind": f"mine:{name}"} | settings, place="paradigms.ours").plan(SETTING)


def test_settings_of_a_paradigm_are_kept_as_plain_data(write: Write) -> None:
    write(PARADIGMS)

    paradigm = OwnParadigm.of_own_code(
        {"kind": "mine:Mine", "decay": {"shape": "linear", "floor": 0.1}},
        place="paradigms.ours",
    )

    assert paradigm.settings == {"decay": {"shape": "linear", "floor": 0.1}}
