"""Costs: hand-worked FLOPs, sums, sizes on disk, hours and memory."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from lrpath.errors import ConfigError
from lrpath.planning.cost import (
    DEVICES,
    device_hours,
    flops_per_token,
    memory_per_rank,
    state_bytes,
    wall_hours,
)
from lrpath.planning.optimizers import AveragedAdamW
from lrpath.planning.shape import ModelShape
from tests.planning.strategies import ADAMW, SIZES, shape_of_file
from tests.refusals import refused

SMALL = ModelShape(family="llama", vocab_size=10, hidden_size=8, layers=3, heads=2, ffn_size=5, context=16, **SIZES)
BIG = ModelShape(
    family="llama", vocab_size=32_000, hidden_size=2048, layers=24, heads=16, ffn_size=5504, context=2048, **SIZES
)


@pytest.fixture
def unknown(tmp_path: Path) -> ModelShape:
    content = {"vocab_size": 9, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 32}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    return shape_of_file(path)


def test_flops_of_a_token_are_those_worked_by_hand() -> None:
    # Matrices: 3 · 376 + 80 = 1,208; attention: 4 · 16 · 8 · 3 = 1,536.
    assert flops_per_token(SMALL, sequence_length=16) == 3 * (2 * 1_208 + 1_536)


def test_flops_are_nearly_six_times_the_parameters_of_a_big_model_on_short_windows() -> None:
    # Norms and the embedding are not multiplied with, attention over 1 token is nearly nothing.
    ratio = flops_per_token(BIG, sequence_length=1) / (6 * BIG.non_embedding_parameters + 6 * 32_000 * 2048)

    assert ratio == pytest.approx(1, abs=2e-4)


def test_flops_and_sizes_of_an_unknown_model_are_refused_with_advice(unknown: ModelShape) -> None:
    with refused(ConfigError):
        flops_per_token(unknown, sequence_length=8)
    with refused(ConfigError):
        state_bytes(unknown, optimizer=ADAMW)
    with refused(ConfigError):
        memory_per_rank(unknown, strategy="single", ranks=1, micro_batch=1, sequence_length=8, optimizer=ADAMW)


def test_an_empty_window_is_refused() -> None:
    with refused(ConfigError):
        flops_per_token(SMALL, sequence_length=0)


def test_a_state_is_the_weights_and_what_the_optimizer_keeps() -> None:
    average = AveragedAdamW(**asdict(ADAMW), power=9.0)

    assert state_bytes(BIG, optimizer=ADAMW) == pytest.approx(12 * 1_345_423_360, rel=2e-5)
    assert state_bytes(BIG, optimizer=average) == pytest.approx(16 * 1_345_423_360, rel=2e-5)


def test_one_device_hour_at_full_peak_is_its_peak_times_3600_seconds() -> None:
    for name, device in DEVICES.items():
        assert device_hours(int(device.peak_flops) * 3600, device=name, mfu=1.0) == pytest.approx(1.0)


def test_wall_hours_shrink_with_the_devices_and_device_hours_do_not() -> None:
    flops = 10**21

    assert device_hours(flops, device="H200", mfu=0.4) == pytest.approx(10**21 / (0.4 * 989e12 * 3600))
    assert wall_hours(flops, device="H200", mfu=0.4, count=8) == device_hours(flops, device="H200", mfu=0.4) / 8


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "H900"},
        {"mfu": 0.0},
        {"mfu": 1.5},
        {"count": 0},
    ],
)
def test_hours_of_impossible_hardware_are_refused(changes: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"device": "A100", "mfu": 0.5, "count": 1}

    with refused(ConfigError):
        wall_hours(1, **(settings | changes))


def test_fsdp_cuts_the_states_of_the_model_into_ranks() -> None:
    settings: dict[str, Any] = {"micro_batch": 8, "sequence_length": 2048, "optimizer": ADAMW}
    whole = memory_per_rank(BIG, strategy="ddp", ranks=8, **settings)
    cut = memory_per_rank(BIG, strategy="fsdp", ranks=8, **settings)

    assert (whole.parameters, whole.gradients, whole.optimizer) == (
        4 * BIG.parameters,
        4 * BIG.parameters,
        8 * BIG.parameters,
    )
    assert cut.parameters + cut.gradients + cut.optimizer == 16 * BIG.parameters // 8
    assert cut.activations == whole.activations
    assert cut.total < whole.total


def test_memory_adds_up_and_checkpointing_keeps_less() -> None:
    settings: dict[str, Any] = {"strategy": "single", "ranks": 1, "micro_batch": 4, "sequence_length": 2048}
    settings["optimizer"] = ADAMW
    kept = memory_per_rank(BIG, **settings)
    recomputed = memory_per_rank(BIG, activation_checkpointing=True, **settings)

    assert kept.total == kept.parameters + kept.gradients + kept.optimizer + kept.buffers + kept.activations
    assert recomputed.activations < kept.activations / 5


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "zero"},
        {"compute": "fp8"},
        {"ranks": 0},
        {"micro_batch": 0},
        {"ranks": 2},
    ],
)
def test_memory_of_an_impossible_run_is_refused(changes: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"strategy": "single", "ranks": 1, "micro_batch": 1, "sequence_length": 16}
    settings["optimizer"] = ADAMW
    with refused(ConfigError):
        memory_per_rank(SMALL, **(settings | changes))


def test_a_plan_reaches_the_cost_without_torch() -> None:
    code = "import sys, lrpath.planning.cost; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
