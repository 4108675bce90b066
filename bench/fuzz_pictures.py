"""Ten thousand pictures as no camera writes them, through everything that opens pictures.

    python bench/fuzz_pictures.py [--first 0] [--count 10000] [--piece 250] [--dry-run]

Each picture is made from its seed by `tests/odd_pictures.py` and goes through audit, training item, prediction and
report. A thousand at a time run in a process of their own: where it dies, or says nothing for ten minutes,
the seed it was at is noted and the next process begins after it. Whatever is wrong is printed with its seed, and
`--first SEED --count 1` shows it again. Stored in bench/results/fuzz_pictures.json: counts by outcome and by format,
the slowest picture, the most memory.
"""
import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from table import RESULTS

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
SILENCE = 600  # seconds after which a process hangs
NONE = {"kind": "?", "outcome": "none", "seconds": 0, "mb": 0}  # of what cost a process its life


def pictures(first, count):
    "A row for each picture."
    import torch
    from odd_pictures import judged, small_run
    torch.set_num_threads(1)
    run = small_run()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            yield judged(run, folder, seed)


def send(rows, first, count, pipe):
    "In a process of its own."
    for row in rows(first, count):
        pipe.send(row)


def piece(rows, first, count):
    "The rows of some seeds; a process that dies or hangs costs the seed that it was at."
    fork = multiprocessing.get_context("fork")  # with all imports done
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=send, args=(rows, first, count, theirs))
    process.start()
    theirs.close()
    found = []
    wrong = ""
    while len(found) < count and not wrong:
        if not ours.poll(SILENCE):
            wrong = f"hang: {SILENCE} s without a word"
            break
        try:
            found.append(ours.recv())
        except EOFError:
            process.join()
            wrong = f"crash: the process ended with {process.exitcode}"
    process.kill()
    process.join()
    return [*found, {"seed": first + len(found), **NONE, "wrong": wrong}] if wrong else found


def survey(rows, first, count, step=1000):
    "Counts over all seeds, in pieces; what is wrong is printed at once."
    found = []
    start = time.monotonic()
    print(f"seeds {first} to {first + count - 1}", flush=True)
    while len(found) < count:
        at = first + len(found)
        new = piece(rows, at, min(step, first + count - at))
        for row in new:
            if row["wrong"]:
                print(f"seed {row['seed']} ({row['kind']}): {row['wrong']}", flush=True)
        found += new
    counts = {name: dict(Counter(row[name] for row in found).most_common()) for name in ("outcome", "kind")}
    return {"n": len(found), **counts, "wrong": [row for row in found if row["wrong"]],
            "slowest_seconds": max(row["seconds"] for row in found), "most_mb": max(row["mb"] for row in found),
            "minutes": round((time.monotonic() - start) / 60, 1)}


def main(rows, name, count, about):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    from petbreeds.experiments import write_bundle
    results = survey(rows, args.first, args.count)
    print(json.dumps(results, indent=1, ensure_ascii=False))
    if not args.dry_run:
        write_bundle(RESULTS / f"{name}.json", {"first": args.first, "count": args.count}, results)
    return 1 if results["wrong"] else 0


if __name__ == "__main__":
    import odd_pictures  # noqa: F401  once, for all pieces
    sys.exit(main(pictures, "fuzz_pictures", 10_000, __doc__))
