"""What `lrpath.plan format=json` says to another trainer."""

from pathlib import Path

from lrpath.reporting.trainer_paths import trainer_paths, write_rates
from tests.reporting.test_plan_text import main_plan


def test_pieces_forks_and_streams_are_those_of_the_plan() -> None:
    by_name = {row["name"]: row for row in trainer_paths(main_plan())}
    main, branch = by_name["path_switching.main"], by_name["path_switching.v2"]

    assert main["pieces"] == [
        {"shape": "linear", "begin": 0, "end": 2000, "first": 0.0, "last": 3e-4},
        {"shape": "constant", "begin": 2000, "end": None, "first": 3e-4, "last": 3e-4},
    ]
    assert main["states"] == [4000, 14000, 24000, 34000]
    assert {"position": 14000, "id": branch["id"]} in main["forks"]
    assert branch["parent"] == {"id": main["id"], "position": 14000}
    assert branch["releases"] == [{"position": 20000, "paradigm": "path_switching", "version": "v2", "weight": 1.0}]
    assert branch["stream"] == [
        {
            "begin": 14000,
            "end": 20000,
            "first": 4000,
            "components": [{"share": 1.0, "increments": ["v2"], "first_pass": 0}],
        }
    ]


def test_a_file_of_rates_has_every_update_to_the_last_digit(tmp_path: Path) -> None:
    plan = main_plan()
    write_rates(plan, tmp_path)

    for path, row in zip(plan.tree.paths, trainer_paths(plan, rates=tmp_path), strict=True):
        rates = [float(line) for line in Path(row["rates_file"]).read_text().splitlines()]
        assert len(rates) == row["end"] - row["start"]
        assert all(rate == path.schedule.rate(row["start"] + number) for number, rate in enumerate(rates))
