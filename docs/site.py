"""Hooks of MkDocs: pages that stand elsewhere in the repository join the site, and links among them are kept.

README.md is the first page. The reference of the configuration is made from conf/, whose every key has a comment.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

TOP = pathlib.Path(__file__).resolve().parent.parent
ELSEWHERE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGELOG.md"}
SHOWN = {".md", ".png", ".csv", ".json", ".txt", ".sh", ".py"}
KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w.@/ ]+):(?P<value>[^#]*?)(?:\s+#\s*(?P<meaning>.*))?$")
ADDED = re.compile(r"^ *# \+(?P<key>[\w.]+)=(?P<value>'[^']*'|\S+): (?P<meaning>.*)$")
"""A field that a file of conf/ names in a comment, since it is set only where it is added."""
OTHERS = re.compile(r"^ *# to add, with a plus: (?P<meaning>.*)$")
"""What the author of a class may name as he likes."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what stands outside of docs/."""
    for name, source in ELSEWHERE.items():
        files.append(File.generated(config, name, content=(TOP / source).read_text()))
    for file in sorted((TOP / "experiments").rglob("*")):
        if file.is_file() and file.suffix in SHOWN:
            files.append(File.generated(config, file.relative_to(TOP).as_posix(), abs_src_path=str(file)))
    files.append(File.generated(config, "reference/configuration.md", content=configuration()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Rewrite links to the places that pages have in the site."""
    source = page.file.src_uri

    def moved(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith(("mailto:", "#")):
            return link[0]
        if target.endswith("/"):
            if not (TOP / ELSEWHERE.get(source, source)).parent.joinpath(target, "README.md").is_file():
                return text  # a folder of files, which the site has no page for
            target += "README.md"
        if source in ELSEWHERE:
            target = target.removeprefix("docs/")
        elif not source.startswith("experiments/"):
            target = target.removeprefix("../")
        if target.lstrip("./").startswith(("lrpath/", "conf/")):  # the code is no part of the site
            return text
        names = {there: here for here, there in ELSEWHERE.items()}
        return f"[{text}]({names.get(target, target)}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)", moved, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Let names within a sentence or a table break after a dot, an underscore and the like, rather than in a word."""
    return re.sub(r"<code>[^<\n]*</code>", lambda code: re.sub(r"(?<=\w)([._/=,])(?=[\w$])", r"\1<wbr>", code[0]), html)


class DoctestsAsExamples(griffe.Extension):
    """Puts doctests that follow a docstring's text into a section of examples, which is shown as code."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is None or "Examples:" in obj.docstring.value or ">>> " not in obj.docstring.value:
            return
        before, code = obj.docstring.value.split(">>> ", 1)
        indented = "\n".join(f"    {line}" if line else "" for line in f">>> {code}".splitlines())
        obj.docstring.value = f"{before}Examples:\n{indented}"


def configuration() -> str:
    """Return the reference of the configuration: a table for each file of conf/, experiments left out."""
    parts = [
        "# Configuration\n\nEvery field of every group, with its value and its meaning, made from `conf/`. "
        "`python -m lrpath.train --help` prints the same for one configuration.\n"
    ]
    for file in sorted(
        (TOP / "conf").rglob("*.yaml"), key=lambda file: (len(file.parts), file.stem != "config", str(file))
    ):
        name = file.relative_to(TOP / "conf").as_posix()
        if name.startswith(("exp/", "hydra/")):
            continue
        lines = [line for line in file.read_text().splitlines() if not line.startswith("# @package")]
        intro = _text(" ".join(line.lstrip("# ") for line in _heading(lines)))
        rows = list(_rows(lines))
        parts.append(f"## `{name.removesuffix('.yaml')}`\n\n{intro}\n")
        if rows:
            parts.append("| field | value | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _heading(lines: list[str]) -> list[str]:
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]


def _joined(lines: list[str]) -> Iterator[str]:
    """Yield the lines below the heading, each with the lines that only continue its comment."""
    line = ""
    for following in lines[len(_heading(lines)) :]:
        continues = following.lstrip().startswith("# ") and not (ADDED.match(following) or OTHERS.match(following))
        if continues and "#" in line:
            line += f" {following.lstrip(' #')}"
        else:
            yield line
            line = following
    yield line


def _rows(lines: list[str]) -> Iterator[str]:
    above: list[tuple[int, str]] = []
    for line in _joined(lines):
        if found := ADDED.match(line):
            yield _row(f"+{found['key']}", f"to add; {_code(found['value'])}", found["meaning"])
        elif found := OTHERS.match(line):
            yield _row("", "to add, with a plus", found["meaning"])
        elif (found := KEY.match(line)) and found["key"].strip() != "defaults":
            indent, key = len(found["indent"]), found["key"].strip()
            above = [(depth, name) for depth, name in above if depth < indent]
            name = ".".join([*(name for _, name in above), key])
            above.append((indent, key))
            value, meaning = found["value"].strip(), found["meaning"] or ""
            if (value or meaning) and not name.startswith("hydra"):
                yield _row(name, _code(value), meaning)


def _row(name: str, value: str, meaning: str) -> str:
    return f"| {_code(name)} | {value} | {_text(meaning).replace('|', chr(92) + '|')} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _text(text: str) -> str:
    """Return text in which braces stand for themselves; attr_list would take them for attributes of the cell."""
    parts = text.split("`")
    parts[::2] = [part.replace("{", "&#123;") for part in parts[::2]]
    return "`".join(parts)
