"""Prepares 500 MB of text, compressed and as parquet, and once more killed twice: speed, memory, what is done again.

    python large.py FOLDER [BYTES]      makes the text in the folder from the Python files of this installation

Each preparation is a process of its own, three at a time; seconds of processors are said beside those of the clock.
The tokenizer is trained beforehand, on 20 MB. One preparation is killed when a third and two thirds are encoded.
"""

import gzip
import hashlib
import json
import math
import pathlib
import random
import resource
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from lrpath.data.prepare import prepare
from lrpath.data.sources import HeldOutSettings, TextSource
from lrpath.data.sources.division import Division
from lrpath.data.tokenizer import TokenizerSettings, train_tokenizer

ROWS = 1000
END_MARK = "<|endoftext|>"


def texts(size: int) -> Iterator[str]:
    """Yield the installation's Python files, again and again with other words, until they have so many bytes."""
    files = sorted(pathlib.Path(sysconfig.get_paths()["purelib"]).rglob("*.py"))
    copy = 0
    while size > 0:
        random.seed(copy)
        for file in files:
            text = file.read_text(encoding="utf-8", errors="replace")
            if size <= 0 or "\0" in text or not 200 < len(text) < 2_000_000:
                continue
            words = text.split(" ")
            for at in range(random.randrange(20), len(words), 20) if copy else ():
                words[at] += str(random.randrange(1000))
            text = " ".join(words)
            size -= len(text.encode())
            yield text
        copy += 1


def make(folder: pathlib.Path, size: int) -> None:
    lines, table = folder / "lines" / "V1.jsonl.gz", folder / "table" / "V1.parquet"
    lines.parent.mkdir(parents=True)
    table.parent.mkdir()
    rows: list[str] = []
    schema = pa.schema([("text", pa.string())])
    with gzip.open(lines, "wt", encoding="utf-8", compresslevel=3) as out, pq.ParquetWriter(table, schema) as writer:
        for text in texts(size):
            out.write(json.dumps({"text": text}) + "\n")
            rows.append(text)
            if len(rows) == ROWS:
                writer.write_table(pa.table({"text": rows}, schema=schema))
                rows = []
        writer.write_table(pa.table({"text": rows}, schema=schema))


def prepare_in_this_process(path: str, store: str, until: int) -> None:
    """Prepare a text; end like a killed process once so many characters are encoded."""
    begun = time.monotonic()
    said: dict[str, object] = {}

    def progress(label: str, done: int, _: int | None) -> None:
        if label.endswith("encode"):
            said.setdefault("until it encodes", usage())
            if done >= until:
                report(done)
                signal.raise_signal(signal.SIGKILL)

    def notice(line: str) -> None:
        if "not again" in line:
            said["known"] = line

    def usage() -> str:
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds = used.ru_utime + used.ru_stime
        return f"{time.monotonic() - begun:.0f} s, {seconds:.0f} s of processors, peak {used.ru_maxrss / 1024:.0f} MB"

    def report(done: int) -> None:
        print(json.dumps(said | {"in all": usage(), "characters": done}), flush=True)

    heldout = HeldOutSettings(documents=500, share=0.1, passage_characters=2048, seed=0)
    source = TextSource(
        paths=(path,), text_field="text", versions=Division(by="file"), heldout=heldout, overlap="keep",
        bad_records="refuse",
    )  # fmt: skip
    tokenizer = TokenizerSettings(
        vocab_size=None, file=str(pathlib.Path(store).parent / "tokenizer.json"), end_mark=END_MARK
    )
    found = prepare(
        source, tokenizer=tokenizer, versions=["v1"], folder=pathlib.Path(store), progress=progress, notice=notice
    )
    report(found.manifest("v1").counts["characters"])


def run(path: pathlib.Path, store: pathlib.Path, *untils: float) -> None:
    for until in untils:
        words = [sys.executable, __file__, "--", str(path), str(store), str(int(min(until, 1e18)))]
        ended = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        print(f"{path.parent.name} into {store.name}, exit {ended.returncode}: {ended.stdout.strip()}", flush=True)


def digest_of(store: pathlib.Path) -> str:
    files = sorted(store.glob("store-*/**/*.bin"))  # the manifest names the file that the text was read from
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(store)).encode() + file.read_bytes())
    return f"{len(files)} files, SHA-256 {digest.hexdigest()[:16]}"


def main(folder: pathlib.Path, size: int) -> None:
    if not (folder / "table").exists():
        make(folder, size)
    if not (tokenizer := folder / "tokenizer.json").exists():
        settings = TokenizerSettings(vocab_size=4096, file=None, end_mark=END_MARK)
        train_tokenizer(texts(20_000_000), settings=settings).save(str(tokenizer))
    lines, table = folder / "lines" / "V1.jsonl.gz", folder / "table" / "V1.parquet"
    with ThreadPoolExecutor() as pool:
        pool.submit(run, lines, folder / "whole", math.inf)
        pool.submit(run, table, folder / "of_table", math.inf)
        pool.submit(run, lines, folder / "killed", size / 3, size * 2 / 3, math.inf)
    for name in ("whole", "of_table", "killed"):
        print(name, digest_of(folder / name), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--":
        prepare_in_this_process(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(pathlib.Path(sys.argv[1]), int(float(sys.argv[2])) if len(sys.argv) > 2 else 500_000_000)
