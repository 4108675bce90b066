"""What presizing does to the error: the same training, three ways to make the pictures small and varied.

    python bench/presizing.py [--seeds 5] [--epochs 2] [--freeze-epochs 1] [--data paper]
    python bench/presizing.py --seeds 1 --epochs 1 --freeze-epochs 0 --dry-run    a smoke test; stores nothing

presized    items of the profile's item_size; geometry composed by fastai, then a random crop that shrinks: what pet_dls does
small       items that already have the final size; the rest as above
in turn     such small items, and each operation (warp, flip, rotate, zoom, crop) interpolates by itself

Network, weights, epochs, rates, split and batch size are the same. A seed decides head, order and augmentation; runs with the same
seed are compared with each other. Validation pictures go through each way's own resize, as they would in use.
"""
import argparse
import time
from dataclasses import replace
from statistics import mean

import torch
from fastai.vision.augment import AffineCoordTfm
from fastcore.foundation import L

from intervals import interval
from machine import about, save
from petbreeds.baseline import fit_stages, pet_learner, pet_stages
from petbreeds.blocks import pet_dls, profile_for
from petbreeds.layout import get_pets

WAYS = "presized", "small", "in turn"


def quiet(line):
    "Takes a notice and says nothing."


def one_by_one(tfm):
    "A composed transform as its operations, in the order in which a picture meets them, each with an interpolation of its own."
    how = dict(mode=tfm.mode, pad_mode=tfm.pad_mode, align_corners=tfm.align_corners)
    return [AffineCoordTfm(coord_fs=f, **how) for f in tfm.coord_fs] + [AffineCoordTfm(aff_fs=f, **how) for f in tfm.aff_fs]


def dls_for(path, way, profile, seed, **options):
    "The mini-batches of one way."
    dls = pet_dls(path, profile if way == "presized" else replace(profile, item_size=profile.size), seed=seed, say=quiet, **options)
    if way == "in turn":
        parts = [one_by_one(tfm) if isinstance(tfm, AffineCoordTfm) else [tfm] for tfm in dls.train.after_batch.fs]
        dls.train.after_batch.fs = L(tfm for part in parts for tfm in part)
    return dls


def one_run(path, way, profile, seed, epochs, freeze_epochs):
    "Error after training, seconds of training, and the learner."
    learn = pet_learner(dls_for(path, way, profile, seed), seed=seed, say=quiet)
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        fit_stages(learn, pet_stages(learn.profile, epochs=epochs, freeze_epochs=freeze_epochs))
        seconds = time.perf_counter() - start
        error = float(learn.validate()[1])
    return error, seconds, learn


def rows(runs, item_sizes):
    "One dict for each way, from {way: [(error, seconds), ...]} with the seeds in the same order."
    found = []
    for way, results in runs.items():
        errors, first = [error for error, _ in results], [error for error, _ in runs["presized"]]
        more = None if way == "presized" else interval([a - b for a, b in zip(errors, first)])
        found.append({"way": way, "item_size": item_sizes[way], "error": interval(errors), "more_than_presized": more,
                      "seconds": round(mean(seconds for _, seconds in results), 1), "errors": [round(error, 4) for error in errors]})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each way")
    parser.add_argument("--epochs", type=int, help="with the whole network in training; without: the profile's")
    parser.add_argument("--freeze-epochs", type=int, help="before those, with the head alone; without: the profile's")
    parser.add_argument("--data", help="paper, oxford or a folder; without: PETBREEDS_DATA, else paper")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    if args.seeds < 2 and not args.dry_run:
        parser.error("an interval needs --seeds 2 or more; --dry-run stores nothing")
    path = get_pets(args.data)
    profile, found, runs = profile_for(path), about(), {way: [] for way in WAYS}
    for seed in range(args.seeds):
        for way in WAYS:  # side by side in time, so that a busy hour slows all of them
            error, seconds, learn = one_run(path, way, profile, seed, args.epochs, args.freeze_epochs)
            runs[way].append((error, seconds))
            print(f"seed {seed}, {way}: error {error:.4f}, {seconds:.0f} s", flush=True)
    used, dls = learn.profile, learn.dls
    found |= {"torch": torch.__version__, "device": str(dls.device), "arch": used.arch, "weights": used.weights, "size": used.size, "bs": dls.train.bs,
              "lr": used.lr, "precision": used.precision, "seeds": args.seeds, "training": len(dls.train_ds), "validation": len(dls.valid_ds),
              "epochs": sum(stage.epochs for stage in pet_stages(used, args.epochs, args.freeze_epochs)), "profile": used.name, "split": dls.split,
              "results": rows(runs, {way: profile.item_size if way == "presized" else profile.size for way in WAYS})}
    if not args.dry_run:
        save("presizing", found)
    for row in found["results"]:
        print(row)


if __name__ == "__main__":
    main()
