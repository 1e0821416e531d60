"""What was encoded before a preparation was killed is taken from the log, and from nowhere that is torn or altered."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lrpath.data.encoding_log import EncodingLog
from lrpath.data.tokenizer import Encoder, train_tokenizer
from tests.data.making import END_MARK, tokenizer_of

CALLS = [["one two", "three"], ["four " * 20], ["", f"five {END_MARK} six"], ["seven"]]


def encoder() -> Encoder:
    settings = tokenizer_of(vocab_size=260)
    return Encoder(train_tokenizer(["one two three four"], settings=settings), end_mark=END_MARK)


class Killed(BaseException):
    """Stands for the end of a process: nothing of the log is cleaned up."""


def run(
    file: Path, calls: Sequence[list[str]], *, whole: bool = True
) -> tuple[list[NDArray[np.uint16]], tuple[int, ...]]:
    """Encode some calls; return the ids of all texts, and how many characters were known and tokens counted."""
    one = encoder()
    log = EncodingLog(file, encoder=one, vocab_size=260)
    ids = []
    try:
        with log:
            for texts in calls:
                ids += log.encode(texts)
            if not whole:
                raise Killed
    except Killed:
        pass
    return ids, (log.known_characters, one.tokens, one.unknown, one.end_marks)


def same(one: list[NDArray[np.uint16]], other: list[NDArray[np.uint16]]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def test_a_log_gives_what_the_encoder_gave_and_counts_alike(tmp_path: Path) -> None:
    plain, counted = run(tmp_path / "plain", CALLS)
    run(tmp_path / "log", CALLS[:3], whole=False)

    ids, counts = run(tmp_path / "log", CALLS)

    assert same(ids, plain)
    assert counts == (sum(len(text) for texts in CALLS[:3] for text in texts), *counted[1:])
    assert [list(one) for one in ids] == [list(one) for texts in CALLS for one in encoder().encode(texts)]
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("damage", ["cut", "altered", "other texts", "other file", "longer"])
def test_what_is_torn_or_of_other_texts_is_encoded_again(tmp_path: Path, damage: str) -> None:
    plain, counted = run(tmp_path / "plain", CALLS)
    file = tmp_path / "log"
    run(file, CALLS[:1], whole=False)
    begin = file.stat().st_size
    run(
        file,
        [[texts[0].replace("four", "five"), *texts[1:]] for texts in CALLS[:2]]
        if damage == "other texts"
        else CALLS[:2],
        whole=False,
    )
    data = file.read_bytes()

    for at in range(begin, len(data)) if damage in ("cut", "altered") else [begin]:
        changed = {
            "cut": data[:at],
            "altered": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
            "other texts": data,
            "other file": b"something else" + data,
            "longer": data[:begin] + data[begin - 60 :],
        }
        file.write_bytes(changed[damage])

        ids, counts = run(file, CALLS)

        assert same(ids, plain)
        assert counts[1:] == counted[1:]
        assert counts[0] == (0 if damage == "other file" else sum(map(len, CALLS[0])))
