"""Divides every increment of a prepared text in two at the end of a document, so that eight versions are made of four.

Writes the halves of the training ids and of the packages' held-out ids to a folder, and prints the overrides of
`data=tokens` that read them. The standard library's held-out sets are a document or two a version, and are left out.

    python experiments/14_recipe/halves.py outputs/STUDY outputs/data/store-… FOLDER

The study, which was trained on that text, knows in which order its increments arrived.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

END = "<|endoftext|>"


def halves(file: Path, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids before and after the last document's end in the first half."""
    ids = np.fromfile(file, dtype="<u2")
    cut = int(np.flatnonzero(ids[: ids.size // 2] == end)[-1]) + 1
    return ids[:cut], ids[cut:]


def main(study: str, store: str, folder: str) -> None:
    """Write the files, print the overrides."""
    file = Path(store, "tokenizer.json")
    tokenizer = Tokenizer.from_file(str(file))
    end = tokenizer.token_to_id(END)
    plan = json.loads(next(Path(study, "plans").glob("*.json")).read_text())
    places = {sha256(file.read_bytes()).hexdigest(): file.parent for file in Path(store).glob("*/train.bin")}
    found: dict[str, list[str]] = {}
    for version, increment in plan["increments"].items():
        place = places[increment["content"]]
        for ids in (place / "train.bin", place / "heldout" / "packages.bin"):
            for number, half in enumerate(halves(ids, end)):
                target = Path(folder, f"{version}_{number}", ids.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                half.tofile(target)
                found.setdefault(ids.stem, []).append(str(target))
    print(f"data=tokens data.tokenizer.file={file} data.tokenizer.vocab_size={tokenizer.get_vocab_size()}")
    print(f"data.source.files=[{','.join(found.pop('train'))}]")
    for domain, files in found.items():
        print(f"+data.source.heldout.{domain}=[{','.join(files)}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
