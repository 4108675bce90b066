"""How long fine-tuning takes, and what error it leaves: `pet_learner` against the same recipe in plain fastai.

    python bench/fine_tuning.py [--seeds 3] [--data paper] [--epochs 2] [--again]
    python bench/fine_tuning.py --seeds 1 --epochs 1 --dry-run    a smoke test; stores nothing

Same pictures, split, network, weights, sizes and rates; one frozen epoch, then two with all layers, each with
its validation. The two ways take turns within a seed; errors are those on the test pictures. What differs:
number format, memory layout and how pictures are opened. Each seed is kept in bench/results/runs/ as soon as
it is done."""
import argparse
import time
from functools import partial
from statistics import mean, median

from fastai.callback.core import Callback
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    Resize,
    aug_transforms,
    error_rate,
    set_seed,
    vision_learner,
)
from table import interval, repeated, save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls, pet_rows, profile_for, split_by_part
from petbreeds.experiments import machine
from petbreeds.interpretation.results import results_of
from petbreeds.layout import get_pets

EPOCHS = 2
FREEZE_EPOCHS = 1
STAGES = ("frozen", "all layers")


class Stages(Callback):
    "Seconds of each call of `fit`."
    order = 100

    def __init__(self):
        self.seconds = []

    def before_fit(self):
        self.since = time.perf_counter()

    def after_fit(self):
        self.seconds.append(time.perf_counter() - self.since)


def ours(path, profile, seed):
    "A learner of this course."
    return pet_learner(pet_dls(path, profile, seed=seed))


def plain(path, profile, seed):
    "A learner as fastai's own documentation builds it."
    set_seed(seed, reproducible=True)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_x=ColReader("path"), get_y=ColReader("label"), splitter=split_by_part,
        item_tfms=Resize(profile.item_size), batch_tfms=aug_transforms(size=profile.size, min_scale=0.75))
    dls = block.dataloaders(pet_rows(path, seed=seed), path=path, bs=profile.bs)
    return vision_learner(dls, profile.arch, metrics=error_rate, path=".")


def one_run(way, path, profile, seed, epochs):
    "Seconds of the two stages, and the error after them."
    learn = way(path, profile, seed)
    learn.add_cb(Stages())
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(epochs, base_lr=profile.schedule.lr, freeze_epochs=FREEZE_EPOCHS)
    seconds = learn.stages.seconds[:len(STAGES)]
    return {**dict(zip(STAGES, seconds)), "whole": sum(seconds), "error": results_of(learn, "test").error_rate}


def one_seed(path, profile, seed, epochs, **_):
    "Both ways, one after the other."
    found = {}
    for way in (ours, plain):
        run = one_run(way, path, profile, seed, epochs)
        found.update({f"{way.__name__}, {what}": round(value, 4) for what, value in run.items()})
        print(seed, way.__name__, run, flush=True)
    return found


def rows(found):
    "One dict for each stage and one for the error, from a dict for each seed."
    table = {}
    for stage in (*STAGES, "whole"):
        mine, theirs = ([row[f"{way}, {stage}"] for row in found] for way in ("ours", "plain"))
        ratios = [b / a for a, b in zip(mine, theirs)]
        table[stage] = {"petbreeds": round(mean(mine), 1), "plain": round(mean(theirs), 1),
                        "ratio": [round(x, 2) for x in (min(ratios), median(ratios), max(ratios))]}
    mine, theirs = ([row[f"{way}, error"] for row in found] for way in ("ours", "plain"))
    table["error"] = {"petbreeds": round(mean(mine), 4), "plain": round(mean(theirs), 4),
                      "difference": interval([b - a for a, b in zip(mine, theirs)])}
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="with all layers")
    parser.add_argument("--data", help="a drawn set; without: the default one")
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    at_start = machine()
    path = get_pets(args.data if args.data else "paper")
    profile = profile_for("paper")
    settings = {"arch": profile.arch, "size": profile.size, "bs": profile.bs, "epochs": args.epochs,
                "freeze_epochs": FREEZE_EPOCHS}
    found = repeated("fine_tuning", partial(one_seed, path, profile), range(args.seeds), settings,
                     again=args.again, dry_run=args.dry_run)
    if not args.dry_run:
        save("fine_tuning", at_start, settings | {"seeds": args.seeds}, rows(found))
    print(rows(found))


if __name__ == "__main__":
    main()
