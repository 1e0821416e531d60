"""Files that were once answered with a traceback, each with the one line that it is answered with now."""

import fcntl
import json
import pathlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import BusyError, ConfigError, DataError, LrpathError, StateError
from lrpath.laws.curve_files import read_csv
from lrpath.models import build_model
from lrpath.planning.shape import FileModel
from lrpath.records.lease import owned
from lrpath.records.ledger import Ledger, settle
from tests.records.lab import RUN
from tests.refusals import refused


def read_a_curve_with_a_long_field(folder: pathlib.Path) -> None:
    file = folder / "curve.csv"
    file.write_text(f"step,loss,note\n1,2.5,{'x' * 131_073}\n")
    read_csv(file)


def count_a_run_to_eighteen_nines(folder: pathlib.Path) -> None:
    (folder / "running.json").write_text(json.dumps(asdict(RUN)))
    (folder / "reached").write_text("9" * 18)
    settle(folder, ledger=Ledger(folder / "ledger.jsonl"))


def own_a_path_whose_lock_holds_brackets(folder: pathlib.Path) -> None:
    file = folder / "main-p" / "lock"
    file.parent.mkdir()
    file.write_text("[" * 200_000)
    with file.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)  # its owner lives
        with owned(file):
            pytest.fail("two processes own the path")


def build_from(folder: pathlib.Path, **changes: Any) -> None:
    sizes = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    record = {"model_type": "llama", "num_attention_heads": 4, "max_position_embeddings": 16} | sizes | changes
    (folder / "config.json").write_text(json.dumps(record))
    given = {"vocab_size": None, "context": None, "stated_parameters": None}
    build_model(FileModel(family="file", file=str(folder / "config.json"), **given).shape(), seed=0)


def read_a_tokenizer_at_which_the_library_panics(folder: pathlib.Path) -> None:
    unread = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}
    record = {"version": "1.0", "added_tokens": [], "normalizer": unread, "pre_tokenizer": None, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(record | {"post_processor": None, "decoder": None}))
    read_tokenizer(folder / "tokenizer.json")


ONCE_TRACEBACKS: dict[str, tuple[Callable[[pathlib.Path], None], type[LrpathError]]] = {
    "a field of more than 131,072 characters": (read_a_curve_with_a_long_field, DataError),
    "a counter of 18 nines": (count_a_run_to_eighteen_nines, StateError),
    "a lock of 200,000 brackets": (own_a_path_whose_lock_holds_brackets, BusyError),
    "an epsilon that is no number": (lambda folder: build_from(folder, rms_norm_eps="nan"), ConfigError),
    "an unknown activation": (lambda folder: build_from(folder, hidden_act="swoosh"), ConfigError),
    "a panic of the tokenizers library": (read_a_tokenizer_at_which_the_library_panics, DataError),
}


@pytest.mark.parametrize("name", ONCE_TRACEBACKS)
def test_what_was_a_traceback_is_one_line(tmp_path: pathlib.Path, name: str) -> None:
    act, kind = ONCE_TRACEBACKS[name]

    with refused(kind) as caught:
        act(tmp_path)

    assert "\n" not in str(caught.value)
