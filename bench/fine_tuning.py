"""How long fine-tuning takes, and what error it leaves: `pet_learner` against the same recipe in plain fastai.

    python bench/fine_tuning.py [--seeds 3] [--data paper]

Same pictures, split, network, weights, sizes and rates; one frozen epoch, then two with all layers, each with its validation. The two
ways take turns within a seed. What differs: number format, memory layout and how pictures are opened.
"""
import argparse
import time
from statistics import mean, median

from intervals import interval
from machine import about, save
from petbreeds.baseline import fit_stages, pet_learner, pet_stages
from petbreeds.blocks import pet_dls, profile_for, stats_for
from petbreeds.layout import breed_of, get_pets, official_splitter
from petbreeds.papernet import PAPERNET

import torch
from fastai.callback.core import Callback
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, Resize, aug_transforms, error_rate, get_image_files,
                               set_seed, vision_learner)

EPOCHS, FREEZE_EPOCHS = 2, 1
STAGES = "frozen", "all layers"
BUDGETS = {"frozen": 5.0, "whole": 2.0}  # times as fast as plain fastai


class Stages(Callback):
    "Seconds of each call of `fit`."
    order = 100

    def __init__(self): self.seconds = []
    def before_fit(self): self.since = time.perf_counter()
    def after_fit(self): self.seconds.append(time.perf_counter() - self.since)


def ours(path, profile, seed):
    learn = pet_learner(pet_dls(path, profile, seed=seed, say=str), seed=seed, say=str)
    return learn, lambda: fit_stages(learn, pet_stages(learn.profile, epochs=EPOCHS, freeze_epochs=FREEZE_EPOCHS))


def plain(path, profile, seed):
    "As fastai's own documentation builds it; PaperNet's file is the one thing it has to be told."
    set_seed(seed, reproducible=True)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_items=get_image_files, get_y=breed_of, splitter=official_splitter(path, say=str),
        item_tfms=Resize(profile.item_size),
        batch_tfms=[*aug_transforms(size=profile.size, min_scale=0.75), Normalize.from_stats(*stats_for(profile.arch, profile.weights))])
    learn = vision_learner(block.dataloaders(path / "images", bs=profile.bs), profile.arch, metrics=error_rate,
                           pretrained_cfg_overlay={"file": str(PAPERNET)})
    return learn, lambda: learn.fine_tune(EPOCHS, base_lr=profile.lr, freeze_epochs=FREEZE_EPOCHS)


def one_run(way, path, profile, seed):
    "Seconds of the two stages, and the error after them."
    learn, train = way(path, profile, seed)
    learn.add_cb(Stages())
    with learn.no_bar(), learn.no_logging():
        train()
        seconds = learn.stages.seconds[:len(STAGES)]
        error = float(learn.validate()[1])
    return {**dict(zip(STAGES, seconds)), "whole": sum(seconds), "error": error}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", help="a drawn set; without: the default one")
    args = parser.parse_args()
    path = get_pets(args.data or "paper")
    profile, result, runs = profile_for("paper"), about(), {ours: [], plain: []}
    for seed in range(args.seeds):
        for way in runs:
            runs[way].append(one_run(way, path, profile, seed))
            print(seed, way.__name__, runs[way][-1], flush=True)
    result |= {"torch": torch.__version__, "arch": profile.arch, "size": profile.size, "bs": profile.bs, "seeds": args.seeds,
               "epochs": EPOCHS, "freeze_epochs": FREEZE_EPOCHS, "results": {}}
    for stage in (*STAGES, "whole"):
        ratios = [theirs[stage] / mine[stage] for mine, theirs in zip(runs[ours], runs[plain])]
        result["results"][stage] = {"petbreeds": round(mean(run[stage] for run in runs[ours]), 1), "plain": round(mean(run[stage] for run in runs[plain]), 1),
                                    "ratio": [round(x, 2) for x in (min(ratios), median(ratios), max(ratios))], "budget": BUDGETS.get(stage)}
    differences = [theirs["error"] - mine["error"] for mine, theirs in zip(runs[ours], runs[plain])]
    result["results"]["error"] = {"petbreeds": round(mean(run["error"] for run in runs[ours]), 4), "plain": round(mean(run["error"] for run in runs[plain]), 4),
                                  "difference": interval(differences)}
    save("fine_tuning", result)
    print(result["results"])


if __name__ == "__main__":
    main()
