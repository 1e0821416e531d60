"""Sources, tokenizers and held-out sets of a few documents; what a test does not name is as here."""

from typing import Any

from lrpath.data.sources import HeldOutSettings, HfSource, PythonSource, TextSource, TokensSource
from lrpath.data.sources.division import Division
from lrpath.data.tokenizer import TokenizerSettings

END_MARK = "<|endoftext|>"


def held(**fields: Any) -> HeldOutSettings:
    """Return settings of held-out sets: a tenth of the documents, whole up to some 3,000 characters."""
    return HeldOutSettings(**{"documents": 500, "share": 0.1, "passage_characters": 2048, "seed": 0, **fields})


NO_HELDOUT = held(share=0.0)


def text_source(**fields: Any) -> TextSource:
    """Return a source of text without held-out sets, of which each file is a version."""
    usual = {"text_field": "text", "versions": Division(by="file"), "overlap": "keep", "bad_records": "refuse"}
    return TextSource(**{**usual, "heldout": NO_HELDOUT, **fields})


def python_source(**fields: Any) -> PythonSource:
    """Return a source of Python code without held-out sets, a quarter of it from the standard library."""
    usual = {"bytes_per_version": 10_000, "stdlib_share": 0.25, "split": "document", "seed": 0, "include_tests": False}
    return PythonSource(**{**usual, "heldout": NO_HELDOUT, **fields})


def tokenizer_of(vocab_size: int | None = 300, **fields: Any) -> TokenizerSettings:
    """Return the settings of a tokenizer that is trained."""
    return TokenizerSettings(**{"vocab_size": vocab_size, "file": None, "end_mark": END_MARK, **fields})


def hf_source(**fields: Any) -> HfSource:
    """Return a source of a dataset whose splits are versions, with some fields changed."""
    usual = {"config": None, "splits": ("train",), "text_field": "text", "versions": Division(by="split")}
    return HfSource(**(usual | fields))


def tokens_source(**fields: Any) -> TokensSource:
    """Return a source of 16-bit ids without held-out text, with some fields changed."""
    return TokensSource(**({"bits": 16, "heldout": {}} | fields))
