import os
from typing import Any

import pytest

from lrpath.errors import ConfigError
from lrpath.training.distributed.hardware import Hardware
from lrpath.training.distributed.process_group import ProcessGroup
from lrpath.training.settings import StrategySettings
from tests.planning.strategies import recipe_with
from tests.refusals import refused

RECIPE = recipe_with(sequences_per_update=12)


SETTINGS = {
    "name": "single",
    "accelerator": "cpu",
    "micro_batch": None,
    "threads": None,
    "recompute": False,
    "compile": False,
    "tf32": True,
    "shard_ranks": None,
    "timeout_minutes": None,
}


def hardware(**settings: Any) -> Hardware:
    return Hardware(strategy=StrategySettings(**(SETTINGS | settings)))


@pytest.mark.parametrize(("micro_batch", "size", "accumulate"), [(None, 12, 1), (12, 12, 1), (4, 4, 3), (1, 1, 12)])
def test_micro_batches_make_up_the_global_batch(micro_batch: int | None, size: int, accumulate: int) -> None:
    one = hardware(micro_batch=micro_batch)

    assert (one.micro_batch_size(RECIPE, position=0), one.accumulation(RECIPE, position=0)) == (size, accumulate)


@pytest.mark.parametrize("micro_batch", [5, 13, 24])
def test_a_micro_batch_that_does_not_divide_the_batch_is_refused_with_those_that_do(micro_batch: int) -> None:
    with refused(ConfigError, field="strategy.micro_batch", value=micro_batch):
        hardware(micro_batch=micro_batch).accumulation(RECIPE, position=0)


@pytest.mark.parametrize(
    ("field", "value"), [("accelerator", "tpu"), ("micro_batch", 0), ("threads", 0), ("threads", 10_000)]
)
def test_hardware_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, field: str, value: Any) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)

    with refused(ConfigError, field=f"strategy.{field}", value=value):
        hardware(**{field: value})


def started(monkeypatch: pytest.MonkeyPatch, *, ranks: int, rank: int = 0, of_node: int | None = None) -> None:
    """Set what torchrun sets."""
    local = ranks if of_node is None else of_node
    values = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank % local, "LOCAL_WORLD_SIZE": local}
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


def several(**settings: Any) -> Hardware:
    return hardware(**({"name": "fsdp"} | settings))


def test_one_process_refuses_to_be_one_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, ranks=2)

    with refused(ConfigError, field="strategy.name", value="single"):
        hardware()


def test_one_process_may_be_started_by_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, ranks=1)

    assert hardware().ranks == several(name="ddp").ranks == 1


@pytest.mark.parametrize("name", ["ddp", "fsdp"])
def test_ranks_that_nobody_started_are_refused_with_the_command_that_does(name: str) -> None:
    with refused(ConfigError, field="strategy.name", value=name):
        several(name=name)


def test_an_environment_that_says_half_of_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")

    with refused(ConfigError):
        ProcessGroup.from_environment()


def test_ranks_and_nodes_are_those_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, ranks=8, rank=5, of_node=4)

    group = ProcessGroup.from_environment()

    assert (group.rank, group.world_size, group.local_rank, group.nodes, group.is_rank_zero) == (5, 8, 1, 2, False)


def test_nodes_of_different_sizes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    started(monkeypatch, ranks=5, of_node=3)

    with refused(ConfigError):
        ProcessGroup.from_environment()


@pytest.mark.parametrize(("ranks", "micro_batch", "size", "accumulate"), [(2, None, 6, 1), (3, 2, 2, 2), (12, 1, 1, 1)])
def test_ranks_share_the_global_batch(
    monkeypatch: pytest.MonkeyPatch, ranks: int, micro_batch: int | None, size: int, accumulate: int
) -> None:
    started(monkeypatch, ranks=ranks)
    shared = several(micro_batch=micro_batch)

    assert (shared.micro_batch_size(RECIPE, position=0), shared.accumulation(RECIPE, position=0)) == (size, accumulate)
    assert ranks * size * accumulate == RECIPE.sequences_per_update


@pytest.mark.parametrize(
    ("ranks", "settings", "field"),
    [
        (5, {}, "batch.sequences_per_update"),
        (2, {"micro_batch": 4}, "strategy.micro_batch"),
        (4, {"shard_ranks": 3}, "strategy.shard_ranks"),
        (4, {"shard_ranks": 0}, "strategy.shard_ranks"),
        (4, {"shard_ranks": "rack"}, "strategy.shard_ranks"),
        (4, {"shard_ranks": 2, "name": "ddp"}, "strategy.shard_ranks"),
        (2, {"timeout_minutes": 0.0}, "strategy.timeout_minutes"),
        (2, {"name": "many"}, "strategy.name"),
    ],
)
def test_impossible_mixes_are_refused_with_what_would_work(
    monkeypatch: pytest.MonkeyPatch, ranks: int, settings: dict[str, Any], field: str
) -> None:
    started(monkeypatch, ranks=ranks)

    with refused(ConfigError, field=field):
        several(**settings).micro_batch_size(RECIPE, position=0)


@pytest.mark.parametrize(("shard_ranks", "expected"), [(None, 8), ("node", 4), (2, 2)])
def test_a_copy_of_the_model_lies_on_all_ranks_or_those_of_a_node_or_as_many_as_are_given(
    monkeypatch: pytest.MonkeyPatch, shard_ranks: Any, expected: int
) -> None:
    started(monkeypatch, ranks=8, of_node=4)

    assert several(shard_ranks=shard_ranks).shard_ranks == expected


def test_one_process_decides_for_itself_and_raises_its_own_errors() -> None:
    alone = ProcessGroup()

    def refuse() -> None:
        raise ConfigError("no")

    assert (alone.on_rank_zero(lambda: 3), alone.gather(lambda: 4), alone.is_rank_zero) == (3, [4], True)
    for call in (alone.on_rank_zero, alone.gather):
        with refused(ConfigError):
            call(refuse)


@pytest.mark.parametrize(("compile", "compiles"), [("auto", False), (False, False), (True, True)])
def test_auto_compiles_on_a_gpu_only(compile: bool | str, *, compiles: bool) -> None:
    assert hardware(compile=compile).compiles is compiles
    assert hardware(compile=compile).kernels == ({"compiled": True} if compiles else {})


def test_compile_takes_no_other_word() -> None:
    with refused(ConfigError, field="strategy.compile", value="always"):
        hardware(compile="always")


def test_what_computes_is_said_in_a_line() -> None:
    line = hardware(threads=1, compile=True).describe(recipe_with(precision="bf16"))

    assert all(word in line for word in ("CPU", "bf16", "compiled")), line
    assert "TF32" not in line


def test_memory_that_a_process_has_used_is_known() -> None:
    assert 1e7 < hardware().most_memory < 1e12
