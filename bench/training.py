"How many pictures a second the profiles' networks learn from on this machine: `training_speed`, the median of three."
import torch
from machine import about, save

from petbreeds.baseline import training_speed
from petbreeds.blocks import PROFILES


def middle(profile):
    "The run whose speed with all layers is the median of three."
    return sorted((training_speed(profile) for _ in range(3)), key=lambda found: found["all layers"])[1]


def main():
    result = about() | {"torch": torch.__version__, "results": {}}
    for name in ("paper", "oxford"):
        profile = PROFILES[name]
        result["results"][f"{profile.arch}, {profile.size} px, mini-batches of {profile.bs}"] = middle(profile)
    save("training", result)
    print(result)


if __name__ == "__main__":
    main()
