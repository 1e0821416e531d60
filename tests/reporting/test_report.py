import base64
import hashlib
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lrpath.analysis.comparison import StudyComparison
from lrpath.errors import StateError
from lrpath.planning.optimizers import AdEMAMix
from lrpath.records.commands import Command
from lrpath.records.events import rewrite_path_events
from lrpath.records.study import Study
from lrpath.reporting.report import write_report
from lrpath.reporting.setup_table import setup_tables
from tests.analysis.studies import (
    CONTINUAL,
    SCRATCH,
    SWITCHING,
    evaluate,
    evaluate_evenly,
    keep,
    plan_of,
    run_all,
)
from tests.planning.strategies import ADAMW
from tests.refusals import refused

pytestmark = pytest.mark.slow

TABLES = [
    "setup.md",
    "table.md",
    "table.csv",
    "summary.md",
    "summary.csv",
    "summary.tex",
    "seeds.csv",
    "matrix.md",
    "matrix.csv",
    "cost.md",
    "cost.csv",
]
LOSSES = {"from_scratch": [3.0, 2.0], "continual": [3.0, 2.5], "path_switching": [3.1, 2.25]}


def test_a_finished_study_has_all_tables_and_figures(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10)
    keep(study, plan)
    run_all(study, plan)
    evaluate_evenly(study, plan, LOSSES)
    rewrite_path_events(study.folders()[0])

    report = write_report(study)

    names = [*TABLES, "quality_cost.png", "losses.png", "rates.png", "index.html"]
    assert [file.name for file in report.files] == names
    assert sorted(file.name for file in study.report.glob("[!.]*")) == sorted([*names, "tb"])
    assert "(from_scratch ≤ path_switching ≤ continual) is seen at v2." in str(report)
    assert "exactly as planned" in str(report)
    assert report.text.endswith(f"tensorboard --logdir {study.report / 'tb'}")


def test_a_study_that_has_not_run_reports_its_plan_and_what_is_missing(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    keep(study, plan_of(10, 10))

    report = write_report(study)

    assert [file.name for file in report.files] == [
        *(name for name in TABLES if not name.startswith("matrix")),
        "rates.png",
        "index.html",
    ]
    assert not (study.report / "tb").exists()  # no path has curves
    assert "is not known" in report.text
    assert "path_switching.main lacks 14" in report.text


def test_a_half_run_study_reports_what_there_is(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10)
    keep(study, plan)
    evaluate_evenly(study, plan, LOSSES | {"path_switching": [3.1, None], "continual": [3.0, None]})
    main = next(path for path in plan.tree.paths if path.name == "path_switching.main")
    study.open(main).metrics.append([(n, 5.0, 1.0, 1.0, 8 * n) for n in range(1, 9)])

    report = write_report(study)

    assert "losses.png" in [file.name for file in report.files]
    assert "is not known:" not in report.text  # v1 is there, in all three


def test_many_held_out_sets_are_left_to_the_files(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10, 10, 10, 10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    evaluate_evenly(study, plan, {"continual": [2.0] * 5})

    report = write_report(study)

    assert "on v1" not in report.text
    assert "on v1" in (study.report / "table.md").read_text()


def test_a_study_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    keep(Study(tmp_path / "real"), plan_of(10))

    with refused(StateError):
        write_report(Study(tmp_path / "unreal"))


def test_a_study_without_a_plan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty" / "plans").mkdir(parents=True)

    with refused(StateError):
        write_report(Study(tmp_path / "empty"))


def test_several_studies_are_reported_together(tmp_path: Path) -> None:
    july, august = Study(tmp_path / "july"), Study(tmp_path / "august")
    for study, seed in ((july, 1), (august, 2)):
        plan = plan_of(10, 10, seed=seed)
        keep(study, plan)
        run_all(study, plan)
        evaluate_evenly(study, plan, {kind: [loss + seed / 10 for loss in losses] for kind, losses in LOSSES.items()})

    report = write_report(july, august, folder=tmp_path / "both")

    assert "mean of 2 seeds: from_scratch 2.1500" in report.text
    assert report.text.count("exactly as planned") == 2
    seeds = (tmp_path / "both" / "summary.csv").read_text().splitlines()
    assert seeds[0].startswith(
        "version,paradigm,loss_nats_per_token_mean,loss_nats_per_token_half_width_95,bits_per_byte_"
    )
    assert "relative_cost,on_front,seeds" in seeds[0]
    assert len(seeds) == 1 + 2 * 3
    assert not july.report.exists()


def test_what_studies_ask_stands_at_the_head_of_a_report(tmp_path: Path) -> None:
    study, other = Study(tmp_path / "toy"), Study(tmp_path / "other")
    for one, peak in ((study, 1.0), (other, 2.0)):
        keep(one, plan_of(10, paradigms={"continual": replace(CONTINUAL, peak=peak)}))
    for question in ("", "How long must a branch be?", "How long?", "How long must a branch be?"):
        study.commands.add(Command.of_this_process("lrpath.train", [], description=question))

    (alone,), (both,) = (setup_tables(StudyComparison.read(*studies)) for studies in ((study,), (study, other)))

    assert alone.rows[0] == ("question", "How long must a branch be? How long?")
    assert both.rows[0] == ("question", "toy: How long must a branch be? How long?")


def test_a_setup_of_studies_on_several_texts_has_all_of_them_under_the_digits_of_their_labels(tmp_path: Path) -> None:
    studies = []
    for name, text, updates, paradigm in (
        ("law", "1a2b", (10,), "from_scratch"),
        ("code", "3c4d", (10,), "from_scratch"),
        ("longer", "3c4d", (10, 10), "again"),
    ):
        texts = {"v1": text * 16, "v2": "5e6f" * 16}
        plan = plan_of(*updates, paradigms={paradigm: SCRATCH}, texts=texts, held_out="7a" * 32)
        studies.append(Study(tmp_path / name))
        keep(studies[-1], plan)
        evaluate_evenly(studies[-1], plan, {paradigm: LOSSES["from_scratch"]})

    comparison = StudyComparison.read(*studies)
    (table,) = setup_tables(comparison)

    texts = dict(table.rows)["training text"].split("; ")
    assert sorted(text.partition(":")[0] for text in texts) == ["code, longer", "law"]
    assert all(any(f"(digest {digest}" in text for text in texts) for digest in ("1a2b1a2b1a2b", "3c4d3c4d3c4d"))
    labels = {series.label for series in comparison.series}
    assert labels == {"from_scratch (text 1a2b1a)", "from_scratch (text 3c4d3c)", "again"}


def test_the_setup_tells_optimizers_apart_by_settings_that_adamw_does_not_have(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for beta3 in (0.99, 0.999):
        slow = AdEMAMix(**asdict(ADAMW), beta3=beta3, slow_factor=5.0, growing_updates=9)
        keep(study, plan_of(10, paradigms={"continual": CONTINUAL}, optimizer=slow))

    (table,) = setup_tables(StudyComparison.read(study))

    said = dict(table.rows)["optimizer"]
    assert [text.split("beta3 ")[1].split(", ")[0] for text in said.split("; ")] == ["0.99", "0.999"]


def test_the_page_holds_everything_and_loads_nothing(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "a&b"), plan_of(10, 10)
    keep(study, plan)
    run_all(study, plan)
    evaluate_evenly(study, plan, LOSSES)

    page = (write_report(study).files[-1]).read_text()

    assert "<title>a&amp;b</title>" in page
    assert page.count("<table>") == page.count("</table>") == 6
    assert page.count("<details>") == 4  # what may be long is folded; setup and the last version's releases are not
    assert page.count('src="data:image/png;base64,') == 3
    assert "http://" not in page
    assert "https://" not in page
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_of_very_many_releases_the_last_version_s_are_printed_best_first(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for number in range(21):
        plan = plan_of(10, 10, paradigms={"continual": replace(CONTINUAL, peak=1.0 + number)})
        keep(study, plan)
        evaluate_evenly(study, plan, {"continual": [3.0, 2.0 + (number - 7) ** 2 / 100]})

    shown = write_report(study).text.splitlines()

    rows = [line.split()[1] for line in shown if line.startswith("continual ")]
    assert (len(rows), rows[0]) == (21, "(peak=8)")
    assert shown[0] == "Releases of v2, best first"
    assert not any(line.startswith("v1 ") for line in shown)
    assert (study.report / "table.md").read_text().count("| v1 |") == 21


def test_an_alpha_sweep_and_domains_are_drawn(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    for alpha in (0.2, 0.6):
        plan = plan_of(10, 10, paradigms={"path_switching": replace(SWITCHING, alpha=alpha), "from_scratch": SCRATCH})
        keep(study, plan)
        for release in plan.tree.releases:
            losses = {(version, domain): (200 + alpha, 100) for version in plan.versions for domain in ("old", "new")}
            evaluate(study, plan, release, losses)

    report = write_report(study)

    assert {"alpha.png", "domains.png"} <= {file.name for file in report.files}
    assert (study.report / "alpha.png").read_bytes().startswith(b"\x89PNG")


def test_names_from_a_plan_are_text_and_nothing_else(tmp_path: Path) -> None:
    hostile = '<img src=x onerror="alert(1)">'
    study, plan = Study(tmp_path / "toy"), plan_of(10, paradigms={"continual": CONTINUAL})
    (release,) = plan.tree.releases
    named = replace(
        plan,
        increments=(replace(plan.increments[0], version=hostile),),
        tree=replace(plan.tree, releases=(replace(release, version=hostile),)),
    )
    keep(study, named)
    evaluate_evenly(study, named, {"continual": [2.0]})

    report = write_report(study)

    texts = {file.name: file.read_text() for file in report.files if file.suffix in (".html", ".md")}
    assert {"index.html", "table.md", "summary.md"} <= texts.keys()
    assert [name for name, text in texts.items() if "<img src=x" in text] == []
    assert "&lt;img src=x" in texts["index.html"]


def test_the_page_s_policy_allows_its_own_style_and_pictures_only(tmp_path: Path) -> None:
    study = Study(tmp_path / "toy")
    keep(study, plan_of(10))

    page = write_report(study).files[-1].read_text()

    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    (style,) = re.findall("<style>(.*?)</style>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.split("; ")[:3] == ["default-src 'none'", "img-src data:", f"style-src 'sha256-{digest}'"]
    assert not re.search(r"<script|\son\w+=|\sstyle=", page)
