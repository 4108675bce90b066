"""How many pictures a second networks learn from on this machine: `training_speed`, the median of three.

    python bench/training.py [--steps 3]

The networks of the profiles, and resnet34 as the study notes use it. On a processor in 32 bits and in
bfloat16, so that the rule of `fastest_precision` can be checked. Written to bench/results/training.json."""
import argparse
from dataclasses import replace

from fastai.torch_core import default_device
from table import save

from petbreeds.baseline.precision import training_speed
from petbreeds.blocks import PROFILES
from petbreeds.experiments import machine

MEASURED = (PROFILES["paper"], PROFILES["oxford"], replace(PROFILES["oxford"], arch="resnet34"))


def middle(profile, steps):
    "The run whose speed with all layers is the median of three."
    runs = [training_speed(profile, steps=steps) for _ in range(3)]
    return sorted(runs, key=lambda found: found["all layers"])[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3, help="mini-batches of each measurement")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    at_start = machine()
    results = {}
    for profile in MEASURED:
        for precision in ("fp32", "bf16") if default_device().type == "cpu" else ("fp32", "fp16"):
            name = f"{profile.arch}, {profile.size} px, mini-batches of {profile.bs}, {precision}"
            results[name] = middle(replace(profile, precision=precision), args.steps)
            print(name, results[name], flush=True)
    if not args.dry_run:
        save("training", at_start, {}, results)


if __name__ == "__main__":
    main()
