"""Where text comes from: installed Python code, files of text, files of token ids, or a Hugging Face dataset."""

from lrpath.data.sources.document import Arrival, Document, HeldOutSettings, Split, TextOrigin
from lrpath.data.sources.hf import HfSource
from lrpath.data.sources.own import OwnSource
from lrpath.data.sources.python_source import PythonSource
from lrpath.data.sources.text import TextSource
from lrpath.data.sources.tokens import TokensSource

Source = TextOrigin | TokensSource

__all__ = [
    "Arrival",
    "Document",
    "HeldOutSettings",
    "HfSource",
    "OwnSource",
    "PythonSource",
    "Source",
    "Split",
    "TextOrigin",
    "TextSource",
    "TokensSource",
]
