"""One HTML page with everything a report holds: no script, nothing loaded, legible on a phone and in the dark.

Names of versions, labels and titles come from plans and configurations, which may be somebody else's. Everything is
escaped, and the page's content-security policy forbids scripts and loading anything even where that were forgotten.
"""

import base64
import hashlib
import html
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

from lrpath.reporting.tables import ReportTable, said_once

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fdfdfc; --line: #d8d8d4; --soft: #6b6b66; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e2; --paper: #17181a; --line: #3a3b3e; --soft: #9c9c98; } }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.wide { overflow-x: auto;  /* a shadow at the side on which a table goes on */
  background: linear-gradient(90deg, var(--paper) 2rem, transparent), linear-gradient(270deg, var(--paper) 2rem,
              transparent) right, linear-gradient(90deg, #8886, transparent) left, linear-gradient(270deg, #8886,
              transparent) right;
  background-repeat: no-repeat; background-size: 3rem 100%, 3rem 100%, 1rem 100%, 1rem 100%;
  background-attachment: local, local, scroll, scroll; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; } .left { text-align: left; }
.setup table { white-space: normal; overflow-wrap: anywhere; width: 100%; } .setup thead { display: none; }
.setup { margin-bottom: 1.5rem; } .setup td { vertical-align: top; }
.setup td:first-child { white-space: nowrap; color: var(--soft); width: 1%; }
@media (max-width: 40rem) { .wide table { font-size: .78rem; } .wide th, .wide td { padding: .2rem .4rem; }
                            ul { padding-left: 1.2rem; }
                            .setup td { display: block; padding: .1rem 0; border: 0; }
                            .setup tr { display: block; padding: .3rem 0; border-bottom: 1px solid var(--line); } }
.wide td.left { white-space: normal; overflow-wrap: break-word; max-width: 26rem; }
@media (max-width: 40rem) { .wide td.left { max-width: 12rem; } }  /* so that numbers are seen beside long names */
caption span {  /* the title stays where a table is scrolled to */
  display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 2rem); white-space: normal; }
small, figcaption, footer, .notes { color: var(--soft); font-size: .85rem; font-weight: 400; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
figure { margin: 1.5rem 0; } img { width: 100%; max-width: 44rem; background: #fff; border-radius: .4rem; }
"""
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; img-src data:; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure of the page.

    Args:
        file: A PNG on disk; it is copied into the page.
        caption: What it shows.
    """

    file: pathlib.Path
    caption: str


def page(
    *,
    title: str,
    setup: Sequence[ReportTable],
    findings: Sequence[str],
    first: Sequence[ReportTable],
    pictures: Sequence[Picture],
    tables: Sequence[ReportTable],
    foot: str,
) -> str:
    """Return the page.

    Args:
        title: Heading.
        setup: What was run; at the head.
        findings: Sentences, each a line.
        first: What most readers came for.
        pictures: In order.
        tables: In order, folded, since they may be long.
        foot: Last line.
    """
    sentences = "".join(f"<li>{html.escape(sentence)}</li>\n" for sentence in findings)
    folded = "".join(
        f"<details><summary>{html.escape(table.title)} ({len(table.rows):,} rows)</summary>"
        f"{_wide(table, captioned=False)}</details>\n"
        for table in tables
    )
    head = "".join(f'<div class="setup">{table.html()}</div>\n' for table in setup)
    drawn = "".join(map(_figure, pictures))
    shown = "".join(map(_wide, said_once(first)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n{head}<h2>Findings</h2>\n<ul>\n{sentences}</ul>\n{shown}"
        f"<h2>Figures</h2>\n{drawn}<h2>Tables</h2>\n{folded}<footer>{html.escape(foot)}</footer>\n</body></html>\n"
    )


def _wide(table: ReportTable, *, captioned: bool = True) -> str:
    notes = f'<div class="notes">{table.html_notes()}</div>\n' if table.notes else ""
    return f'<div class="wide">{table.html(captioned=captioned)}</div>\n{notes}'


def _figure(picture: Picture) -> str:
    data = base64.b64encode(picture.file.read_bytes()).decode("ascii")
    caption = html.escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>\n'
    )
