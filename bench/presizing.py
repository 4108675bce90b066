"""What presizing does to the error: the same training, three ways to make the pictures small and varied.

    python bench/presizing.py [--seeds 5] [--epochs 2] [--freeze-epochs 1] [--data paper] [--again]
    python bench/presizing.py --seeds 1 --epochs 1 --freeze-epochs 0 --dry-run    a smoke test; stores nothing

presized    items of the profile's item_size; geometry composed by fastai, then a random crop that shrinks: what
            pet_dls does
small       items that already have the final size; the rest as above
in turn     such small items, and each operation (warp, flip, rotate, zoom, crop) interpolates by itself

All train with plain fastai, `vision_learner` and `fine_tune`: network, weights, epochs, rates, split and batch size
are the same. A seed decides head, order and augmentation; runs with the same seed are compared with each other. Errors
are those on the test pictures, which go through each way's own resize, as they would in use. Each seed is kept in
bench/results/runs/ as soon as it is done, and the same call goes on after an interruption."""
import argparse
import time
from dataclasses import replace
from functools import partial
from statistics import mean

from fastai.torch_core import default_device
from fastai.vision.all import error_rate, set_seed, vision_learner
from fastai.vision.augment import AffineCoordTfm
from fastcore.foundation import L
from table import interval, repeated, save

from petbreeds.blocks import pet_dls, profile_for
from petbreeds.experiments import machine
from petbreeds.interpretation.results import results_of
from petbreeds.layout import get_pets, pets_table

LR = 2e-3  # the default of `fine_tune`
WAYS = ("presized", "small", "in turn")


def one_by_one(tfm):
    "A composed transform as its operations, in the order of use, each with an interpolation of its own."
    how = dict(mode=tfm.mode, pad_mode=tfm.pad_mode, align_corners=tfm.align_corners)
    on_coordinates = [AffineCoordTfm(coord_fs=f, **how) for f in tfm.coord_fs]
    return on_coordinates + [AffineCoordTfm(aff_fs=f, **how) for f in tfm.aff_fs]


def item_size(way, profile):
    "The side of the items of one way, in px."
    return profile.item_size if way == "presized" else profile.size


def dls_for(path, way, profile, seed):
    "The mini-batches of one way."
    dls = pet_dls(path, replace(profile, item_size=item_size(way, profile)), seed=seed)
    if way == "in turn":
        parts = [one_by_one(tfm) if isinstance(tfm, AffineCoordTfm) else [tfm] for tfm in dls.train.after_batch.fs]
        dls.train.after_batch.fs = L(tfm for part in parts for tfm in part)
    return dls


def one_run(path, way, profile, seed, epochs, freeze_epochs):
    "Error on the test pictures after training, and seconds of training."
    dls = dls_for(path, way, profile, seed)
    set_seed(seed, reproducible=True)
    learn = vision_learner(dls, profile.arch, metrics=error_rate)
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(epochs, base_lr=LR, freeze_epochs=freeze_epochs)
    seconds = time.perf_counter() - start
    return results_of(learn, "test").error_rate, seconds


def one_seed(path, profile, n_epochs, seed, **_):
    "All ways, side by side in time, so that a busy hour slows all of them."
    found = {}
    for way in WAYS:
        error, seconds = one_run(path, way, profile, seed, *n_epochs)
        found[f"{way}, error"] = error
        found[f"{way}, seconds"] = round(seconds, 1)
        print(f"seed {seed}, {way}: error {error:.4f}, {seconds:.0f} s", flush=True)
    return found


def rows(runs, item_sizes):
    "One dict for each way, from {way: [(error, seconds), ...]} with the seeds in the same order."
    first = [error for error, _ in runs["presized"]]
    found = []
    for way, results in runs.items():
        errors = [error for error, _ in results]
        more = None if way == "presized" else interval([a - b for a, b in zip(errors, first)])
        found.append({"way": way, "item_size": item_sizes[way], "error": interval(errors), "more_than_presized": more,
                      "seconds": round(mean(seconds for _, seconds in results), 1),
                      "errors": [round(error, 4) for error in errors]})
    return found


def described(path, profile, epochs):
    "What all runs share, for the table."
    counts = pets_table(path)["part"].value_counts()
    return {"device": default_device().type, "arch": profile.arch,
            "weights": "pretrained weights" if profile.pretrained else "random weights",
            "size": profile.size, "bs": profile.bs, "lr": LR, "epochs": epochs, "source": profile.name,
            "training": int(counts["train"]), "validation": int(counts.get("valid", 0)), "test": int(counts["test"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each way")
    parser.add_argument("--epochs", type=int, default=2, help="with the whole network in training")
    parser.add_argument("--freeze-epochs", type=int, default=1, help="before those, with the head alone")
    parser.add_argument("--data", help="paper, oxford or a folder; without: PETBREEDS_DATA, else paper")
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    if args.seeds < 2 and not args.dry_run:
        parser.error("an interval needs --seeds 2 or more; --dry-run stores nothing")
    at_start = machine()
    path = get_pets(args.data)
    profile = profile_for(path)
    settings = described(path, profile, args.epochs + args.freeze_epochs)
    run = partial(one_seed, path, profile, (args.epochs, args.freeze_epochs))
    found = repeated("presizing", run, range(args.seeds), settings,
                     again=args.again, dry_run=args.dry_run)
    runs = {way: [(row[f"{way}, error"], row[f"{way}, seconds"]) for row in found] for way in WAYS}
    table = rows(runs, {way: item_size(way, profile) for way in WAYS})
    if not args.dry_run:
        save("presizing", at_start, settings | {"seeds": args.seeds}, table)
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
