from pathlib import Path

import pytest

from lrpath.analysis.comparison import StudyComparison
from lrpath.records.document_losses import DocumentLoss, write_document_losses
from lrpath.records.study import Study
from lrpath.reporting.release_tables import release_csv, release_tables, summary_tables
from lrpath.reporting.tables import (
    Align,
    Column,
    ReportTable,
    write_fixed,
    write_flops,
    write_whole_number,
)
from tests.analysis.studies import CONTINUAL, evaluate, keep, plan_of

TABLE = ReportTable(
    title="Costs",
    columns=(
        Column(key="name", title="name", align=Align.LEFT),
        Column(key="updates", title="updates", write=write_whole_number),
        Column(key="loss_nats", title="loss", unit="nats", write=write_fixed(2)),
    ),
    rows=(("a|b", 58_000, 2.675), ("c", 1, None)),
    notes=("A note.",),
)


def test_text_is_aligned_and_has_no_trailing_spaces() -> None:
    assert TABLE.text().splitlines() == [
        "Costs",
        "name  updates    loss",
        "               [nats]",
        "────  ───────  ──────",
        "a|b    58,000    2.67",
        "c           1       –",
        "A note.",
    ]


def test_markdown_escapes_what_would_end_a_cell() -> None:
    assert TABLE.markdown() == (
        "**Costs**\n\n| name | updates | loss [nats] |\n| :--- | ---: | ---: |\n"
        "| a\\|b | 58,000 | 2.67 |\n| c | 1 | – |\n\nA note.\n"
    )


def test_csv_keeps_all_digits_and_leaves_missing_values_empty() -> None:
    assert TABLE.csv() == "name,updates,loss_nats\na|b,58000,2.675\nc,1,\n"


def test_records_are_the_values_by_key() -> None:
    assert TABLE.records()[1] == {"name": "c", "updates": 1, "loss_nats": None}


@pytest.mark.parametrize(("flops", "text"), [(0, "0"), (9.994e20, "9.99e20"), (9.999e20, "1.00e21"), (1, "1.00e0")])
def test_flops_have_three_digits(flops: float, text: str) -> None:
    assert write_flops(flops) == text


def test_the_study_table_shows_missing_results_as_missing(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, 10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    evaluate(study, plan, plan.release("continual", "v1"), {("v1", "web"): (0.0, 10), ("v2", "web"): (0.0, 10)})

    lines = release_tables(StudyComparison.read(study))[0].text().splitlines()

    assert lines[1].split() == [
        "version",
        "paradigm",
        "loss",
        "loss",
        "perplexity",
        "updates",
        "tokens",
        "cost",
        *["on", "v1", "on", "v2"],
    ]
    assert lines[4].split() == ["v1", "continual", "0.0000", "–", "1.000", "10", "80", "1.00", "1.000", "1.000"]
    assert lines[5].split() == ["v2", "continual", "–", "–", "–", "20", "160", "0.67", "–", "–"]


def test_domains_have_columns_only_if_there_are_several(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    evaluate(study, plan, plan.release("continual", "v1"), {("v1", "web"): (0.0, 10), ("v1", "code"): (5.0, 10)})

    comparison = StudyComparison.read(study)

    assert "perplexity_v1_code,perplexity_v1_web" in release_csv(comparison).splitlines()[0]
    assert "v1/code" not in release_tables(comparison)[0].text()


def test_sets_of_few_documents_are_said_beside_the_losses(tmp_path: Path) -> None:
    study, plan = Study(tmp_path / "toy"), plan_of(10, paradigms={"continual": CONTINUAL})
    keep(study, plan)
    (release,) = plan.tree.releases
    evaluate(study, plan, release, {("v1", "law"): (6.0, 2), ("v1", "web"): (1500.0, 500)})

    def note(text: str) -> list[str]:
        comparison = StudyComparison.read(study)
        tables = (*release_tables(comparison), *summary_tables(comparison))
        return [line for table in tables for line in table.notes if text in line]

    assert note("Held-out documents") == []  # not known: evaluated before losses were kept by document

    folder = study.open(plan.tree.path(release.last.path_id))
    sizes = {("valid", "law"): 2, ("valid", "web"): 500, ("test", "law"): 3}
    write_document_losses(
        folder.document_losses(release.last.position),
        [
            DocumentLoss(split=split, version="v1", domain=domain, document=number, nll=3.0, tokens=1)
            for (split, domain), count in sizes.items()
            for number in range(count)
        ],
    )

    assert len(note("Held-out documents, as far as cadence.held_out_windows has them read: v1 law 2.")) == 2


def test_latex_and_html_escape_what_they_must() -> None:
    table = ReportTable(
        title="50 % <b>",
        columns=(Column(key="a", title="a_b & c", align=Align.LEFT), Column(key="b", title="b", unit="%")),
        rows=(("x<y", 1), ("α ± 2", None)),
        notes=("a & b",),
    )

    assert table.latex().splitlines() == [
        "% 50 % <b>",
        "% a & b",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b \& c & b [\%] \\",
        r"\midrule",
        r"x<y & 1 \\",
        r"$\alpha$ $\pm$ 2 & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    html = table.html()
    assert "<caption><span>50 % &lt;b&gt;</span></caption>" in html
    assert '<td class="left">x&lt;y</td><td>1</td>' in html
    assert table.html_notes() == "<p>a &amp; b</p>\n"


def test_a_name_cannot_command_a_terminal() -> None:
    table = ReportTable(title="t", columns=(Column(key="a", title="a"),), rows=(("red \x1b[31m\nline",),))

    assert table.text().splitlines()[-1] == "red \N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}line"
