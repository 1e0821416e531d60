"""A release of every family of models in fp32 and in bf16, loaded in a process without lrpath.

    python experiments/09_exactness/families.py

Trains a small model of each, exports it, and compares ids, weights and logits with what was trained; texts are
generated until they end. Writes families.csv beside this file; exit code 1 if anything is not as it should be.
"""

import csv
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lrpath.training.checkpoints.export import Dtype
from tests.integration.lab import Lab, write_texts
from tests.integration.released_families import FAMILIES, TEXTS, LoadedRelease, load_families

COLUMNS = ("family", "dtype", "class", "texts", "equal_ids", "different_tensors", "largest_logit_difference",
           "largest_logit", "texts_that_end", "longest_text_tokens", "outcome")  # fmt: skip


def row(loaded: LoadedRelease) -> tuple[object, ...]:
    """Return a row of the table."""
    found = loaded.found
    equal = sum(ours == theirs for ours, theirs in zip(loaded.ids, found["ids"], strict=True))
    ended = sum(found["ended"])
    wrong = len(loaded.different_weights)
    right = equal == ended == len(TEXTS) and not wrong and loaded.logit_difference <= loaded.logit_bound
    return (
        loaded.family,
        loaded.dtype,
        found["class"],
        len(TEXTS),
        equal,
        wrong,
        f"{loaded.logit_difference:.2e}",
        f"{loaded.largest_logit:.2f}",
        ended,
        found["new"],
        "as trained" if right else "different",
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_texts(folder / "texts")
        lab = Lab(folder=folder, texts=folder / "texts", stores=folder / "stores")
        chosen: list[tuple[str, Dtype]] = []
        for family in FAMILIES:
            chosen += [(family, "fp32"), (family, "bf16")]
        rows = [row(one) for one in load_families(lab, chosen)]
    with Path(__file__).with_name("families.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    for one in rows:
        print(f"| {' | '.join(map(str, one))} |")
    sys.exit(any(one[-1] != "as trained" for one in rows))


if __name__ == "__main__":
    main()
