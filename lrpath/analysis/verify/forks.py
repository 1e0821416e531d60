"""Compares both sides of every fork: rate, recipe and data, with what the branch's paradigm says about them.

    path_switching, infinite       the branch goes on at its parent's rate; a stair may begin with a step down
    continual, restart=constant    so does the next version
    continual, restart=reset       the next version begins at the peak again; restart=rewarm: from 0
    wsd_s                          the next version holds the peak again

The data go on where the parent's stand, but for `anchor: start`, where a branch reads its increment a second time. What
ran at either side is the business of the other checks: every row's rate, and every state's reading.
"""

from dataclasses import asdict, dataclass

from lrpath.analysis.verify.finding import Check, Finding
from lrpath.analysis.verify.study_index import StudyIndex
from lrpath.planning.lineage import differences
from lrpath.planning.paths import Path
from lrpath.planning.schedule import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the paradigms of a branch say about its fork.

    Args:
        kinds: Their kinds.
        rate_goes_on: Whether the rate is continuous.
        data_go_on: Whether the branch reads on where its parent stands.
    """

    kinds: tuple[str, ...]
    rate_goes_on: bool
    data_go_on: bool


def expectations(index: StudyIndex) -> dict[str, Expected]:
    """Return what is expected of every branch, by path id."""
    found: dict[str, Expected] = {}
    for plan in index.plans:
        for label, paradigm in plan.paradigms.items():
            for path in plan.part(label).paths:
                other = found.get(path.id, Expected(kinds=(), rate_goes_on=False, data_go_on=False))
                found[path.id] = Expected(
                    kinds=tuple(sorted({*other.kinds, paradigm.kind})),
                    rate_goes_on=other.rate_goes_on or paradigm.rate_continues,
                    data_go_on=other.data_go_on or paradigm.data_continues,
                )
    return found


def verify_forks(index: StudyIndex) -> Check:
    """Compare rate, recipe and data on both sides of every fork."""
    expected = expectations(index)
    branches = [path for path in index.tree.paths if path.parent is not None]
    findings = [
        Finding(path=path.name, position=path.start, text=f"{path.name} leaves at {path.start:,}: {problem}")
        for path in branches
        for problem in _problems(index, path, expected[path.id])
    ]
    return Check(
        name="forks",
        claim="branches have their parents' recipe (weight decay too), and the rate and data that their paradigms say",
        count=len(branches),
        findings=tuple(findings),
        details=tuple(_detail(index, path, expected[path.id]) for path in branches),
    )


def _detail(index: StudyIndex, path: Path, expected: Expected) -> str:
    assert path.parent is not None
    before, first = index.tree.rate(path.parent.path_id, path.start - 1), path.schedule.rate(path.start)
    rate = "the curve goes on" if rate_goes_on(index, path) else "a curve of its own"
    data = "reads on" if data_go_on(index, path) else "reads again"
    parent = index.tree.path(path.parent.path_id).name
    kinds = ", ".join(expected.kinds)
    return f"{path.name} leaves {parent} at {path.start:,}: rate {before:.4g} → {first:.4g}, {rate}; {data} ({kinds})"


def _problems(index: StudyIndex, path: Path, expected: Expected) -> list[str]:
    assert path.parent is not None
    parent, fork = index.tree.path(path.parent.path_id), path.start
    kinds, found = ", ".join(expected.kinds), []
    lines = differences(asdict(parent.recipe), asdict(path.recipe))
    if lines:
        found.append(f"its recipe is not its parent's ({'; '.join(lines)}); plan it again as a path of its own")
    if expected.rate_goes_on and not rate_goes_on(index, path):
        found.append(
            f"its parent's last rate there is {parent.schedule.rate(fork - 1)!r}, its own curve begins at "
            f"{path.schedule.pieces[0].first!r}, but {kinds} goes on at its parent's; plan it again"
        )
    if expected.data_go_on and not data_go_on(index, path):
        found.append(f"it does not read on where {parent.name} stands, but {kinds} does; plan it again")
    return found


def rate_goes_on(index: StudyIndex, path: Path) -> bool:
    """Say whether a branch's curve begins at the rate of its parent's last update, or steps down from it."""
    assert path.parent is not None
    begin, before = path.schedule.pieces[0], index.tree.rate(path.parent.path_id, path.start - 1)
    return begin.first == before or (begin.shape is Shape.CONSTANT and begin.first < before)


def data_go_on(index: StudyIndex, path: Path) -> bool:
    """Say whether a branch's stream is, up to the fork, the one that its parent has read."""
    assert path.parent is not None
    parent = index.tree.path(path.parent.path_id)
    begin = max(path.stream.start, parent.start)
    return begin < path.start and path.stream.spans(begin, path.start) == parent.stream.spans(begin, path.start)
