"""The documentation's site is built without a warning, so no link of it leads nowhere."""

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_site_is_built_without_warnings_and_has_every_page(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    build = ["mkdocs", "build", "--strict", "--quiet", "--config-file", "docs/mkdocs.yml", "--site-dir", str(tmp_path)]
    command = [sys.executable, "-m", *build]

    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (TOP / "docs").glob("*.md")}
    assert pages <= {page.parent.name for page in tmp_path.glob("*/index.html")}
    settings = (tmp_path / "reference" / "configuration" / "index.html").read_text()
    assert all(
        f"<code>{field}</code>" in settings.replace("<wbr>", "")
        for field in ("alpha", "peak", "cadence.keep", "guard.policy")
    )
