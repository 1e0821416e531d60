"""`python -m lrpath.prune study=…`: say which states no plan needs, and remove them."""

import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from lrpath import entry
from lrpath.analysis.compare import plans_by_id
from lrpath.analysis.inventory import Inventory, read_inventory, remove_unneeded
from lrpath.analysis.path_names import plan_labels
from lrpath.config.commands import PruneConfig
from lrpath.config.typed import typed_root
from lrpath.errors import BusyError, ConfigError, StateError
from lrpath.records.study import Study
from lrpath.reporting.inventory_text import removal_text


def prune(cfg: DictConfig) -> None:
    """Drop the plans that were named, print what no other plan needs, and remove it if that is wanted."""
    config = typed_root(PruneConfig, cfg)
    study = Study.existing(config.outputs, config.study)
    dropped = _plans(study, (config.drop,) if isinstance(config.drop, int) else config.drop or ())
    inventory = read_inventory(study, without=dropped)
    labels = plan_labels(plans_by_id(study))
    for plan_id in dropped:
        sys.stdout.write(f"without plan {plan_id} ({', '.join(labels[plan_id])}):\n")
    sys.stdout.write(f"{removal_text(inventory)}\n")
    unneeded = any(path.removable or path.incomplete for path in inventory.paths)
    if not (dropped or unneeded) or (config.ask and not _agreed()):
        return
    for plan_id in dropped:
        study.drop_plan(plan_id)
    _remove(inventory)
    study.upload()


def _plans(study: Study, numbers: Sequence[int]) -> list[str]:
    """Return the ids of plans by their numbers."""
    known = dict(enumerate(study.plans(), start=1))
    if odd := [number for number in numbers if number not in known]:
        raise ConfigError(
            f"drop={odd[0]}: study {study.name} has plans 1 to {len(known)}; "
            f"python -m lrpath.show study={study.name} lists them",
            field="drop",
            value=odd[0],
        )
    return [known[number] for number in numbers]


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(
            "nothing was removed, because there is no terminal to ask on; add ask=false to remove what is listed"
        )
    sys.stdout.write("remove it? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _remove(inventory: Inventory) -> None:
    busy = []
    for path in inventory.paths:
        if path.removable or path.incomplete:
            try:
                remove_unneeded(path, study=inventory.study)
            except BusyError as error:
                busy.append(str(error))
    sys.stdout.write("removed\n" if not busy else "")
    if busy:
        raise StateError(f"not all was removed: {busy[0]}")


if __name__ == "__main__":
    entry.run(prune, config_name="prune")
