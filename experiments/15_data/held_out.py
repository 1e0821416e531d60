"""Held-out sets of a corpus: how many documents they have, and how much of them is trained on.

    python held_out.py NAME=FOLDER...          each FOLDER holds V1, V2, …; without any: Python code and a made dump

Prints, over all versions: documents and tokens of each set, the exact copies in training text (`find_leaks`, read from
the tokens), and the share of the sets' 13-grams of words that stand in training text, which near duplicates make.
"""

import json
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lrpath.data.leaks import find_leaks
from lrpath.data.prepare import prepare
from lrpath.data.sources import HeldOutSettings, PythonSource, Source, TextSource
from lrpath.data.sources.division import Division
from lrpath.data.sources.files import version_entries
from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import TokenizerSettings, read_tokenizer

GRAM = 13
TOKENIZER = TokenizerSettings(vocab_size=2048, file=None, end_mark="<|endoftext|>")


def held(passage_characters: int) -> HeldOutSettings:
    return HeldOutSettings(documents=500, share=0.1, passage_characters=passage_characters, seed=0)


def of_files(folder: str) -> tuple[Source, int]:
    source = TextSource(
        paths=(folder,), text_field="text", versions=Division(by="file"), heldout=held(2048), overlap="keep",
        bad_records="refuse",
    )  # fmt: skip
    return source, len(version_entries(pathlib.Path(folder)))


def of_python() -> tuple[Source, int]:
    source = PythonSource(
        bytes_per_version=1_400_000, stdlib_share=0.25, split="document", seed=0, include_tests=False, heldout=held(512)
    )
    return source, 4


def cumulative_dump(folder: pathlib.Path) -> tuple[Source, int]:
    """Make versions of which each repeats all earlier text, shuffled, with white space changed in a third of it."""
    folder.mkdir()
    words = [f"word{number}" for number in range(3000)]
    texts: list[str] = []
    for version in (1, 2, 3, 4):
        draw = random.Random(version)
        texts += [" ".join(draw.choices(words, k=200)) for _ in range(3000)]
        shown = [text.replace(" ", "  ") + "\r\n" if draw.random() < 1 / 3 else text for text in texts]
        draw.shuffle(shown)
        lines = (json.dumps({"text": text}) + "\n" for text in shown)
        (folder / f"V{version}.jsonl").write_text("".join(lines))
    return of_files(str(folder))


def texts_of(store: TokenStore, ids_N: NDArray[np.int64]) -> Iterator[str]:
    assert store.tokenizer_file is not None
    tokenizer = read_tokenizer(store.tokenizer_file)
    ends = np.flatnonzero(ids_N == store.end_id) + 1
    for part in np.split(ids_N, ends):
        yield tokenizer.decode(part.tolist())


def grams(texts: Iterator[str]) -> NDArray[np.uint64]:
    """Return hashes of all 13 words in a row of some texts."""
    found = []
    for text in texts:
        words = np.array([hash(word) & 0xFFFFFFFFFFFFFFFF for word in text.split()], dtype=np.uint64)
        if len(words) < GRAM:
            continue
        value = np.zeros(len(words) - GRAM + 1, dtype=np.uint64)
        for offset in range(GRAM):
            value = value * np.uint64(0x9E3779B97F4A7C15) + words[offset : offset + len(value)]
        found.append(value)
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def main() -> None:
    scratch = pathlib.Path(tempfile.mkdtemp())
    corpora = {name: of_files(folder) for name, _, folder in (text.partition("=") for text in sys.argv[1:])}
    corpora = corpora or {"python_source": of_python(), "cumulative dump": cumulative_dump(scratch / "dump")}
    print(
        "corpus           set    documents by version  tokens by version            copies  13-grams in training text"
    )
    for name, (source, count) in corpora.items():
        began = time.monotonic()
        versions = [f"v{number}" for number in range(1, count + 1)]
        store = prepare(source, tokenizer=TOKENIZER, versions=versions, folder=scratch / name.replace(" ", "_"))
        leaks = find_leaks(store)
        trained = np.unique(np.concatenate([grams(texts_of(store, store.tokens(version))) for version in versions]))
        for split in ("valid", "test"):
            places = [(version, domain) for version in versions for domain in store.manifest(version).domains_of(split)]
            documents = [
                sum(len(store.document_starts(v, d, split)) for v, d in places if v == version) for version in versions
            ]
            tokens = [sum(len(ids) for ids in store.held_out_set(version, split).values()) for version in versions]
            parts = [grams(texts_of(store, store.held_out_set(version, split)[domain])) for version, domain in places]
            held_grams = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint64)
            share = np.isin(held_grams, trained).mean() if len(held_grams) else 0.0
            copies = sum(leak.split == split for leak in leaks)
            print(
                f"{name:16s} {split:6s} {documents!s:21s} {tokens!s:28s} "
                f"{copies:6d}  {share:.2%} of {len(held_grams):,}"
            )
        dropped = sum(store.manifest(version).counts.get("copies", 0) for version in versions)
        print(f"{'':16s} {dropped:,} copies of held-out documents left out; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
