"""Divides every increment of a prepared text in two at the end of a document, so that eight versions are made of four.

Writes the halves of the training ids and of the packages' held-out ids to a folder, and prints the overrides of
`data=tokens` that read them. The standard library's held-out sets are a document or two a version, and are left out.

    python experiments/14_recipe/halves.py outputs/data/python_source-… FOLDER
"""

import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

END = "<|endoftext|>"


def halves(file: Path, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids before and after the last document's end in the first half."""
    ids = np.fromfile(file, dtype="<u2")
    cut = int(np.flatnonzero(ids[: ids.size // 2] == end)[-1]) + 1
    return ids[:cut], ids[cut:]


def main(store: str, folder: str) -> None:
    """Write the files, print the overrides."""
    tokenizer = Path(store, "tokenizer.json")
    end = Tokenizer.from_file(str(tokenizer)).token_to_id(END)
    found: dict[str, list[str]] = {}
    for increment in sorted(Path(store).glob("v*/")):
        for file in (increment / "train.bin", increment / "heldout" / "packages.bin"):
            for number, half in enumerate(halves(file, end)):
                target = Path(folder, f"{increment.name}_{number}", file.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                half.tofile(target)
                found.setdefault(file.stem, []).append(str(target))
    print(f"data=tokens data.tokenizer.file={tokenizer} data.source.files=[{','.join(found.pop('train'))}]")
    for domain, files in found.items():
        print(f"+data.source.heldout.{domain}=[{','.join(files)}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
