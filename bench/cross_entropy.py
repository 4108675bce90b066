"""Our cross-entropy against torch.nn.functional.cross_entropy: time and peak memory of forward plus backward.

    python bench/cross_entropy.py            writes bench/results/cross_entropy.json, prints it as a table

Every round times each contender in turn, so that a ratio compares neighbours in time; a ratio is the median over rounds, with its quartiles.
"""
import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from petbreeds.cross_entropy import cross_entropy

RESULTS = Path(__file__).parent / "results" / "cross_entropy.json"
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
    start = time.perf_counter()
    for _ in range(number):
        step(loss, acts, target)
    return (time.perf_counter() - start) / number


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
    for name, loss in contenders.items():
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


def conditions(rounds, number):
    "What the numbers depend on."
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    return {"cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__,
            "python": platform.python_version(), "date": time.strftime("%Y-%m-%d"), "dtype": "float32",
            "rounds": rounds, "steps_a_round": number, "load_before": round(os.getloadavg()[0], 2)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200, help="how often each contender is timed")
    parser.add_argument("--number", type=int, default=3, help="steps in one timing")
    args = parser.parse_args()
    found = {"conditions": conditions(args.rounds, args.number), "budget": BUDGET, "rows": []}
    for shape in SHAPES:
        for mode, contenders in (("eager", EAGER), ("compiled", COMPILED)):
            for row in measure(shape, contenders, args.rounds, args.number):
                found["rows"].append({"shape": list(shape), "mode": mode, **row})
                print(f"{str(shape):12} {mode:9} {row['loss']:22} {row['microseconds'][1]:8.1f} us   "
                      f"time x{row['time_ratio'][1]:.2f} ({row['time_ratio'][0]:.2f} to {row['time_ratio'][2]:.2f})   "
                      f"memory x{row['memory_ratio']:.2f}")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
