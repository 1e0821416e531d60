"""The deliberate breaks of `experiments/00_promises` fit the product and the tests as they are now."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def breaks() -> ModuleType:
    file = REPOSITORY / "experiments" / "00_promises" / "break_promises.py"
    spec = importlib.util.spec_from_file_location("break_promises", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # in which its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def test_what_a_break_replaces_stands_in_the_product_once(breaks: ModuleType) -> None:
    counts = {one.what: (REPOSITORY / one.file).read_text(encoding="utf-8").count(one.old) for one in breaks.BREAKS}

    assert {what: count for what, count in counts.items() if count != 1} == {}


def test_every_test_that_must_notice_a_break_is_there(breaks: ModuleType) -> None:
    missing = []
    for name in dict.fromkeys(test for one in breaks.BREAKS for test in one.tests):
        file, _, function = name.partition("::")
        text = (REPOSITORY / breaks.TESTS / file).resolve().read_text(encoding="utf-8")
        missing += [] if f"def {function.partition('[')[0]}(" in text else [name]

    assert missing == []
