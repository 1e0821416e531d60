import subprocess
import sys

HEAVY = {"torch", "numpy", "scipy", "lightning", "transformers", "hydra", "omegaconf", "yaml", "rich", "matplotlib"}


def test_planning_imports_only_the_standard_library() -> None:
    code = "import lrpath.planning.paradigms, lrpath.planning.plan, sys; print(*sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    roots = {name.partition(".")[0] for name in found.stdout.split()}
    assert roots & HEAVY == set()
    assert not {root for root in roots - sys.stdlib_module_names if not root.startswith(("_", "sitecustomize"))} - {
        "lrpath"
    }


def test_records_need_no_torch() -> None:
    code = "import lrpath.records, sys; print(*sys.modules)"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {name.partition(".")[0] for name in found.stdout.split()} & HEAVY == set()
