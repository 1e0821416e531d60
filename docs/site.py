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
        is_folder = target.endswith("/")
        target += "README.md" if is_folder else ""
        if source in ELSEWHERE:
            target = target.removeprefix("docs/")
        elif "/" not in source:
            target = target.removeprefix("../")
        if target.lstrip("./").startswith(("lrpath/", "conf/")):  # the code is no part of the site
            return text
        if is_folder and not (TOP / source).parent.joinpath(target).is_file():  # files that no page is about
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
        "# Configuration\n\nEvery field of every group, with its value and its meaning, made from `conf/`, named as "
        "a command changes it: `field=value`. A field with a plus has no value until a command adds it. What stands "
        "under `schedule/` is `branch.…` where it is chosen for branches (`schedule@branch=`). "
        "`python -m lrpath.train --help` prints the values of one configuration.\n"
    ]
    for file in sorted(
        (TOP / "conf").rglob("*.yaml"), key=lambda file: (len(file.parts), file.stem != "config", str(file))
    ):
        name = file.relative_to(TOP / "conf").as_posix()
        if name.startswith(("exp/", "hydra/")):
            continue
        text = file.read_text()
        package = re.match(r"# @package (\w+)\n", text)
        lines = text.splitlines()[1 if package else 0 :]
        prefix = package[1] if package else name.rpartition("/")[0]
        intro = _text(" ".join(line.lstrip("# ") for line in _heading(lines)))
        rows = list(_rows(lines, prefix="" if prefix == "_global_" else prefix))
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


def _rows(lines: list[str], *, prefix: str) -> Iterator[str]:
    """Yield a row for each field, named as a command changes it: after the prefix of its group."""
    above: list[tuple[int, str]] = []
    for line in _joined(lines):
        if found := ADDED.match(line):
            yield _row(f"+{found['key']}", f"not set; for example {_code(found['value'])}", found["meaning"])
        elif found := OTHERS.match(line):
            yield _row(f"+{prefix}.…", "", found["meaning"])
        elif (found := KEY.match(line)) and found["key"].strip() != "defaults":
            indent, key = len(found["indent"]), found["key"].strip()
            above = [(depth, name) for depth, name in above if depth < indent]
            name = ".".join([prefix, *(name for _, name in above), key]).lstrip(".")
            above.append((indent, key))
            value, meaning = found["value"].strip(), found["meaning"] or ""
            if (value or meaning) and not name.startswith("hydra"):
                yield _row(name, _code(value), meaning)


def _row(name: str, value: str, meaning: str) -> str:
    return f"| {_code(name)} | {value} | {_text(meaning).replace('|', chr(92) + '|')} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _text(text: str) -> str:
    """Return text in which each sign stands for itself; Markdown takes braces for attributes, `<study>` for a tag."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"[{<*]", lambda sign: f"&#{ord(sign[0])};", part) for part in parts[::2]]
    return "`".join(parts)
