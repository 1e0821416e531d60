"""Samples of a mixture against slow references: a list of windows that is built, and each domain's text by itself."""

import random
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lrpath.data.order import WindowOrder, derive_key, permuted
from lrpath.data.prepare import prepare
from lrpath.data.store import TokenStore
from lrpath.data.stream import TokenBatches, compare_readings
from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import DataError
from lrpath.planning.mixture import domain_reads, parse_mixture
from lrpath.planning.streams import Increment, Stream, again, mixture, sequential, shuffled, union
from tests.data.making import END_MARK, held, text_source, tokenizer_of, tokens_source
from tests.refusals import refused

WriteJsonl = Callable[..., Path]
B = 8
HELD = {"v1": 100, "v1/web": 60, "v1/code": 25, "v2": 100, "v2/web": 60, "v2/code": 60, "v3": 100}


def mixed(version: str, updates: int, **weights: float) -> Increment:
    return Increment(version=version, updates=updates, mixture=parse_mixture(weights, field="data.mixture"))


ONE, TWO, PLAIN = mixed("v1", 7, web=7, code=3), mixed("v2", 5, web=1, code=2), Increment(version="v3", updates=4)
STREAMS = {
    "sequential": sequential((ONE, TWO, PLAIN)),
    "union": union((ONE, TWO, PLAIN)),
    "replay": mixture((ONE, TWO), replay=0.25),
    "again": again(ONE, start=0, updates=12),
    "shuffled": shuffled((ONE, TWO), start=0, updates=12, new_share=0.5),
}


def order_of(stream: Stream, **fields: object) -> WindowOrder:
    usual = {"stream": stream, "sequences": B, "length": 16, "seed": 0, "windows": HELD, "repeat": False}
    return WindowOrder(**(usual | fields))


def pairs(order: WindowOrder, first: int, last: int) -> list[tuple[str, int]]:
    found = []
    for update in range(first, last):
        parts, windows = order.windows_of(update)
        found += zip(parts.tolist(), windows.tolist(), strict=True)
    return found


def reference(increment: Increment, *, seed: int) -> list[tuple[str, int]]:
    """List the windows of an increment one by one: the domain by its rounded share of what others left, in turn."""
    windows, left = increment.updates * B, {}
    rest, parts = windows, 1_000_000
    for name, weight in increment.mixture:
        left[name] = int(Fraction(rest * weight, parts) + Fraction(1, 2))
        rest, parts = rest - left[name], parts - weight
    (first, size), (second, _) = left.items()
    places = {
        name: permuted(range(HELD[f"{increment.version}/{name}"]), size=HELD[f"{increment.version}/{name}"],
                       key=derive_key(seed, "increment", increment.version, "domain", name)).tolist()
        for name in left
    }  # fmt: skip
    found, drawn = [], Counter()
    for window in range(1, windows + 1):
        name = first if int(Fraction(window * size, windows) + Fraction(1, 2)) > drawn[first] else second
        found.append((f"{increment.version}/{name}", places[name][drawn[name]]))
        drawn[name] += 1
    return found


def test_the_samples_of_a_mixture_are_those_of_a_list_that_is_built() -> None:
    order = order_of(sequential((ONE, TWO)))

    assert pairs(order, 0, 12) == reference(ONE, seed=0) + reference(TWO, seed=0)


@pytest.mark.parametrize("name", STREAMS)
def test_every_stretch_has_as_many_windows_of_a_domain_as_the_plan_says(name: str) -> None:
    stream = STREAMS[name]
    order = order_of(stream)

    for first, last in ((0, stream.end), (0, 3), (3, 9), (5, 6)):
        found = Counter(part.partition("/")[2] for part, _ in pairs(order, first, last))
        assert found == domain_reads(stream.window_spans(first, last, batch=order.batch), sequences=B)


@pytest.mark.parametrize("name", ["sequential", "union"])
def test_every_window_of_a_reading_is_another(name: str) -> None:
    found = pairs(order_of(STREAMS[name]), 0, 16)

    assert len(set(found)) == len(found) == 16 * B


@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("name", STREAMS)
def test_the_ranks_share_the_slots_of_a_mixture(name: str, ranks: int) -> None:
    order = order_of(STREAMS[name])

    for update in range(4):
        whole = order.windows_of(update)
        for rank in range(ranks):
            part = order.windows_of(update, slots=order.rank_slots(rank, ranks))
            assert [array.tolist() for array in part] == [array[rank::ranks].tolist() for array in whole]


def test_a_stream_that_is_extended_reads_the_same_before() -> None:
    assert pairs(order_of(sequential((ONE,))), 0, 7) == pairs(order_of(sequential((ONE, TWO, PLAIN))), 0, 7)


def test_an_update_has_its_share_to_a_window() -> None:
    found = [part for part, _ in pairs(order_of(sequential((ONE,))), 0, 7)]

    for end in range(len(found) + 1):
        assert abs(found[:end].count("v1/code") - Fraction(17 * end, 56)) <= Fraction(1, 2)  # 17 of 56 windows


def test_windows_whose_products_pass_64_bits_are_shared_exactly() -> None:
    updates = 1 << 40
    held = {"v1": 1 << 50, "v1/web": 1 << 50, "v1/code": 1 << 50}
    order = order_of(sequential((mixed("v1", updates, web=7, code=3),)), windows=held)

    for update in (0, updates // 3, updates - 1):
        found = Counter(part.partition("/")[2] for part, _ in pairs(order, update, update + 1))
        assert found == domain_reads(order.stream.window_spans(update, update + 1, batch=order.batch), sequences=B)


def test_a_domain_is_repeated_as_often_as_is_allowed_and_no_more() -> None:
    stream = sequential((mixed("v1", 9, web=1, code=2),))  # 48 windows of code, of which there are 25

    with refused(DataError, field="data.mixture", value="code"):
        order_of(stream)
    with refused(DataError, field="data.mixture", value="code"):
        order_of(stream, repeat=1.9)
    found = Counter(pairs(order_of(stream, repeat=1.92), 0, 9))
    assert {count for (part, _), count in found.items() if part == "v1/code"} == {1, 2}
    assert pairs(order_of(stream, repeat=True), 0, 9) == pairs(order_of(stream, repeat=2.0), 0, 9)


def test_a_domain_without_a_window_is_refused() -> None:
    with refused(DataError, field="data.mixture", value="law"):
        order_of(sequential((mixed("v1", 2, law=1),)), repeat=True)


@pytest.fixture
def corpus(write_jsonl: WriteJsonl, tmp_path: Path) -> Path:
    """Return a folder with a version of 40 documents of `web` and 20 of `code`, in a random order."""
    words = random.Random(1)
    domains = ["web"] * 40 + ["code"] * 20
    words.shuffle(domains)
    records = [
        {"domain": domain, "text": " ".join(words.choices(["path", "rate", "fork", "state"], k=30)) + f" {domain} {n}"}
        for n, domain in enumerate(domains)
    ]
    write_jsonl("texts/V1.jsonl", records)
    return tmp_path / "texts"


def prepared(corpus: Path, folder: Path, **fields: object) -> TokenStore:
    source = text_source(paths=(str(corpus),), heldout=held(share=0.2))
    return prepare(source, tokenizer=tokenizer_of(), versions=["v1"], folder=folder, **fields)


def test_the_windows_of_a_domain_are_those_of_its_documents_alone(corpus: Path, tmp_path: Path) -> None:
    store = prepared(corpus, tmp_path / "store")
    tokenizer = read_tokenizer(store.tokenizer_file)
    documents = tokenizer.decode(store.tokens("v1").tolist(), skip_special_tokens=False).split(END_MARK)[:-1]

    for domain in ("web", "code"):
        alone = [
            number
            for text in documents
            if text.split()[-2] == domain
            for number in [*tokenizer.encode(text).ids, store.end_id]
        ]
        assert store.manifest("v1").trained[domain] == len(alone)
        held_windows = store.domain_windows("v1", domain, 16)
        assert held_windows == (len(alone) - 1) // 16
        rows = store.gather_domain("v1", domain, range(held_windows), 16)
        assert rows.tolist() == [alone[at * 16 : at * 16 + 17] for at in range(held_windows)]


def test_batches_of_a_mixture_hold_its_text(corpus: Path, tmp_path: Path) -> None:
    store = prepared(corpus, tmp_path / "store")
    stream = sequential((mixed("v1", 5, web=1, code=1),))
    batches = TokenBatches.of(store, stream=stream, sequences=B, length=16, seed=0)

    parts, windows = batches.order.windows_of(2)
    for row, part, window in zip(batches.batch(2), parts.tolist(), windows.tolist(), strict=True):
        assert row.tolist() == store.gather_domain("v1", part.partition("/")[2], [window], 16)[0].tolist()
    (segment,) = batches.reading(0, 5)["segments"]
    assert set(segment["increments"]["v1"]["domains"]) == {"web", "code"}


def test_what_was_prepared_without_domains_is_prepared_again_with_the_same_tokens(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("lrpath.data.writer.IncrementWriter.add_domain", lambda *_: None)
        old = prepared(corpus, tmp_path / "store")
    assert old.manifest("v1").trained == {}
    with refused(DataError, field="data.mixture", value="v1"):
        old.domain_windows("v1", "web", 16)

    assert prepared(corpus, tmp_path / "store").increments == old.increments
    new = prepared(corpus, tmp_path / "store", needs_domains={0})

    assert set(new.manifest("v1").trained) == {"web", "code"}
    assert new.digest("v1") == old.digest("v1")
    assert prepared(corpus, tmp_path / "store", needs_domains={0}).increments == new.increments


def test_ids_made_elsewhere_have_files_for_each_domain(tmp_path: Path) -> None:
    ids = np.arange(300, dtype="<u2")
    for name, part in {"web0": ids[:100], "web1": ids[100:180], "code": ids[180:]}.items():
        part.tofile(tmp_path / f"{name}.bin")
    files = {"web": (str(tmp_path / "web*.bin"),), "code": (str(tmp_path / "code.bin"),)}
    source = tokens_source(files=(files,), vocab_size=300)
    store = prepare(source, tokenizer=None, versions=["v1"], folder=tmp_path / "store", needs_domains={0})

    assert store.manifest("v1").trained == {"web": 180, "code": 120}
    assert store.tokens("v1").tolist() == ids.tolist()
    assert store.gather_domain("v1", "code", [0, 2], 20)[1].tolist() == list(range(220, 241))
    assert store.gather_domain("v1", "web", [4], 20)[0].tolist() == list(range(80, 101))
    store.check("v1", contents=True)


def test_tokens_whose_domains_are_named_anew_are_another_increment_that_a_mixture_reads_otherwise(
    tmp_path: Path,
) -> None:
    for name in ("a", "b"):
        (np.arange(400, dtype="<u2") + (name == "b")).tofile(tmp_path / f"{name}.bin")
    stores = [
        prepare(
            tokens_source(files=(files,), vocab_size=1000),
            tokenizer=None,
            versions=["v1"],
            folder=tmp_path / "store",
            needs_domains={0},
        )
        for files in (
            {"web": str(tmp_path / "a.bin"), "code": str(tmp_path / "b.bin")},
            {"code": str(tmp_path / "a.bin"), "web": str(tmp_path / "b.bin")},
        )
    ]
    stream = sequential([mixed("v1", 2, web=3, code=1)])
    before, now = (
        TokenBatches.of(store, stream=stream, sequences=B, length=16, seed=0).reading(0, 2) for store in stores
    )
    del (unknown := deepcopy(before))["segments"][0]["increments"]["v1"]["labelling"]

    assert [list(store.manifest("v1").trained) for store in stores] == [["web", "code"], ["code", "web"]]
    assert stores[0].digest("v1") == stores[1].digest("v1")
    assert ["labelling" in line for line in compare_readings(now, before)] == [True]
    assert compare_readings(now, unknown) == []  # a state of before it was recorded
