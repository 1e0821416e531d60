"""How fast text becomes tokens: lrpath's preparation beside a plain loop of `encode_batch` and `datasets.map`.

    python experiments/10_throughput/preparation.py [--megabytes 100] [--rounds 2] [--cores 1 2] [--kill]

The text is Python code of this environment, a document a line of one JSON file; the tokenizer is trained on its first
5 MB. Each contender is a process of its own, bound to so many cores, and they take turns. What is timed begins behind
the imports and ends when the ids are on disk; lrpath reads the text twice, compares documents, and hashes what it
writes. Every contender's ids must be those of the others. `--kill` kills a preparation and lets another go on.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from lrpath.data.prepare import prepare
from lrpath.data.sources import HeldOutSettings, TextSource
from lrpath.data.sources.division import Division
from lrpath.data.tokenizer import TokenizerSettings, train_tokenizer

END_MARK = "<|endoftext|>"
BATCH = 1000  # texts of one call: what `datasets.map` gives by default
NAMES = ("lrpath", "encode_batch", "encode_batch_fast", "datasets.map")


def write_corpus(folder: Path, *, megabytes: float) -> int:
    """Write `corpus/V1.jsonl` and `tokenizer.json`, and return the bytes of the text."""
    size, first = 0, list[str]()
    (folder / "corpus").mkdir()
    with (folder / "corpus" / "V1.jsonl").open("w") as out:
        for text in _sources():
            out.write(json.dumps({"text": text}) + "\n")
            if size < 5e6:
                first.append(text)
            size += len(text.encode())
            if size >= megabytes * 1e6:
                break
    settings = TokenizerSettings(vocab_size=8192, file=None, end_mark=END_MARK)
    train_tokenizer(first, settings=settings).save(str(folder / "tokenizer.json"))
    return size


def _sources() -> Iterator[str]:
    for root in dict.fromkeys([*sys.path, os.__file__.rpartition("/")[0]]):
        for file in sorted(Path(root).rglob("*.py")) if root else []:
            try:
                text = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            if text and "\0" not in text and END_MARK not in text and text[0] != "\ufeff":
                yield text


def _plain_tokenizer(folder: Path) -> tuple[Tokenizer, int]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True  # the end mark in a text is text
    return tokenizer, tokenizer.token_to_id(END_MARK)


def by_loop(folder: Path, out: Path, *, function: str) -> Path:
    """Encode with a loop over lines; the ids of a batch are written together."""
    tokenizer, end_id = _plain_tokenizer(folder)
    encode = getattr(tokenizer, function)

    def write(texts: list[str]) -> None:
        for one in encode(texts, add_special_tokens=False):
            np.array([*one.ids, end_id], dtype="<u2").tofile(file)

    with (folder / "corpus" / "V1.jsonl").open(encoding="utf-8") as lines, (out / "ids.bin").open("wb") as file:
        texts: list[str] = []
        for line in lines:
            texts.append(json.loads(line)["text"])
            if len(texts) == BATCH:
                write(texts)
                texts = []
        write(texts)
    return out / "ids.bin"


def by_datasets(folder: Path, out: Path, *, cores: int) -> Path:
    """Encode with `datasets.map`, one process a core; its Arrow files are the ids, which are not written flat."""
    import datasets

    tokenizer, end_id = _plain_tokenizer(folder)
    datasets.disable_progress_bars()

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        return {"ids": [[*one.ids, end_id] for one in tokenizer.encode_batch(batch["text"], add_special_tokens=False)]}

    begin, before = time.perf_counter(), sum(os.times()[:4])
    text = datasets.load_dataset("json", data_files=str(folder / "corpus" / "V1.jsonl"), split="train")
    # A column of 16-bit ids; without its type the lists would become 64-bit ones.
    features = datasets.Features({"ids": datasets.Sequence(datasets.Value("uint16"))})
    ids = text.map(
        encode, batched=True, num_proc=cores if cores > 1 else None, remove_columns=["text"], features=features
    )
    timed = time.perf_counter() - begin, sum(os.times()[:4]) - before
    with (out / "ids.bin").open("wb") as file:  # for the comparison alone
        for batch in ids.with_format("numpy").iter(BATCH):
            np.concatenate(batch["ids"]).astype("<u2").tofile(file)
    (out / "timed").write_text(json.dumps(timed))
    return out / "ids.bin"


def by_lrpath(folder: Path, out: Path) -> Path:
    """Prepare a store without held-out sets, so that all documents are trained on."""
    heldout = HeldOutSettings(documents=0, share=0.0, passage_characters=2048, seed=0)
    source = TextSource(
        paths=(str(folder / "corpus"),), text_field="text", versions=Division(by="file"), heldout=heldout,
        overlap="keep", bad_records="refuse",
    )  # fmt: skip
    settings = TokenizerSettings(vocab_size=None, file=str(folder / "tokenizer.json"), end_mark=END_MARK)
    store = prepare(
        source, tokenizer=settings, versions=["v1"], folder=out / "data",
        progress=lambda label, done, _: say(f"progress {label.partition(' ')[2]} {done}"),
        notice=lambda line: say(f"notice {line}"),
    )  # fmt: skip
    return store.place("v1") / "train.bin"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def contend(name: str, folder: Path, out: Path, cores: int) -> None:
    """Be a contender: print seconds and the digest of the ids."""
    if name == "datasets.map":
        import datasets  # noqa: F401  imports are not timed
    os.sched_setaffinity(0, set(range(cores)))
    begin, before = time.perf_counter(), sum(os.times()[:4])
    if name == "lrpath":
        file = by_lrpath(folder, out)
    elif name == "datasets.map":
        file = by_datasets(folder, out, cores=cores)
    else:
        file = by_loop(folder, out, function=name)
    seconds, cpu = time.perf_counter() - begin, sum(os.times()[:4]) - before
    if (out / "timed").exists():
        seconds, cpu = json.loads((out / "timed").read_text())
    say("result " + json.dumps({"seconds": seconds, "cpu": cpu, "ids": sha256(file.read_bytes()).hexdigest()}))


def start(name: str, folder: Path, out: Path, cores: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--contend", name, str(folder), str(out), str(cores)]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(cores), "HF_HOME": str(out / "home"), "HF_HUB_OFFLINE": "1"}
    environment |= {"TOKENIZERS_PARALLELISM": "false"} if name == "datasets.map" else {}  # its processes are the cores
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def run(name: str, folder: Path, cores: int) -> dict[str, float | str]:
    with tempfile.TemporaryDirectory(dir=folder) as out, start(name, folder, Path(out), cores) as process:
        lines, _ = process.communicate()
        assert process.returncode == 0, name
        found: dict[str, float | str] = json.loads(lines.splitlines()[-1].removeprefix("result "))
        return found


def measure(folder: Path, size: int, names: list[str], *, cores: int, rounds: int) -> None:
    speeds: dict[str, list[float]] = {name: [] for name in names}
    cpus = dict.fromkeys(names, 0.0)  # in sum; on a machine that others use they say more than the speeds
    ids = set()
    for number in range(1, rounds + 1):
        for name in names:
            found = run(name, folder, cores)
            speeds[name].append(size / 1e6 / float(found["seconds"]))
            ids.add(found["ids"])
            seconds, cpu = float(found["seconds"]), float(found["cpu"])
            cpus[name] += cpu
            speed = f"{seconds:6.1f} s, CPU {cpu:6.1f} s, {speeds[name][-1]:5.2f} MB/s"
            say(f"{cores} cores, round {number}: {name:18} {speed}")
    assert len(ids) == 1, "the contenders' ids differ"
    middle = {name: float(np.median(one)) for name, one in speeds.items()}
    for name in names:
        ratio = f", lrpath / {name}: {middle['lrpath'] / middle[name]:.2f}" if name != "lrpath" else ""
        ratio += f", by CPU seconds {cpus[name] / cpus['lrpath']:.2f}" if ratio else ""
        say(f"{cores} cores: {name:18} {middle[name]:5.2f} MB/s{ratio}")


def kill(folder: Path, *, cores: int) -> None:
    """Kill a preparation in the middle of encoding, and let another go on."""
    size = (folder / "corpus" / "V1.jsonl").stat().st_size
    with tempfile.TemporaryDirectory(dir=folder) as out:
        done = 0
        with start("lrpath", folder, Path(out), cores) as process:
            assert process.stdout is not None
            for line in process.stdout:
                done = int(line.split()[-1]) if line.startswith("progress encode") else 0
                if done > size / 2:
                    process.send_signal(signal.SIGKILL)
                    break
        with start("lrpath", folder, Path(out), cores) as process:
            lines = process.communicate()[0].splitlines()
        (known,) = (line.split()[2] for line in lines if "not again" in line)
        again = json.loads(lines[-1].removeprefix("result "))
    whole = run("lrpath", folder, cores)
    assert again["ids"] == whole["ids"], "the store is another"
    say(f"killed after {done:,} characters were written; the next preparation found {known} of them encoded")
    say(f"it took {again['cpu']:.1f} CPU s, an undisturbed one {whole['cpu']:.1f} CPU s; the ids are equal")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--contend", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contend:
        name, folder, out, cores = given.contend
        contend(name, Path(folder), Path(out), int(cores))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        size = write_corpus(folder, megabytes=given.megabytes)
        say(f"{size:,} bytes of text")
        if given.kill:
            kill(folder, cores=max(given.cores))
            return
        for cores in given.cores:
            measure(folder, size, given.only, cores=cores, rounds=given.rounds)


if __name__ == "__main__":
    main()
