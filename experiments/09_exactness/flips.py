"""Flips a byte at a time in every kind of file of a small study, and asks `lrpath.verify` whether it notices.

    python experiments/09_exactness/flips.py [--flips 12] [--seed 0]

A flip replaces one byte, drawn at random, of one file of a kind, also drawn, by another byte. The study is verified as
`python -m lrpath.verify` does, in this process, and the file is put back. Writes flips.csv beside this file; the exit
code is 1 if a flip in a file that determines anything was not found.
"""

import argparse
import csv
import random
import re
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lrpath.analysis.verify.study import verify_study
from lrpath.data.store import TokenStore
from lrpath.errors import LrpathError
from lrpath.records.study import Study
from tests.integration.lab import Lab, write_texts
from tests.integration.planting import plant

CHANGES = ("paradigm=[path_switching,merged]", "paradigms.merged.states=3", "paradigms.merged.spacing=2")
GUARDED = ("guard.policy=skip", "logger=tensorboard")
DETERMINE_NOTHING = ("speed.csv", "TensorBoard's events", "reached")
"""`reached` is read while a run goes on, or after it was killed; the next run makes it anew."""


def kind_of(file: Path, study: Path) -> str:
    """Return what a file is called in the table."""
    if "tfevents" in file.name:
        return "TensorBoard's events"
    name = re.sub("[0-9a-f]{12}|[0-9]{9}|shard-[0-9-]+.*(?=[.]safetensors)", "<…>", file.name)
    top = file.relative_to(study).parts[0]
    inside = f"{file.parent.name}/" if file.parent.name in ("backbone", "documents") else ""
    return f"{top}/{name}" if top in ("plans", "releases", "report") else f"{inside}{name}"


def flip(file: Path, chance: random.Random) -> bytes:
    """Replace a byte of a file by another, and return what the file held."""
    content = file.read_bytes()
    place = chance.randrange(len(content))
    other = bytes([(content[place] + chance.randrange(1, 256)) % 256])
    file.write_bytes(content[:place] + other + content[place + 1 :])
    return content


def is_found_in_study(folder: Path) -> bool:
    """Say whether a verification of the study finds anything, or refuses to go on."""
    try:
        return any(check.findings for check in verify_study(Study(folder)))
    except LrpathError:
        return True


def is_found_in_store(folder: Path) -> bool:
    """Say whether the store is refused when its tokens are compared with their digests, as every run begins."""
    try:
        increments = {place.name: place.name for place in folder.iterdir() if place.is_dir()}
        store = TokenStore.open(folder, increments=increments)
        for version in store.versions:
            store.check(version, contents=True)
    except LrpathError:
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--flips", type=int, default=12, help="of each kind of file")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder / "texts")
        lab = Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")
        plant("main:7=nan")
        lab.run(*CHANGES, *GUARDED)
        study = lab.study().folder
        (store,) = (folder / "stores").glob("store-*")
        assert not is_found_in_study(study)
        assert not is_found_in_store(store)
        rows = [
            *measure(study, is_found_in_study, place="study", flips=given.flips, chance=chance),
            *measure(store, is_found_in_store, place="store", flips=given.flips, chance=chance),
        ]
    write(rows)
    missed = [row for row in rows if row[2] < row[3] and row[1] not in DETERMINE_NOTHING]
    sys.exit(bool(missed))


def measure(
    folder: Path, is_found, *, place: str, flips: int, chance: random.Random
) -> list[tuple[str, str, int, int]]:
    """Return place, kind, flips found and flips made, for every kind of file of a folder."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and file.stat().st_size:
            kinds[kind_of(file, folder)].append(file)
    rows = []
    for kind, files in sorted(kinds.items()):
        found = 0
        for _ in range(flips):
            file = chance.choice(files)
            content = flip(file, chance)
            found += is_found(folder)
            file.write_bytes(content)
        rows.append((place, kind, found, flips))
        print(f"{place}: {kind}: {found} of {flips}", flush=True)
    return rows


def write(rows: list[tuple[str, str, int, int]]) -> None:
    """Write the table."""
    with Path(__file__).with_name("flips.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["place", "kind", "found", "flips"])
        table.writerows(rows)


if __name__ == "__main__":
    main()
