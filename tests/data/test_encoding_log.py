"""What was encoded before a preparation was killed is taken from the log, and from nowhere that is torn or altered."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lrpath.data.encoder import Encoder
from lrpath.data.encoding_log import EncodingLog
from lrpath.data.heldout import Piece
from lrpath.data.tokenizer import train_tokenizer
from tests.data.making import END_MARK, tokenizer_of

CALLS = [["one two", "three"], ["four " * 20], ["", f"five {END_MARK} six"], ["seven"]]


def encoder() -> Encoder:
    settings = tokenizer_of(vocab_size=260)
    return Encoder(train_tokenizer(["one two three four"], settings=settings), end_mark=END_MARK)


def pieces(texts: Sequence[str]) -> list[Piece]:
    return [Piece(text=text, split="train", domain="text", begins=True, ends=True) for text in texts]


class Killed(BaseException):
    """Stands for the end of a process: nothing of the log is cleaned up."""


def run(
    file: Path, calls: Sequence[list[str]], *, whole: bool = True
) -> tuple[list[NDArray[np.uint16]], tuple[int, ...]]:
    """Encode some calls; return the ids of all texts, and how many characters were known and tokens counted."""
    log = EncodingLog(file, encoder=encoder(), vocab_size=260)
    ids = []
    try:
        with log:
            for _, found in log.encode(map(pieces, calls)):
                ids += found
            if not whole:
                raise Killed
    except Killed:
        pass
    return ids, tuple(log.counts[name] for name in ("known", "tokens", "unknown", "end_marks"))


def same(one: list[NDArray[np.uint16]], other: list[NDArray[np.uint16]]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def test_a_log_gives_what_the_encoder_gave_and_counts_alike(tmp_path: Path) -> None:
    plain, counted = run(tmp_path / "plain", CALLS)
    run(tmp_path / "log", CALLS[:3], whole=False)

    ids, counts = run(tmp_path / "log", CALLS)

    assert same(ids, plain)
    assert counts == (sum(len(text) for texts in CALLS[:3] for text in texts), *counted[1:])
    assert [list(one) for one in ids] == [list(one) for texts in CALLS for one in encoder().encode(texts).ids]
    assert not (tmp_path / "log").exists()


@pytest.mark.slow
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


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_whoever_is_killed_loses_no_call_whose_ids_it_was_given(tmp_path: Path, done: int) -> None:
    with EncodingLog(tmp_path / "log", encoder=encoder(), vocab_size=260) as log:
        with closing(log.encode(map(pieces, CALLS))) as found:
            for _ in range(done):
                next(found)
        (tmp_path / "kept").write_bytes((tmp_path / "log").read_bytes())  # as the system has it by now

    _, counts = run(tmp_path / "kept", CALLS)

    assert counts[0] == sum(len(text) for texts in CALLS[:done] for text in texts)


def test_the_records_are_on_the_disk_after_so_many_bytes_of_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    file = tmp_path / "log"
    monkeypatch.setattr("lrpath.data.encoding_log.fsync", lambda _: flushed.append(file.stat().st_size))
    sizes = [0]

    with EncodingLog(file, encoder=encoder(), vocab_size=260, restart_bytes=100) as log:
        for _ in log.encode(map(pieces, [["word " * 10]] * 12)):
            sizes.append(file.stat().st_size)

    assert flushed == sizes[2::2]  # every second call of 50 bytes each
