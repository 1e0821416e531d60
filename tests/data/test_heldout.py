import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrpath.data.facts import increment_facts
from lrpath.data.heldout import cut, spaced
from lrpath.data.leaks import find_leaks
from lrpath.data.prepare import prepare
from lrpath.data.sources import HeldOutSettings
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import read_tokenizer
from lrpath.errors import DataError
from tests.data.conftest import WORDS
from tests.data.making import held, text_source, tokenizer_of
from tests.refusals import refused

WriteJsonl = Callable[..., Path]
SMALL = tokenizer_of(vocab_size=300)
SPLITS = ("valid", "test")


def text_of(seed: int, words: int = 40) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + f" {seed}."


def book_of(seed: int, lines: int) -> str:
    return "".join(text_of(seed * 100_000 + line, words=12) + "\n" for line in range(lines))


@pytest.fixture
def stored(write_jsonl: WriteJsonl, tmp_path: Path) -> Callable[..., TokenStore]:
    """Return a function that prepares a store of versions given as lists of records, or as one text each."""

    def make(*versions: Sequence[object] | str, heldout: HeldOutSettings | None = None, name: str = "in") -> TokenStore:
        for number, version in enumerate(versions, start=1):
            if isinstance(version, str):
                (tmp_path / name).mkdir(exist_ok=True)
                (tmp_path / name / f"V{number}.txt").write_text(version)
            else:
                records = [record if isinstance(record, dict) else {"text": record} for record in version]
                write_jsonl(f"{name}/V{number}.jsonl", records)
        source = text_source(paths=(str(tmp_path / name),), heldout=heldout or held())
        names = [f"v{number}" for number in range(1, len(versions) + 1)]
        return prepare(source, tokenizer=SMALL, versions=names, folder=tmp_path / f"store_{name}")

    return make


def trained(store: TokenStore, version: str) -> list[str]:
    return documents(store, store.tokens(version))


def documents(store: TokenStore, ids: Any) -> list[str]:
    assert store.tokenizer_file is not None
    text = read_tokenizer(store.tokenizer_file).decode(ids.tolist(), skip_special_tokens=False)
    return [part for part in text.split("<|endoftext|>") if part]


def held_out(store: TokenStore, version: str, split: str, domain: str = "text") -> list[str]:
    ids = store.held_out_set(version, split).get(domain)
    if ids is None:
        return []
    starts = store.document_starts(version, domain, split)
    return ["".join(documents(store, part)) for part in np.split(ids, starts[1:])]


def every(store: TokenStore) -> set[str]:
    domains = {domain for version in store.versions for domain in store.manifest(version).domains}
    return {
        text
        for version in store.versions
        for split in SPLITS
        for domain in domains
        for text in held_out(store, version, split, domain)
    }


def test_a_tenth_of_the_documents_is_held_out_half_to_choose_on_and_half_to_report(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(200)]
    store = stored(texts)

    sets = [held_out(store, "v1", split) for split in SPLITS]

    assert [len(found) for found in sets] == [10, 10]
    assert sorted([*sets[0], *sets[1], *trained(store, "v1")]) == sorted(texts)


def test_no_more_documents_are_held_out_than_the_sets_ask_for_and_equally_many_of_each_version(stored: Any) -> None:
    store = stored(
        [text_of(seed) for seed in range(300)],
        [text_of(seed) for seed in range(300, 400)],
        heldout=held(documents=4, share=0.2),
    )

    assert [len(held_out(store, version, split)) for version in store.versions for split in SPLITS] == [4] * 4


def test_a_second_copy_of_a_held_out_document_is_not_trained_on_and_counted(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    store = stored([*texts, *texts, *(text.replace(" ", "  ") + "\r\n" for text in texts)])

    assert not every(store) & {" ".join(text.split()) for text in trained(store, "v1")}
    assert store.manifest("v1").counts["copies"] == 2 * len(every(store)) == 20
    assert find_leaks(store) == []


def test_a_cumulative_dump_trains_on_nothing_that_any_version_holds_out(stored: Any) -> None:
    old, new = [text_of(seed) for seed in range(100)], [text_of(seed) for seed in range(100, 200)]
    dump = [*new, *old]
    random.Random(0).shuffle(dump)
    store = stored(old, dump, [*dump, *(text_of(seed) for seed in range(200, 300))])

    assert all(not every(store) & set(trained(store, version)) for version in store.versions)
    assert [len(held_out(store, version, "valid")) for version in store.versions] == [5, 5, 5]
    assert set(held_out(store, "v2", "valid")) <= set(new)
    assert find_leaks(store) == []


def test_a_dump_that_repeats_everything_has_nothing_left_to_hold_out(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    store = stored(texts, texts[::-1])

    assert store.manifest("v2").domains == ()
    assert store.manifest("v2").counts["copies"] == 10
    assert find_leaks(store) == []


def test_a_copy_in_another_domain_is_not_trained_on(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    store = stored([{"text": text, "domain": domain} for domain in ("law", "web") for text in texts])

    assert every(store)
    assert not every(store) & set(trained(store, "v1"))


def test_a_document_that_is_declared_held_out_is_not_trained_on_where_it_stands_as_training_text(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(20)]
    store = stored(
        [{"text": text, "split": "train"} for text in texts] + [{"text": texts[3], "split": "test"}],
        [{"text": text_of(99), "split": "train"}, {"text": texts[3], "split": "train"}],
    )

    assert every(store) == {texts[3]}
    assert texts[3] not in trained(store, "v1") + trained(store, "v2")


def test_a_document_declared_held_out_that_an_earlier_version_trained_on_is_in_no_set(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(20)]
    store = stored(
        [{"text": text, "split": "train"} for text in texts] + [{"text": text_of(98), "split": "valid"}],
        [{"text": texts[0], "split": "valid"}, {"text": text_of(50), "split": "valid"}, {"text": text_of(51)}],
    )

    assert every(store) == {text_of(50), text_of(98)}
    assert texts[0] not in trained(store, "v2")
    assert store.manifest("v2").counts["trained_before"] == 1


def test_declared_sets_stay_apart_and_one_declared_set_is_halved(stored: Any) -> None:
    both = [{"text": text_of(n), "split": ("train", "valid", "test")[n % 3]} for n in range(30)]
    one = [{"text": text_of(n), "split": ("train", "validation")[n % 2]} for n in range(100, 140)]
    store = stored(both, one)

    assert set(held_out(store, "v1", "valid")) == {text_of(n) for n in range(1, 30, 3)}
    assert set(held_out(store, "v1", "test")) == {text_of(n) for n in range(2, 30, 3)}
    assert [len(held_out(store, "v2", split)) for split in SPLITS] == [10, 10]


def test_where_everything_is_declared_to_be_trained_on_a_tenth_is_held_out(stored: Any) -> None:
    store = stored([{"text": text_of(seed), "split": "train"} for seed in range(100)])

    assert [len(held_out(store, "v1", split)) for split in SPLITS] == [5, 5]


def test_one_text_file_a_version_is_cut_into_passages_and_every_word_is_trained_on_or_held_out(stored: Any) -> None:
    books = [book_of(seed, 2000) for seed in (1, 2)]
    store = stored(*books)

    for version, book in zip(store.versions, books, strict=True):
        passages = [text for split in SPLITS for text in held_out(store, version, split)]
        assert 4 <= len(passages) <= len(book) / 2048 / 5
        assert all(passage in book for passage in passages)
        assert sum(map(len, [*passages, *trained(store, version)])) == len(book)
    assert find_leaks(store) == []


def test_a_book_that_grows_is_not_trained_on_where_its_first_edition_was_held_out(stored: Any) -> None:
    first = book_of(1, 2000)
    store = stored(first, book_of(2, 700) + first + book_of(3, 700))

    assert find_leaks(store) == []
    assert len(held_out(store, "v2", "valid")) > 2
    assert all(text not in first for split in SPLITS for text in held_out(store, "v2", split))
    lost = len(first) - sum(len(part) for part in trained(store, "v2") if part in first)
    assert lost < len(first)


def test_of_a_long_document_the_sets_hold_passages_and_training_nothing(stored: Any) -> None:
    store = stored([book_of(seed, 40) for seed in range(40)], heldout=held(passage_characters=200))
    (starts,) = {len(store.document_starts("v1", "text", split)) for split in SPLITS}

    assert starts == 2
    passages = [part for split in SPLITS for text in held_out(store, "v1", split) for part in text.split("\n") if part]
    assert not {part for part in passages if part.endswith(".")} & set("\n".join(trained(store, "v1")).split("\n"))
    assert len(trained(store, "v1")) == 36


@pytest.mark.slow
def test_of_long_documents_that_are_few_more_passages_are_taken(stored: Any) -> None:
    books = [book_of(seed, 200) for seed in range(20)]

    sizes = [
        sum(
            map(
                len,
                held_out(stored(books, heldout=held(documents=n, passage_characters=500), name=f"n{n}"), "v1", "valid"),
            )
        )
        for n in (1, 10)
    ]

    assert 8 < sizes[1] / sizes[0] < 12


def test_adding_a_document_changes_the_choice_of_no_other_but_one(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(200)]
    before = every(stored(texts, heldout=held(documents=5)))

    after = every(stored([text_of(999), *texts], heldout=held(documents=5), name="more"))

    assert len(before & after) >= len(before) - 1


def test_the_order_of_documents_and_the_files_they_stand_in_do_not_matter(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(200)]

    assert every(stored(texts)) == every(stored(texts[::-1], name="turned"))


def test_text_without_any_held_out_set_is_refused_before_it_is_encoded_if_one_is_needed(
    write_jsonl: WriteJsonl, tmp_path: Path
) -> None:
    write_jsonl("in/V1.jsonl", [{"text": text_of(1)}, {"text": text_of(2)}])
    said: list[str] = []

    for settings, field in ((held(), "passage_characters"), (held(share=0.0), "share")):
        source = text_source(paths=(str(tmp_path / "in"),), heldout=settings)
        with refused(DataError, field=f"data.source.heldout.{field}"):
            prepare(
                source, tokenizer=SMALL, versions=["v1"], folder=tmp_path / "store", notice=said.append,
                needs_heldout=True,
            )  # fmt: skip

    assert not list((tmp_path / "store").glob("*/tokenizer.json"))
    assert said[0].startswith("v1: 1 files; 2 documents;")


def test_the_advice_for_a_small_text_works(tmp_path: Path) -> None:
    (tmp_path / "V1.txt").write_text("\n".join(text_of(n, words=10) for n in range(12)))
    source = text_source(paths=(str(tmp_path / "V1.txt"),), heldout=held(passage_characters=100))

    store = prepare(
        source, tokenizer=tokenizer_of(vocab_size=260), versions=["v1"], folder=tmp_path / "s", needs_heldout=True
    )

    assert store.manifest("v1").domains == ("text",)


def test_each_increment_says_what_it_was_made_of_and_how_much_of_it_is_read(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    store = stored([*texts, texts[0], *texts])
    tokens = store.manifest("v1").tokens

    (facts,) = increment_facts(store, reads={"v1": tokens // 2}, asked=20)

    line = facts.line()
    assert f"201 documents; {store.manifest('v1').text_bytes:,} bytes" in line
    assert f"{tokens:,} training tokens, of which {tokens // 2:,} (50%) are read" in line
    assert "held-out documents (valid + test): text 5 + 5, fewer than the 20" in line
    assert facts.few == ("text",)
    assert increment_facts(store, reads={"v1": tokens}, asked=5)[0].few == ()
    assert json.loads(json.dumps(facts.as_record()))["held_out"] == {"text": [5, 5]}
    assert "not trained on, since a copy is held out" in line


def test_records_that_wait_for_a_later_version_are_counted(write_jsonl: WriteJsonl, tmp_path: Path) -> None:
    from lrpath.data.sources.division import Division

    path = write_jsonl("all.jsonl", [{"text": text_of(n), "date": str(2000 + n)} for n in range(60)])
    source = text_source(
        paths=(str(path),), versions=Division(by="date", boundaries=("2020", "2040", "2050")), heldout=held()
    )

    store = prepare(source, tokenizer=SMALL, versions=["v1", "v2"], folder=tmp_path / "store")

    assert [store.manifest(version).counts["waiting"] for version in store.versions] == [20, 20]


def test_a_leak_is_found_though_the_preparation_does_not_know_of_it(stored: Any) -> None:
    store = stored([text_of(seed) for seed in range(100)], [text_of(seed) for seed in range(100, 200)])
    held_ids = store.held_out_set("v1", "test")["text"]
    begin, end = store.document_starts("v1", "text", "test")[1:3]
    path = store.place("v2") / "train.bin"
    ids = np.fromfile(path, dtype="<u2")
    ids[37 : 37 + end - begin] = held_ids[begin:end]
    ids.tofile(path)

    (leak,) = find_leaks(store)

    assert (leak.version, leak.domain, leak.split, leak.document, leak.trained) == ("v1", "text", "test", 1, "v2")
    assert leak.position == 37 + 2  # without the tokens at the edges, which are others inside another text


@pytest.mark.parametrize(
    "text", ["", "a", "\n\n\n", "a" * 5000, "word " * 2000, "line\r\n" * 900, "漢字、" * 3000, " \n" * 4000]
)
def test_passages_joined_are_the_text(text: str) -> None:
    passages = cut(text, size=500)

    assert "".join(passages) == text
    assert all(0 < len(passage) <= 750 for passage in passages)
    found = spaced(text, size=500, count=3)
    assert all(passage in text for passage, _ in found)
    assert sum(len(passage) for passage, _ in found) <= max(len(text), 3 * 1000)


def test_the_records_of_a_version_are_json(stored: Any) -> None:
    store = stored([text_of(seed) for seed in range(100)])

    record = json.loads((store.place("v1") / "increment.json").read_text())

    assert record["counts"] == {"characters": sum(len(text_of(seed)) for seed in range(100)), "files": 1}


def test_a_held_out_document_that_another_document_quotes_is_left_out_of_its_set(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    (quoted,) = held_out(stored(texts, heldout=held(documents=1, share=0.02), name="plain"), "v1", "test")

    store = stored([*texts, f"It says: {quoted} And more."], heldout=held(documents=1, share=0.02))

    assert not any(
        quoted in text for version in ("v1",) for split in SPLITS for text in held_out(store, version, split)
    )
    assert store.manifest("v1").counts["shared"] == 1
    assert find_leaks(store) == []


def test_a_later_document_that_quotes_a_held_out_one_is_not_trained_on(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    quoted = held_out(stored(texts, name="plain"), "v1", "test")[0]

    store = stored(texts, [f"It says: {quoted} And more.", *(text_of(seed) for seed in range(100, 200))])

    assert not any(quoted in text for text in trained(store, "v2"))
    assert store.manifest("v2").counts["copies"] == 1
    assert find_leaks(store) == []


def test_of_a_long_later_document_the_quoted_passage_alone_is_left_out(stored: Any) -> None:
    texts = [text_of(seed) for seed in range(100)]
    quoted = held_out(stored(texts, name="plain"), "v1", "test")[0]
    around = [text_of(seed, words=2000) for seed in (500, 501)]

    store = stored(texts, [f"{around[0]} {quoted} {around[1]}", *(text_of(seed) for seed in range(100, 200))])

    (long,) = [text for text in trained(store, "v2") if len(text) > 5000]
    assert quoted not in long
    assert len(long) > len(around[0]) + len(around[1]) - 100


def test_passages_of_a_long_held_out_document_are_not_trained_on_with_an_edited_copy(stored: Any) -> None:
    books = [book_of(seed, lines=120) for seed in range(20)]
    edited = [f"{book}An edited end, number {number}.\n" for number, book in enumerate(books)]
    store = stored([*books], [*edited, *(text_of(seed) for seed in range(200))], heldout=held(share=0.2))
    passages = [
        ids_N
        for split in SPLITS
        for ids_N in np.split(
            store.held_out_set("v1", split)["text"], store.passage_starts("v1", "text", split)[1:].tolist()
        )
    ]

    assert len(passages) > 4  # of four documents
    text = store.tokens("v2").tobytes()
    assert not any(ids_N[20:60].tobytes() in text for ids_N in passages)
    assert find_leaks(store) == []


def test_a_passage_of_a_long_held_out_document_is_found_where_it_is_trained_on(stored: Any) -> None:
    store = stored([book_of(seed, lines=120) for seed in range(20)], heldout=held(share=0.2))
    starts = store.passage_starts("v1", "text", "test")
    passage = store.held_out_set("v1", "test")["text"][starts[1] : starts[2]]
    path = store.place("v1") / "train.bin"
    ids = np.fromfile(path, dtype="<u2")
    ids[37 : 37 + len(passage)] = passage
    ids.tofile(path)

    (leak,) = find_leaks(store)

    assert (leak.document, leak.position) == (0, 37 + 2)
