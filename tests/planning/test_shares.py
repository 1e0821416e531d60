import pytest

from lrpath.errors import ConfigError
from lrpath.planning.paradigms.setting import SHARE
from tests.analysis.studies import LINEAR, plan_of
from tests.planning.strategies import build_merged, build_switching
from tests.refusals import refused


def test_a_share_of_everything_so_far_decays_whatever_the_increments() -> None:
    tree = plan_of(
        80, 10, 10, 80, paradigms={"it": build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=f"{SHARE}0.2")}
    ).tree

    assert [(path.start, tree.end(path.id)) for path in tree.paths[1:]] == [(64, 80), (72, 90), (80, 100), (144, 180)]


def test_a_share_may_stand_beside_alphas() -> None:
    alphas = (0.5, f"{SHARE}0.1")
    tree = plan_of(80, 20, paradigms={"it": build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=alphas)}).tree

    assert [path.start for path in tree.paths[1:]] == [40, 90]


def test_merged_states_span_a_share_of_everything_so_far() -> None:
    tree = plan_of(80, 120, paradigms={"it": build_merged(peak=1.0, warmup=2, states=3, spacing=f"{SHARE}0.1")}).tree

    positions = [[key.position for key, _ in release.parts] for release in tree.releases]
    assert positions == [[72, 76, 80], [180, 190, 200]]


@pytest.mark.parametrize("alpha", [f"{SHARE}0", f"{SHARE}1.5", f"{SHARE}half", "half"])
def test_what_is_neither_a_number_nor_a_share_is_refused(alpha: str) -> None:
    with refused(ConfigError, field="alpha", value=alpha):
        plan_of(80, paradigms={"it": build_switching(peak=1.0, warmup=2, decay=LINEAR, alpha=alpha)})
