"""Hooks of MkDocs: pages that stand elsewhere in the repository join the site, and links among them are kept.

README.md is the first page. The reference of the configuration is made from conf/, whose every key has a comment.
"""

import pathlib
import re
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

TOP = pathlib.Path(__file__).resolve().parent.parent
ELSEWHERE = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changes.md": "CHANGELOG.md"}
SHOWN = {".md", ".png", ".csv", ".json", ".txt", ".sh", ".py"}
KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w.@/ ]+):(?P<value>[^#]*?)(?:\s+#\s*(?P<meaning>.*))?$")


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
        target += "README.md" if target.endswith("/") else ""
        if source in ELSEWHERE:
            target = target.removeprefix("docs/")
        elif not source.startswith("experiments/"):
            target = target.removeprefix("../")
        if target.lstrip("./").startswith(("lrpath/", "conf/")):  # the code is no part of the site
            return text
        names = {there: here for here, there in ELSEWHERE.items()}
        return f"[{text}]({names.get(target, target)}{anchor})"

    return re.sub(r"\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)", moved, markdown)


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
        lines = file.read_text().splitlines()
        intro = " ".join(line.lstrip("# ") for line in _heading(lines))
        rows = list(_rows(lines))
        parts.append(f"## `{name.removesuffix('.yaml')}`\n\n{intro}\n")
        if rows:
            parts.append("| field | value | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _heading(lines: list[str]) -> list[str]:
    end = next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line for line in lines[:end] if not line.startswith("# @package")]


def _rows(lines: list[str]) -> Any:
    above: list[tuple[int, str]] = []
    for line in lines:
        found = KEY.match(line)
        if found is None or line.startswith("#") or found["key"].strip() == "defaults":
            continue
        indent, key = len(found["indent"]), found["key"].strip()
        above = [(depth, name) for depth, name in above if depth < indent]
        name = ".".join([*(name for _, name in above), key])
        above.append((indent, key))
        value, meaning = found["value"].strip(), (found["meaning"] or "").replace("|", "\\|")
        if (value or meaning) and not name.startswith("hydra"):
            yield f"| `{name}` | {f'`{value}`' if value else ''} | {meaning} |".replace("``", "")
