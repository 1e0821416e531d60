"""The public loss curves of the multi-power paper: their schedules, and reading them.

From github.com/thu-yao-01-luo/MultiPowerLaw at 8da9f19 (MIT), folder loss_curve_repo: csv_25, csv_100, csv_400.
"""

from pathlib import Path

from lrpath.laws.curve_files import History, read_csv
from lrpath.laws.curves import Curve
from lrpath.planning.schedule import Piece, Schedule, Shape, constant, ramp, warmup

SIZES = (25, 100, 400)
FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
PREDICTED = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
ALL = FITTED + PREDICTED

PEAK, FLOOR, WARMUP = 3e-4, 3e-5, 2160

LOGGED = {25: (0.9988, 0.00376, 0.00465, 0.00110, 0.00409), 100: (0.9983, 0.00435, 0.00592, 0.00142, 0.00583),
          400: (0.9978, 0.00484, 0.00730, 0.00168, 0.00995)}  # fmt: skip
"""R², MAE, RMSE, mean and worst relative error that the repository's README gives for its own fits."""
PUBLISHED = {
    25: (3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257),
    100: (2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644),
    400: (2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493, 0.63472457),
}
"""Its parameters: L0, A, α, B, C, β, γ."""


def schedule_of(name: str) -> Schedule:
    """Return the schedule that a file's name stands for."""
    kind, *numbers = name.split("_")
    rise = warmup(PEAK, updates=WARMUP)
    if kind == "constant":
        return Schedule(pieces=(*rise, constant(PEAK)))
    if kind == "cosine":
        return Schedule(
            pieces=(*rise, Piece(shape=Shape.COSINE, updates=int(numbers[0]) - WARMUP, first=PEAK, last=FLOOR))
        )
    if kind == "wsdcon":
        return Schedule(pieces=(*rise, constant(PEAK, updates=8000 - WARMUP), constant(int(numbers[0]) * 1e-5)))
    begin, end = map(int, numbers)
    decay = ramp(PEAK, FLOOR, updates=end - begin)
    if kind == "wsd":
        decay = Piece(shape=Shape.EXPONENTIAL, updates=end - begin, first=PEAK, last=FLOOR)
    return Schedule(pieces=(*rise, constant(PEAK, updates=begin - WARMUP), decay))


def read(folder: Path, size: int) -> dict[str, Curve]:
    """Return the nine curves of a size [million parameters] by name."""
    return {
        name: read_csv(folder / f"csv_{size}" / f"{name}.csv", history=History(schedule=schedule_of(name)))
        for name in ALL
    }
