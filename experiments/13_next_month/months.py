"""Make folders of real text that stand for the data of months: the standard library of the Python that runs this.

    python experiments/13_next_month/months.py 3      months/v1, v2, v3
    python experiments/13_next_month/months.py 4      and v4; what is there stays

A document is a module; a folder is filled to 1.5 MB. No module is in two folders.
"""

import random
import sys
import sysconfig
from pathlib import Path

BYTES = 1_500_000
LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idlelib", "encodings", "pydoc_data"}
"""Packages, tests, and what is tables more than code."""


def main() -> None:
    count = int(sys.argv[1])
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(file for file in library.rglob("*.py") if not LEFT_OUT & set(file.relative_to(library).parts))
    random.Random(1).shuffle(files)
    for number in range(1, count + 1):
        folder, size, documents = Path("months") / f"v{number}", 0, 0
        is_new = not folder.exists()
        while size < BYTES:
            file = files.pop()
            text = file.read_text(encoding="utf-8", errors="ignore")
            if not text:
                continue
            size, documents = size + len(text.encode()), documents + 1
            if is_new:
                folder.mkdir(parents=True, exist_ok=True)
                name = "_".join(file.relative_to(library).with_suffix("").parts)
                (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"{folder}: {documents} documents, {size:,} bytes{'' if is_new else ', there already'}")


if __name__ == "__main__":
    main()
