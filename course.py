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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent
NBS, OUT = ROOT / "nbs", ROOT / "_course"
BIN = Path(sys.executable).parent  # the commands of this environment
RUN = OUT / "run"  # what training writes: model, metrics, report
AT_ONCE = min(2, os.cpu_count() or 1)  # chapters; each has its share of the cores

# All notebooks, in the order in which they may import one another: each only what stands above it. A new one is
# added here. A name with a folder is a room; a chapter stands after the rooms that it imports and before those that
# import it.
HOUSE = """
    ground/files ground/pictures ground/intervals ground/figures
    paperpets/noise paperpets/shapes paperpets/light paperpets/breeds paperpets/coat paperpets/pose paperpets/head
    paperpets/profile paperpets/body paperpets/scene paperpets/sheets paperpets/dataset paperpets/imaginary 00_paperpets
    ground/networks ground/checkpoint ground/experiments
    papernet/pretraining 00a_papernet
    layout/lists layout/folders layout/sources layout/archive layout/auditing 01_layout
    02_presizing
    blocks/profiles blocks/diagnosis 03_datablock
    baseline/precision 04_baseline
    05_softmax 06_cross_entropy
    interpretation/results interpretation/attention interpretation/laboratory 07_interpretation
    lr_finder/restoring 08_lr_finder
    transfer/views transfer/features 09_transfer transfer/folds
    shipping/runs shipping/pages shipping/prediction shipping/training 14_shipping
    cli/terminal cli/doctor cli/commands 20_cli
    glossary index
""".split()


def is_chapter(name: str) -> bool:
    """Whether a notebook of HOUSE is a chapter, which a reader reads and the runner executes: its name begins with a
    number."""
    return name[:2].isdigit()


def is_room(name: str) -> bool:
    "Whether a notebook of HOUSE is a room: a notebook in a folder below nbs/."
    return "/" in name


def on_disk() -> set[str]:
    "The names of all notebooks below nbs/."
    found = (nb.relative_to(NBS).with_suffix("") for nb in NBS.rglob("*.ipynb"))
    return {name.as_posix() for name in found if not any(part.startswith(".") for part in name.parts)}


def house_faults() -> list[str]:
    "One line for each notebook that HOUSE lacks, and for each of HOUSE that is not there."
    there = on_disk()
    lacking = [
        f"nbs/{name}.ipynb is not in HOUSE in course.py; add it after what it imports"
        for name in sorted(there - {*HOUSE})
    ]
    gone = [
        f"nbs/{name}.ipynb is in HOUSE in course.py, but there is no such notebook"
        for name in HOUSE
        if name not in there
    ]
    return lacking + gone


def module_of(name: str) -> str:
    """The module that a notebook exports, `layout.sources` or `layout.__init__`; '' where it exports none or is not
    there."""
    file = NBS / f"{name}.ipynb"
    found = file.exists() and re.search(r"^#\|\s*default_exp\s+([\w.]+)", source_of(file, "code"), re.M)
    return found[1] if found else ""


def source_of(nb, kind):
    "The code or the prose ('markdown') of a notebook, without outputs."
    return "\n".join(c.source for c in nbformat.read(nb, 4).cells if c.cell_type == kind)


def keys():
    """A fingerprint for each notebook of HOUSE of all it can depend on: itself, the code it can import, versions,
    weights, data, and the measurements that it or the code above it shows."""
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    for weights in sorted((ROOT / "petbreeds" / "weights").glob("*.safetensors")):
        digest.update(weights.read_bytes())
    digest.update(os.environ.get("PETBREEDS_DATA", "paper").encode())
    found = {}
    for name in HOUSE:
        nb = NBS / f"{name}.ipynb"
        code = source_of(nb, "code")
        digest.update(code.encode())
        for shown in filter(Path.is_file, map(ROOT.joinpath, re.findall(r"bench/results/[\w.]+", code))):
            digest.update(shown.read_bytes())
        own = digest.copy()
        own.update(source_of(nb, "markdown").encode())
        found[name] = own.hexdigest()
    return found


def execute(nb, dest, threads=None):
    """Run a notebook in its own folder, with so many threads unless the environment says how many, and write it with
    its outputs to `dest`; raises at the first failing cell."""
    book = nbformat.read(nb, 4)
    env = {**os.environ, "TQDM_DISABLE": "1"}  # outputs that are stored hold no bars
    if threads:
        env.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        NotebookClient(book, timeout=1800, kernel_name="python3", record_timing=False,
                       extra_arguments=["--log-level=ERROR"],
                       resources={"metadata": {"path": str(nb.parent)}}).execute(env=env)
    finally:
        dest.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(book, dest)


def train_command():
    "What the reader's own `petbreeds train` does, into the course's folder."
    return [str(BIN / "petbreeds"), "train", "--out", str(RUN), "--overwrite"]


class State:
    "The fingerprint with which each step was last done, kept in a file."
    def __init__(self, file: Path):
        self.file = file
        self.done = json.loads(file.read_text()) if file.exists() else {}

    def is_done(self, step: str, key: str, result: Path) -> bool:
        return self.done.get(step) == key and result.exists()

    def remember(self, step: str, key: str):
        self.done[step] = key
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(self.done, indent=1))


def run_chapter(name) -> float:
    "Execute a chapter on its share of the cores; returns how many seconds that took."
    start = time.time()
    execute(NBS / f"{name}.ipynb", OUT / f"{name}.ipynb", threads=(os.cpu_count() or 1) // AT_ONCE)
    return time.time() - start


def run_chapters(chapters, wanted, state) -> bool:
    "Execute the chapters that changed since the last time, some at once; False where a cell fails."
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        running = {name: pool.submit(run_chapter, name) for name in chapters
                   if not state.is_done(name, wanted[name], OUT / f"{name}.ipynb")}
        for i, name in enumerate(chapters, 1):
            print(f"[{i:2}/{len(chapters) + 1}] {name:24}", end="", flush=True)
            said = "unchanged"
            if name in running:
                said = f"{running[name].result():4.0f} s"
                state.remember(name, wanted[name])
            print(said, flush=True)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
        print(f"failed\n{e}\nThe chapter as far as it came: {(OUT / f'{name}.ipynb').relative_to(ROOT)}")
        return False
    except KeyboardInterrupt:
        print("stopped", flush=True)
        os._exit(130)  # without waiting for the chapters that run: their kernels end with this process
    finally:
        pool.shutdown(cancel_futures=True)
    return True


def run_training(key, state) -> bool:
    "Train as a reader would unless nothing changed; False where that fails."
    if state.is_done("train", key, RUN / "report.html"):
        print("unchanged", flush=True)
        return True
    print(flush=True)
    state.remember("train", "begun")
    if subprocess.run(train_command()).returncode:
        return False
    state.remember("train", key)
    return True


def run_all():
    "Execute the chapters that changed since the last time, then train; returns the exit status."
    if faults := house_faults():
        print("\n".join(faults), file=sys.stderr)
        return 1
    wanted, state, start = keys(), State(OUT / "state.json"), time.time()
    chapters = [name for name in HOUSE if is_chapter(name)]
    steps = len(chapters) + 1
    if not run_chapters(chapters, wanted, state):
        return 1
    print(f"[{steps:2}/{steps}] {'train':24}", end="", flush=True)
    if not run_training(wanted[chapters[-1]], state):
        return 1
    metrics = json.loads((RUN / "run.json").read_text())["metrics"]
    print(
        f"\nerror rate {metrics['error_rate']:.3f} on {metrics['n']} test pictures; "
        f"{time.time() - start:.0f} s in all\n"
        f"report            {(RUN / 'report.html').relative_to(ROOT)}\n"
        f"executed chapters {OUT.relative_to(ROOT)}/"
    )
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
