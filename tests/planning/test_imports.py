import subprocess
import sys

import pytest

NEW_MODULES = "import sys; before = set(sys.modules); import {}; print(*set(sys.modules) - before)"


@pytest.mark.parametrize("modules", ["lrpath.planning.paradigms, lrpath.planning.plan", "lrpath.records"])
def test_planning_and_records_import_only_the_standard_library(modules: str) -> None:
    command = [sys.executable, "-c", NEW_MODULES.format(modules)]

    found = subprocess.run(command, capture_output=True, text=True, check=True)

    roots = {name.partition(".")[0] for name in found.stdout.split()}
    assert roots - sys.stdlib_module_names == {"lrpath"}
    assert not roots & {"torch", "numpy", "hydra", "omegaconf"}
