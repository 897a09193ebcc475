"""Steps and pipelines as type checkers see them: handles where values are wanted, precise handles as results."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = ["tests/typing/good.py", "tests/typing/bad.py"]
EXAMPLES = [f"examples/{name}.py" for name in ("article", "pipeline_three", "assistant", "pipeline_stages")]
MARKED = {
    ("bad.py", number)
    for number, line in enumerate((HERE / "bad.py").read_text("utf-8").splitlines(), 1)
    if "# error" in line
}


def checked(*command):
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


def test_mypy_accepts_what_is_right_and_nothing_else():
    """Strict; every line that is marked is an error, and no other one."""
    done = checked("mypy", "--no-error-summary", *FILES)  # strict by the project's own settings
    found = set()
    for line in done.stdout.splitlines():
        path, number, kind, _ = line.split(":", 3)
        if kind == " error" and path.startswith("tests/typing/"):
            found.add((Path(path).name, int(number)))
    assert found == MARKED, done.stdout


def test_mypy_accepts_the_examples():
    """Strict: pipelines that return handles say so, and those who run them get values."""
    done = checked("mypy", *EXAMPLES)
    assert not done.returncode, done.stdout


@pytest.mark.skipif(find_spec("basedpyright") is None, reason="basedpyright is not installed; it is in the extra `dev`")
def test_pyright_accepts_what_is_right_and_nothing_else(tmp_path):
    """Likewise."""
    config = tmp_path / "pyrightconfig.json"
    config.write_text(
        json.dumps(
            {
                "include": [str(ROOT / file) for file in FILES],
                "typeCheckingMode": "strict",
                "extraPaths": [str(ROOT / "src")],
            }
        )
    )
    done = checked("basedpyright", "-p", str(config), "--pythonpath", sys.executable, "--outputjson")
    found = {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1)
        for one in json.loads(done.stdout)["generalDiagnostics"]
        if one["severity"] == "error"
    }
    assert found == MARKED
