"""Three inputs of our own for each kind of fault in data, and what lrpath answers.

    python inputs.py > answers.md          some three minutes on two cores; needs nothing but lrpath

Each input is made here, and given to `lrpath.train` with a tiny model; the last line it prints is shown, and what the
store holds. The right answers are asserted by tests/data.
"""

import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import zstandard
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

WORDS = ["path", "rate", "main", "branch", "fork", "state", "token", "window", "update", "version", "plan", "study"]
COMMON = [
    *("study=s", "logger=none", "model=tiny", "increment=4", "warmup=1", "alpha=0.5", "batch.sequences_per_update=2"),
    *("batch.tokens_per_sequence=16", "paradigm=[path_switching]", "data.repeat=true", "strategy.threads=1"),
    "data=text",
]


def text(seed: int, words: int = 40) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words)) + f" {seed}."


def lines(seeds: Iterator[int] | range, **fields: str) -> bytes:
    return "".join(json.dumps({"text": text(seed), **fields}) + "\n" for seed in seeds).encode()


def words() -> Tokenizer:
    vocabulary = {"<unk>": 0, **{word: n for n, word in enumerate(WORDS, 1)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


def save(folder: pathlib.Path, change: Callable[[dict], object]) -> None:
    record = json.loads(words().to_str())
    change(record)
    (folder / "tok.json").write_text(json.dumps(record))


FILES = "data.tokenizer.vocab_size=257"
GIVEN = "data.tokenizer.file=tok.json data.tokenizer.vocab_size=null data.tokenizer.end_mark='</s>'"
FEW = "data.source.heldout.share=0.2"


def write(folder: pathlib.Path, **files: bytes) -> None:
    for name, data in files.items():
        path = folder / "in" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


CASES: list[tuple[str, str, int, str, Callable[[pathlib.Path], object]]] = [
    (
        "files",
        "V1.csv, V2.json.zst, V3.TXT.GZ",
        3,
        f"{FILES} {FEW}",
        lambda f: write(
            f,
            V1_dot_csv=b"text\n" + "".join(f'"{text(n)}"\n' for n in range(40)).encode(),
            V2_dot_json_dot_zst=zstandard.ZstdCompressor().compress(lines(range(40, 80))),
            V3_dot_TXT_dot_GZ=gzip.compress("\n".join(text(n) for n in range(900)).encode()),
        ),
    ),
    (
        "files",
        "V1.jsonl, V2.jsonl, notes.md",
        2,
        FILES,
        lambda f: write(f, V1_dot_jsonl=lines(range(40)), V2_dot_jsonl=lines(range(40, 80)), notes_dot_md=b"notes"),
    ),
    (
        "files",
        "2019.jsonl, 2020.jsonl, 2022.jsonl",
        3,
        FILES,
        lambda f: write(f, **{f"{year}_dot_jsonl": lines(range(40)) for year in (2019, 2020, 2022)}),
    ),
    (
        "held out",
        "every document three times, in three domains",
        1,
        f"{FILES} {FEW}",
        lambda f: write(f, V1_dot_jsonl=b"".join(lines(range(60), domain=name) for name in ("law", "web", "code"))),
    ),
    (
        "held out",
        "V2 is V1 with CRLF and double spaces, and new text",
        2,
        f"{FILES} {FEW}",
        lambda f: write(
            f,
            V1_dot_jsonl=lines(range(60)),
            V2_dot_jsonl="".join(
                json.dumps({"text": text(n).replace(" ", "  ") + "\r\n"}) + "\n" for n in range(120)
            ).encode(),
        ),
    ),
    (
        "held out",
        "V2.txt is V1.txt behind a new chapter",
        2,
        f"{FILES} data.source.heldout.passage_characters=300",
        lambda f: write(
            f,
            V1_dot_txt="\n".join(text(n) for n in range(400)).encode(),
            V2_dot_txt="\n".join(text(n) for n in [*range(1000, 1200), *range(400)]).encode(),
        ),
    ),
    (
        "encoding",
        "UTF-16 without a mark, in a .csv",
        1,
        FILES,
        lambda f: write(f, V1_dot_csv=("text\n" + "\n".join(text(n) for n in range(40))).encode("utf-16-be")),
    ),
    (
        "encoding",
        "a mark before each of two joined files",
        1,
        f"{FILES} {FEW}",
        lambda f: write(
            f, V1_dot_jsonl=(b"\xef\xbb\xbf" + lines(range(20))) + (b"\xef\xbb\xbf" + lines(range(20, 40)))
        ),
    ),
    (
        "encoding",
        "three bad lines: not JSON, null text, NUL",
        1,
        FILES,
        lambda f: write(f, V1_dot_jsonl=lines(range(40)) + b'{"text"\n{"text": null}\n{"text": "a\\u0000b"}\n'),
    ),
    (
        "long word",
        "1,000,000 digits in one document",
        1,
        f"{FILES} {FEW}",
        lambda f: write(f, V1_dot_jsonl=lines(range(60)) + json.dumps({"text": "7" * 1_000_000}).encode()),
    ),
    (
        "long word",
        "300,000 random letters ACGT",
        1,
        f"{FILES} {FEW}",
        lambda f: write(
            f,
            V1_dot_jsonl=lines(range(60))
            + json.dumps({"text": "".join(random.Random(0).choices("ACGT", k=300_000))}).encode(),
        ),
    ),
    (
        "long word",
        "500,000 spaces",
        1,
        f"{FILES} {FEW}",
        lambda f: write(f, V1_dot_jsonl=lines(range(60)) + json.dumps({"text": "a" + " " * 500_000 + "b"}).encode()),
    ),
    (
        "tokenizer",
        "the text itself holds the end mark",
        1,
        f"{GIVEN} {FEW}",
        lambda f: (
            save(f, lambda _: None),
            write(
                f,
                V1_dot_jsonl=b"".join(
                    json.dumps({"text": f"{text(n)} </s> {text(n + 500)}"}).encode() + b"\n" for n in range(60)
                ),
            ),
        ),
    ),
    (
        "tokenizer",
        "an added token of id 99 in 14",
        1,
        GIVEN,
        lambda f: (save(f, lambda r: r["added_tokens"][0].update(id=99)), write(f, V1_dot_jsonl=lines(range(60)))),
    ),
    (
        "tokenizer",
        "a normalizer that doubles text forty times",
        1,
        GIVEN,
        lambda f: (
            save(
                f,
                lambda r: r.update(
                    normalizer=json.loads(normalizers.Sequence([normalizers.Replace("a", "aa")] * 40).__getstate__())
                ),
            ),
            write(f, V1_dot_jsonl=lines(range(60))),
        ),
    ),
]


def main() -> None:
    print("| kind | input | answer | store |\n|---|---|---|---|")
    for kind, what, versions, changes, make in CASES:
        folder = pathlib.Path(tempfile.mkdtemp())
        make(folder)
        command = [*COMMON, "data.source.paths=[in]", f"versions={versions}", f"outputs={folder}/out", *changes.split()]
        environment = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(pathlib.Path.cwd()))}
        done = subprocess.run(
            [sys.executable, "-m", "lrpath.train", *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        output = (done.stdout + done.stderr).strip().splitlines()
        answer = "trained" if done.returncode == 0 else output[-1].replace(str(folder), "…")
        said = "; ".join(line for line in output if line.startswith("v") and "training tokens" in line)
        print(f"| {kind} | {what} | {answer} | {said} |", flush=True)


if __name__ == "__main__":
    main()
