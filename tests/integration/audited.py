"""Loads everything that a study holds under an audit hook and prints what was unpickled or executed.

python audited.py <study> <store>
"""

import json
import pickle
import sys
from collections import OrderedDict
from pathlib import Path

import torch

from lrpath.data.store import TokenStore
from lrpath.data.tokenizer import read_tokenizer
from lrpath.planning import plan as plans
from lrpath.planning.paths import StateKey
from lrpath.records.study import Study
from lrpath.training.checkpoints.loading import load_state
from lrpath.training.checkpoints.releases import load_release
from lrpath.training.optimizers import build_optimizer

EVENTS = {"pickle.find_class", "exec", "compile", "os.system", "subprocess.Popen", "marshal.loads", "import"}
seen: list[str] = []
listening = False


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if listening and event in EVENTS:
        seen.append(f"{event} {arguments!r:.200}")


def load_everything(study: Study, store_folder: Path, increments: dict[str, str]) -> None:
    store = TokenStore.open(store_folder, increments=increments)
    for version in store.versions:
        store.check(version, contents=True)
        store.gather(version, [0, 1], 16)
        store.heldout(version)
    assert store.tokenizer_file is not None
    read_tokenizer(store.tokenizer_file).encode("path rate main")
    for record in study.plans().values():
        plan = plans.from_record(record)
        for release in plan.tree.releases:
            model = load_release(study, release)
            optimizer = build_optimizer(model.parameters(), settings=plan.tree.paths[0].recipe.optimizer)
            folder = study.find(release.last.path_id)
            assert folder is not None
            key = StateKey(release.last.path_id, release.last.position)
            load_state(folder.state(key.position), key=key, module=model, optimizer=optimizer)


if __name__ == "__main__":
    torch.set_num_threads(1)
    study, store, increments = Study(Path(sys.argv[1])), Path(sys.argv[2]), json.loads(sys.argv[3])
    sys.addaudithook(hook)
    load_everything(study, store, increments)  # once before, so that lazy imports are done
    listening = True
    load_everything(study, store, increments)
    listening = False
    while_loading, seen = seen, []
    listening = True
    pickle.loads(pickle.dumps(OrderedDict(control=1)))
    listening = False
    sys.stdout.write(json.dumps({"while_loading": while_loading, "control": seen}) + "\n")
