"""Our cross-entropy against torch.nn.functional.cross_entropy: time and peak memory of forward plus backward.

    python bench/cross_entropy.py            writes bench/results/cross_entropy.json and its table in bench/README.md

Every round times each contender in turn, so that a ratio compares neighbours in time; a ratio is the median
over rounds, with its quartiles. One thread is timed by its own processor time, which other programs disturb
little; several, by the clock on the wall: use --threads on a quiet machine only, because threads that wait
for each other suffer most from company. torch.compile needs a C++ compiler: g++ on Linux, clang++ on macOS."""
import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from table import RESULTS, save
from torch.profiler import ProfilerActivity, profile

from petbreeds.cross_entropy import cross_entropy
from petbreeds.experiments import machine

BEGIN, END = "<!-- cross-entropy -->", "<!-- end of cross-entropy -->"
SHAPES = [(4096, 37), (512, 1000)]
BUDGET = {"eager": 3.0, "compiled": 1.3}


class HandWritten(torch.autograd.Function):
    "Cross-entropy whose gradient, softmax minus one-hot, is written down instead of recorded: no checks, no options."

    @staticmethod
    def forward(ctx, acts, target):
        shifted = acts - acts.amax(1, keepdim=True)
        picked = shifted.gather(1, target[:, None])
        exps = shifted.exp_()
        total = exps.sum(1, keepdim=True)
        ctx.save_for_backward(exps.div_(total), target)
        return (total.log() - picked).mean()

    @staticmethod
    def backward(ctx, gradient):
        probs, target = ctx.saved_tensors
        slope = probs.scatter_add(1, target[:, None], -torch.ones_like(probs[:, :1]))
        return slope * (gradient / len(target)), None


EAGER = {"PyTorch": F.cross_entropy, "petbreeds": cross_entropy, "hand-written gradient": HandWritten.apply}
COMPILED = {"PyTorch": torch.compile(F.cross_entropy), "petbreeds": torch.compile(cross_entropy)}


def step(loss, acts, target):
    "One forward and one backward pass; returns the loss and its gradient."
    acts.grad = None
    value = loss(acts, target)
    value.backward()
    return value.detach(), acts.grad


def seconds(loss, acts, target, number):
    "Mean time of one step over `number` steps."
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    for _ in range(number):
        step(loss, acts, target)
    return (clock() - start) / number


def peak_bytes(loss, acts, target):
    "Most memory that a step holds at once beyond what was there before, from the allocator's own log."
    acts.grad = None
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as log:
        step(loss, acts, target)
    with tempfile.TemporaryDirectory() as folder:
        log.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(f"{folder}/trace.json").read_text())["traceEvents"]
    events = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    return int(max(np.cumsum([event["args"]["Bytes"] for event in events])))


def measure(shape, contenders, rounds, number):
    "One dict for each contender: quartiles of its time in microseconds and of its ratio to PyTorch, peak memory."
    torch.manual_seed(0)
    acts, target = torch.randn(shape, requires_grad=True), torch.randint(0, shape[1], shape[:1])
    expected = step(F.cross_entropy, acts, target)
    for loss in contenders.values():
        torch.testing.assert_close(step(loss, acts, target), expected)
        seconds(loss, acts, target, 30)  # compile, warm up
    times = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, loss in contenders.items():
            times[name].append(seconds(loss, acts, target, number))
    rows = []
    for name, loss in contenders.items():
        ratios = np.divide(times[name], times["PyTorch"])
        rows.append({"loss": name,
                     "microseconds": (np.percentile(times[name], [25, 50, 75]) * 1e6).round(1).tolist(),
                     "time_ratio": np.percentile(ratios, [25, 50, 75]).round(3).tolist(),
                     "peak_bytes": peak_bytes(loss, acts, target)})
    for row in rows:
        row["memory_ratio"] = round(row["peak_bytes"] / rows[0]["peak_bytes"], 3)
    return rows


def section(found):
    "The result as a part of bench/README.md."
    rows = [f"| {tuple(row['shape'])} | {row['mode']} | {row['loss']} | {row['microseconds'][1]:.0f} | "
            "{1:.2f} ({0:.2f} to {2:.2f})".format(*row["time_ratio"]) +
            f" | {row['peak_bytes'] / 1e6:.2f} | {row['memory_ratio']:.2f} |" for row in found["results"]]
    where = ("{date}, {cores} cores of {processor}, load before {load_before}, Python {python}, torch {torch}; "
             "threads: {threads}, {clock}; {dtype}, {rounds} rounds of {steps_a_round} steps.").format(**found)
    return "\n".join(["## Cross-entropy, forward and backward", "", where, "",
                      "| shape | mode | loss | median (us) | time ratio (quartiles) | peak (MB) | memory ratio |",
                      "|---|---|---|---|---|---|---|", *rows, "",
                      f"Budgets of `petbreeds`: time ratio {BUDGET['eager']} eager, {BUDGET['compiled']} compiled. "
                      "Chapter 6 says where the rest goes."])


def write_section(text):
    "Put `text` between the markers in bench/README.md, at its end where there are none."
    readme = Path(__file__).parent / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(before.rstrip() + f"\n\n{BEGIN}\n{text}\n{END}\n" + after.lstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="how often each contender is timed")
    parser.add_argument("--number", type=int, default=3, help="steps in one timing")
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch may use")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    at_start = machine()
    settings = {"threads": args.threads, "clock": "processor time" if args.threads == 1 else "wall clock",
                "dtype": "float32", "rounds": args.rounds, "steps_a_round": args.number, "budget": BUDGET}
    rows = []
    for shape in SHAPES:
        for mode, contenders in (("eager", EAGER), ("compiled", COMPILED)):
            for row in measure(shape, contenders, args.rounds, args.number):
                rows.append({"shape": list(shape), "mode": mode, **row})
    save("cross_entropy", at_start, settings, rows)
    text = section(json.loads((RESULTS / "cross_entropy.json").read_text()))
    write_section(text)
    print(text)


if __name__ == "__main__":
    main()
