"""Commands that are killed at random moments, and disks that fill: is what was finished still there afterwards?

    python bench/kills.py [--kills 100] [--disks 40] [--minutes M] [--seed 0] [--dry-run]

`tests/killing.py` says what is run and what must hold. Each command runs undisturbed once, to know how long it takes
and what it leaves. Then it is killed (SIGKILL, with its workers) after a random share of that time, started again, and
its result compared byte by byte; and its disk fills: half of the times no file can grow beyond a random size
(RLIMIT_FSIZE), half of the times it works on a small memory disk of a random size, where root can mount one. Stored in
bench/results/kills.json: for each command how often what happened, and how many accidents there were in all.
"""
import argparse
import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from table import RESULTS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
PAGE = 4096  # bytes; a memory disk has no smaller pieces
OWN_MOUNTS = 0x20000  # CLONE_NEWNS: what is mounted here is seen by this process and its children only


def may_mount():
    "Whether memory disks can be mounted, unseen by others."
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or ctypes.CDLL(None).unshare(OWN_MOUNTS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True).returncode == 0


def on_small_disk(trial, folder, size):
    "Run a command on a memory disk of `size` bytes more than it begins with, then give it room."
    import killing
    if not killing.small_disk(folder, 2**30):
        return "no disk", ""
    try:
        trial.prepare(folder)
        most = shutil.disk_usage(folder).used + size // PAGE * PAGE + PAGE
        subprocess.run(["mount", "-o", f"remount,size={most}", folder], check=True)
        process = killing.start(trial.work(folder), folder)

        def more_room():
            subprocess.run(["mount", "-o", f"remount,size={2**30}", folder], check=True)
        return killing.after_full_disk(trial, folder, process, more_room)
    finally:
        subprocess.run(["umount", "-l", folder], capture_output=True)


def accident(trial, folder, small, killing_it, rng):
    "Kill a command or fill its disk, at random: what was done, what happened, what was wrong or ''."
    import killing
    if killing_it:
        share = rng.random()
        return f"killed at {share:.0%}", *killing.killed(trial, folder, share * trial.seconds)
    size = int(trial.size * rng.random())
    what = f"disk of {size} bytes" if small else f"no file above {size} bytes"
    outcome, fault = (on_small_disk if small else killing.filled)(trial, folder, size)
    return what, f"{'disk' if small else 'limit'}: {outcome}", fault


def planned(trials, kills, disks, rng):
    "Triples of a trial, whether it is killed, and a number, in an order that does any number of them fairly."
    turns = [(trials[number % len(trials)], number < kills, number) for number in range(kills + disks)]
    rng.shuffle(turns)
    return turns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in all, over six commands")
    parser.add_argument("--disks", type=int, default=40, help="that fill, in all")
    parser.add_argument("--minutes", type=float, default=600, help="after which no other one is begun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    mounts = may_mount()
    import killing

    from petbreeds.experiments import write_bundle
    rng = random.Random(args.seed)
    results, done, begun = {}, Counter(), time.monotonic()
    print(f"seed {args.seed}, memory disks: {mounts}", flush=True)
    with tempfile.TemporaryDirectory() as parent:
        made = killing.Trials(parent)
        with made.downloading() as download:
            trials = [*made.all(), download]
            for trial in trials:
                trial.measure(parent)
                print(f"{trial.name}: {trial.seconds:.1f} s undisturbed, {trial.size} bytes", flush=True)
                results[trial.name] = {"undisturbed_seconds": round(trial.seconds, 1), "outcomes": {}, "wrong": []}
            for trial, killing_it, number in planned(trials, args.kills, args.disks, rng):
                if time.monotonic() - begun > 60 * args.minutes:
                    break
                folder = Path(parent) / f"{trial.name}-{number}"
                small = mounts and number // len(trials) % 2 == 1
                what, outcome, fault = accident(trial, folder, small, killing_it, rng)
                shutil.rmtree(folder, ignore_errors=True)
                done["kills" if killing_it else "disks"] += 1
                row = results[trial.name]
                row["outcomes"][outcome] = row["outcomes"].get(outcome, 0) + 1
                if fault:
                    row["wrong"].append(f"{what}: {fault}")
                    print(f"{trial.name}, {what}: {fault}", flush=True)
    results["minutes"] = round((time.monotonic() - begun) / 60, 1)
    print(json.dumps(results, indent=1))
    if not args.dry_run:
        write_bundle(RESULTS / "kills.json", {"kills": done["kills"], "disks": done["disks"], "mounts": mounts},
                     results, [args.seed])
    return 1 if any(trial["wrong"] for trial in results.values() if isinstance(trial, dict)) else 0


if __name__ == "__main__":
    sys.exit(main())
