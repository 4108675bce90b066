"Building the site as `make docs` does."
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
NBS = ROOT / "nbs"
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # the tests import the modules of docs/


def build(nbs, out):
    "Build pages from a folder of notebooks; returns the finished process."
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-E",
            "-W",
            "-q",
            "-d",
            f"{out}.doctrees",
            "-c",
            str(ROOT / "docs"),
            str(nbs),
            str(out),
        ],
        capture_output=True,
        text=True,
    )
