"""How many pictures a second the profiles' networks learn from on this machine: `training_speed`, the median of three.

On a processor in 32 bits and in bfloat16, so that the rule of `fastest_precision` can be checked."""
from dataclasses import replace

import torch
from fastai.torch_core import default_device
from machine import about, save

from petbreeds.baseline import training_speed
from petbreeds.blocks import PROFILES


def middle(profile):
    "The run whose speed with all layers is the median of three."
    return sorted((training_speed(profile, steps=3) for _ in range(3)), key=lambda found: found["all layers"])[1]


def main():
    result = about() | {"torch": torch.__version__, "results": {}}
    precisions = ("fp32", "bf16") if default_device().type == "cpu" else ("fp32", "fp16")
    for profile in (PROFILES["paper"], PROFILES["oxford"]):
        for precision in precisions:
            name = f"{profile.arch}, {profile.size} px, mini-batches of {profile.bs}, {precision}"
            result["results"][name] = middle(replace(profile, precision=precision))
    save("training", result)
    print(result)


if __name__ == "__main__":
    main()
