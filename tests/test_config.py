"""The typed schema: every conversion, every refusal, and the nearest name for a slip of the finger."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pytest
from omegaconf import OmegaConf

from lrpath.config.commands import ReportConfig
from lrpath.config.schema import BatchConfig, ClusterConfig
from lrpath.config.schema import Config as RootConfig
from lrpath.config.typed import typed_root
from lrpath.errors import ConfigError, PlanError
from lrpath.planning.paradigms import PathSwitching, Restart
from lrpath.planning.plain import converted, typed
from lrpath.training.settings import Cadence, StrategySettings
from tests.data.making import held, text_source
from tests.planning.strategies import SIZES
from tests.refusals import refused

OFF = {"recompute": False, "compile": False, "tf32": True, "shard_ranks": None, "timeout_minutes": None}
CADENCE = {
    "log_every": 1,
    "evaluate_every": 1,
    "save_every": 1,
    "keep": 2,
    "held_out_windows": None,
    "save_in_background": True,
}


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise PlanError(f"size={self.size} must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    count: int = 1
    share: float = 0.5
    name: str = "x"
    on: bool = False
    colour: Colour = Colour.RED
    mode: Literal["fast", "slow"] = "fast"
    bits: Literal[16, 32] = 16
    limit: int | None = None
    ratio: float | None = None
    length: int | str = 1
    lengths: int | str | tuple[int | str, ...] = 1
    alpha: float | tuple[float, ...] = 0.5
    files: tuple[str, ...] = ()
    table: Mapping[str, int] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=lambda: Inner(size=1))
    maybe: Inner | None = None


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("count", 3, 3),
        ("share", 1, 1.0),
        ("share", "3e-4", 3e-4),
        ("name", "y", "y"),
        ("on", True, True),
        ("colour", "green", Colour.GREEN),
        ("mode", "slow", "slow"),
        ("bits", 32, 32),
        ("limit", None, None),
        ("limit", 4, 4),
        ("ratio", None, None),
        ("ratio", "1e-2", 0.01),
        ("length", 5, 5),
        ("length", "5 tokens", "5 tokens"),
        ("lengths", "5 tokens", "5 tokens"),
        ("lengths", [1, "5 tokens"], (1, "5 tokens")),
        ("alpha", 1, 1.0),
        ("alpha", "1e-1", 0.1),
        ("alpha", [0.5, 1], (0.5, 1.0)),
        ("files", ["a", "b"], ("a", "b")),
        ("files", [], ()),
        ("table", {"a": 1}, {"a": 1}),
        ("anything", {"a": [1, None]}, {"a": [1, None]}),
        ("inner", {"size": 2}, Inner(size=2)),
        ("maybe", None, None),
        ("maybe", {"size": 2}, Inner(size=2)),
    ],
)
def test_a_plain_value_becomes_what_its_field_says(name: str, given: Any, expected: Any) -> None:
    found = getattr(typed(Outer, {name: given}, place=""), name)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("count", "3"),
        ("count", 2.5),
        ("count", 2.0),
        ("count", True),
        ("count", None),
        ("share", "much"),
        ("share", True),
        ("share", None),
        ("share", [1]),
        ("share", float("nan")),
        ("share", "inf"),
        ("share", 10**400),
        ("name", 3),
        ("on", "yes"),
        ("on", 1),
        ("colour", "rot"),
        ("colour", "gren"),
        ("mode", "fas"),
        ("bits", 8),
        ("limit", "4"),
        ("length", 0.1),
        ("length", None),
        ("length", True),
        ("lengths", [0.1]),
        ("alpha", "x"),
        ("alpha", [0.5, None]),
        ("files", "a"),
        ("files", None),
        ("files", [1]),
        ("table", [1]),
        ("table", {"a": "b"}),
        ("inner", 5),
        ("inner", {}),
        ("inner", {"size": 1, "siez": 2}),
        ("inner", {"size": 0}),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_place(name: str, given: Any) -> None:
    with refused(ConfigError, PlanError):
        typed(Outer, {name: given}, place="p")


def test_an_unknown_field_is_refused_with_the_nearest_name_and_all_that_there_are() -> None:
    with refused(ConfigError):
        typed(Outer, {"cuont": 3}, place="")


def test_a_name_that_is_near_to_nothing_gets_no_suggestion() -> None:
    with refused(ConfigError):
        typed(Outer, {"zzz": 3}, place="")


def test_a_long_value_is_shortened_in_the_message() -> None:
    with refused(ConfigError):
        typed(Outer, {"count": "x" * 10_000}, place="p")


def test_some_fields_of_a_dataclass_can_be_converted_alone() -> None:
    assert converted(Outer, {"share": "1e-1", "limit": None}, place="p") == {"share": 0.1, "limit": None}


def test_an_error_that_names_its_place_does_not_get_it_twice() -> None:
    with refused(ConfigError):
        typed(BatchConfig, {"sequences_per_update": 1, "tokens_per_sequence": 0, "growth": []}, place="batch")


def test_the_rules_of_cost_hold_for_the_cluster() -> None:
    with refused(ConfigError):
        typed(ClusterConfig, {"device": "H100", "count": 1, "mfu": 2}, place="cluster")


@pytest.mark.parametrize("name", ["log_every", "evaluate_every", "save_every", "held_out_windows"])
def test_every_cadence_is_at_least_one(name: str) -> None:
    fields = CADENCE | {name: 0}

    with refused(ConfigError):
        typed(Cadence, fields, place="cadence")


def test_a_strategy_leaves_micro_batch_and_threads_open() -> None:
    strategy = StrategySettings(name="single", accelerator="auto", micro_batch=None, threads=None, **OFF)

    assert strategy.micro_batch is strategy.threads is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "-a", ".a", "a b", "a\n", "x" * 65, "é"])
def test_a_study_is_a_plain_folder_name(name: str) -> None:
    with refused(ConfigError):
        ReportConfig(study=name, outputs="outputs", folder=None)


def test_a_study_is_reported_on_once() -> None:
    with refused(ConfigError, field="study", value=("july", "august", "july")):
        ReportConfig(study=("july", "august", "july"), outputs="outputs", folder="both")


def test_a_root_reports_every_value_that_is_not_given() -> None:
    cfg = OmegaConf.create({"study": "???", "outputs": "???"})

    with refused(ConfigError):
        typed_root(ReportConfig, cfg)


def test_a_root_reports_an_interpolation_that_leads_nowhere_as_it_was_written() -> None:
    cfg = OmegaConf.create({"study": "${nope}", "outputs": "o"})

    with refused(ConfigError):
        typed_root(ReportConfig, cfg)


def test_a_root_refuses_fields_that_it_does_not_have() -> None:
    cfg = OmegaConf.create({"study": "s", "outputs": "o", "folder": None})

    assert typed_root(ReportConfig, cfg) == ReportConfig(study="s", outputs="o", folder=None)
    with refused(ConfigError, field="peak", value=1):
        typed_root(ReportConfig, OmegaConf.merge(cfg, {"peak": 1}))


HELD_OUT = {"documents": 500, "share": 0.1, "passage_characters": 2048, "seed": 0}
TEXT = {
    "paths": ["a"],
    "text_field": "text",
    "versions": {"by": "file"},
    "heldout": HELD_OUT,
    "overlap": "keep",
    "bad_records": "refuse",
}
SWITCHING = {
    "kind": "path_switching",
    "peak": "1e-2",
    "warmup": 3,
    "decay": {"shape": "linear", "floor": 0.1},
    "alpha": 0.6,
    "anchor": "end",
}
MODEL = {"family": "llama", "vocab_size": 9, "hidden_size": 8, "layers": 2, "heads": 2, "ffn_size": 5, "context": 8}


DATA = {"folder": "f", "repeat": False, "mixture": None, "mask": "none"}


def _root(**changes: Any) -> RootConfig:
    fields: dict[str, Any] = {
        "study": "s",
        "outputs": "o",
        "seed": 1,
        "versions": 2,
        "increment": "10 updates",
        "precision": "fp32",
        "batch": {"sequences_per_update": 12, "tokens_per_sequence": 8, "growth": []},
        "model": MODEL | SIZES,
        "data": {
            "source": {"kind": "text"} | TEXT,
            "tokenizer": {"vocab_size": 300, "file": None, "end_mark": "</s>"},
            "folder": "o/data",
            "repeat": False,
            "mixture": None,
            "mask": "none",
        },
        "paradigms": {"ours": SWITCHING},
        "optimizer": {
            "kind": "adamw",
            "beta1": 0.9,
            "beta2": 0.95,
            "eps": 1e-8,
            "weight_decay": 0.1,
            "clip_norm": None,
        },
        "strategy": {"name": "single", "accelerator": "cpu", "micro_batch": None, "threads": None} | OFF,
        "engine": {"kind": "lrpath"},
        "logger": {"name": "none"},
        "cadence": CADENCE,
        "cluster": {"device": "H100", "count": 1, "mfu": 0.4},
        "guard": {"policy": "stop", "spike": None, "window": 128, "back": 100, "limit": 20},
        "figure": None,
        "rates": None,
        "format": "text",
        "paths": None,
        "callbacks": [],
        "mend": False,
        "profile": False,
        "harness": {"tasks": [], "folders": [], "examples": None, "limit": None, "batch_size": 1},
        "wait": False,
        "workers": 1,
        "extend": False,
    }
    return typed(RootConfig, fields | changes, place="")


def test_a_whole_configuration_is_typed() -> None:
    root = _root()

    assert root.increment == "10 updates"
    assert root.data.source == text_source(paths=("a",), heldout=held())
    paradigm = root.paradigms["ours"]
    assert isinstance(paradigm, PathSwitching)
    assert paradigm.peak == 0.01


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 12])
def test_a_micro_batch_divides_the_global_batch(size: int) -> None:
    strategy = {"name": "single", "accelerator": "cpu", "micro_batch": size, "threads": None} | OFF

    assert _root(strategy=strategy).strategy.micro_batch == size


def test_a_micro_batch_that_does_not_divide_the_global_batch_is_refused_with_those_that_do() -> None:
    strategy = {"name": "single", "accelerator": "cpu", "micro_batch": 5, "threads": None} | OFF

    with refused(ConfigError):
        _root(strategy=strategy)


def test_a_study_cannot_be_the_folder_of_token_stores() -> None:
    with refused(ConfigError):
        _root(study="data")


@pytest.mark.parametrize("versions", [0, -1, 1_001])
def test_a_number_of_versions_out_of_range_is_refused(versions: int) -> None:
    with refused(ConfigError):
        _root(versions=versions)


def test_a_configuration_without_a_paradigm_is_refused() -> None:
    with refused(ConfigError):
        _root(paradigms={})


@pytest.mark.parametrize("label", ["", "a/b", "a.b", "a b"])
def test_a_label_is_a_plain_name(label: str) -> None:
    with refused(ConfigError, field=f"paradigms.{label}"):
        _root(paradigms={label: SWITCHING})


def test_a_paradigm_refuses_a_field_of_another_kind() -> None:
    with refused(ConfigError, field="paradigms.ours.restart", value="reset"):
        _root(paradigms={"ours": SWITCHING | {"restart": Restart.RESET.value}})


@pytest.mark.parametrize("kind", [None, 3, "txt"])
def test_an_unknown_kind_of_source_is_refused(kind: object) -> None:
    with refused(ConfigError, field="data.source.kind", value=kind):
        _root(
            data={
                "source": {"kind": kind},
                "tokenizer": None,
                "folder": "f",
                "repeat": False,
                "mixture": None,
                "mask": "none",
            }
        )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"repeat": 0.5}, "data.repeat"),
        ({"mask": "document"}, "data.mask"),
        ({"mask": "window"}, "data.mask"),
        ({"mixture": {"web": "much"}}, "data.mixture.web"),
    ],
)
def test_data_that_cannot_be_read_so_is_refused(fields: dict[str, Any], field: str) -> None:
    source = {"kind": "tokens", "files": ["ids.bin"], "vocab_size": 300, "bits": 16, "heldout": {}}

    with refused(ConfigError, field=field):
        _root(data=DATA | {"source": source, "tokenizer": None} | fields)


@pytest.mark.parametrize("repeat", [True, 1.5, 4])
def test_a_number_of_epochs_or_none_may_be_allowed(repeat: float) -> None:
    source = {"kind": "tokens", "files": [{"web": "web.bin", "code": ["a.bin", "b.bin"]}], "vocab_size": 300}
    given = {"tokenizer": None, "repeat": repeat, "mixture": {"web": 7, "code": 0.3}}

    data = _root(data=DATA | given | {"source": source | {"bits": 16, "heldout": {}}}).data

    assert data.repeat == repeat
    assert data.mixture == {"web": 7.0, "code": 0.3}
    assert data.source.files == ({"web": "web.bin", "code": ("a.bin", "b.bin")},)
