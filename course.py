"""Runs the chapters of the course.

    python course.py                          execute every chapter into _course/, then train; only what changed
    python course.py --store nbs/01_layout.ipynb ...   execute in place: renew the outputs that a notebook stores
"""
import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent
NBS, OUT = ROOT / "nbs", ROOT / "_course"
BIN = Path(sys.executable).parent  # the commands of this environment
RUN = OUT / "run"  # what training writes: model, metrics, report
# The notebooks of nbs/paperpets/ in reading order: each imports only those before it.
PAPERPETS = ["noise", "shapes", "light", "breeds", "coat", "pose", "head", "profile", "body", "scene", "sheets", "dataset", "imaginary"]


def chapters():
    "Notebooks in reading order: the drawing of PaperPets first, because every chapter uses it."
    own = sorted(NBS.glob("paperpets/*.ipynb"), key=lambda nb: PAPERPETS.index(nb.stem))
    return own + sorted(nb for nb in NBS.glob("*.ipynb") if nb.stem[:2].isdigit())


def source_of(nb, kind):
    "The code or the prose ('markdown') of a notebook, without outputs."
    return "\n".join(c.source for c in nbformat.read(nb, 4).cells if c.cell_type == kind)


def keys(nbs):
    "A fingerprint for each notebook of all it can depend on: itself, the code before it, versions, weights, data, measurements."
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    digest.update((ROOT / "petbreeds" / "weights" / "papernet.safetensors").read_bytes())
    digest.update(os.environ.get("PETBREEDS_DATA", "paper").encode())
    found = {}
    for nb in nbs:
        code = source_of(nb, "code")
        digest.update(code.encode())
        for shown in filter(Path.is_file, map(ROOT.joinpath, re.findall(r"bench/results/[\w.]+", code))):
            digest.update(shown.read_bytes())
        own = digest.copy()
        own.update(source_of(nb, "markdown").encode())
        found[nb] = own.hexdigest()
    return found


def execute(nb, dest):
    "Run a notebook in its own folder and write it with its outputs to `dest`; raises at the first failing cell."
    book = nbformat.read(nb, 4)
    try:
        NotebookClient(book, timeout=1800, kernel_name="python3", record_timing=False,
                       extra_arguments=["--log-level=ERROR"],
                       resources={"metadata": {"path": str(nb.parent)}}).execute()
    finally:
        dest.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, dest)


def train_command():
    "What the reader's own `petbreeds train` does, into the course's folder."
    return [str(BIN / "petbreeds"), "train", "--out", str(RUN), "--overwrite"]


def run_all():
    "Execute what changed since the last time, then train; returns the exit status."
    nbs, state_file = chapters(), OUT / "state.json"
    done = json.loads(state_file.read_text()) if state_file.exists() else {}
    wanted, steps = keys(nbs), len(nbs) + 1
    start = time.time()

    def remember(name, key):
        done[name] = key
        state_file.write_text(json.dumps(done, indent=1))

    for i, nb in enumerate(nbs, 1):
        name = str(nb.relative_to(NBS).with_suffix(""))
        print(f"[{i:2}/{steps}] {name:24}", end="", flush=True)
        dest, t = OUT / f"{name}.ipynb", time.time()
        if done.get(name) == wanted[nb] and dest.exists():
            print("unchanged", flush=True)
            continue
        try:
            execute(nb, dest)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
            print(f"failed\n{e}\nThe chapter as far as it came: {dest.relative_to(ROOT)}")
            return 1
        remember(name, wanted[nb])
        print(f"{time.time() - t:4.0f} s", flush=True)
    print(f"[{steps:2}/{steps}] {'train':24}", end="", flush=True)
    last = wanted[nbs[-1]]
    if done.get("train") == last and (RUN / "report.html").exists():
        print("unchanged", flush=True)
    else:
        print(flush=True)
        done.pop("train", None)
        if subprocess.run(train_command()).returncode:
            return 1
        remember("train", last)
    metrics = json.loads((RUN / "run.json").read_text())["metrics"]
    print(f"\nerror rate {metrics['error_rate']:.3f} on {metrics['n_valid']} validation pictures; "
          f"{time.time() - start:.0f} s in all\nreport            {(RUN / 'report.html').relative_to(ROOT)}\n"
          f"executed chapters {OUT.relative_to(ROOT)}/")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", nargs="+", type=Path, metavar="NOTEBOOK", help="execute these in place")
    args = parser.parse_args()
    if not args.store:
        sys.exit(run_all())
    for nb in args.store:
        execute(nb.resolve(), nb.resolve())
        subprocess.run([BIN / "nbdev_clean", "--fname", str(nb)], check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
