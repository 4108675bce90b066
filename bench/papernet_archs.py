"""Which small network to pretrain: speed, accuracy after equal seconds, size of the file.

    python bench/papernet_archs.py PICTURES [--seconds 150] [--breeds 80] [--dry-run]

PICTURES is a folder that `petbreeds pretrain` or `draw_imaginary` has filled, or that will be filled here.
Each network trains alone, for as many steps as its own speed allows in the same time, one cycle over those
steps; then its frozen features are probed on PaperPets: a linear classifier is fitted on the training
pictures and judged on the test pictures."""
import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from fastai.callback.core import Callback, CancelFitException
from probe import features_of, probe_error, squares
from table import save

from petbreeds.baseline.precision import CALLBACKS, fastest_precision
from petbreeds.experiments import machine
from petbreeds.layout import get_pets, pets_table
from petbreeds.papernet.pretraining import Recipe, body_of, imaginary_dls, imaginary_learner
from petbreeds.paperpets.imaginary import draw_imaginary

ARCHS = ("lcnet_050", "mobilenetv3_small_075", "mobilenetv4_conv_small_050", "regnetx_002", "dla46_c")
HELD_OUT = 14  # pictures of each imaginary breed
SIZE = 128  # px; dla46_c takes only multiples of 32, so the recipe's own size will not do
WARM_UP = 4  # steps that are not timed
TIMED = 24  # steps that tell how many fit into the seconds


class Steps(Callback):
    "Stop after some steps, and note how fast those after the first few were."
    def __init__(self, steps):
        self.steps = steps
        self.seen = 0

    def after_batch(self):
        if not self.training:
            return
        self.seen += 1
        if self.seen == WARM_UP:
            self.since = time.perf_counter()
        if self.seen == self.steps:
            self.rate = (self.steps - WARM_UP) * self.dls.train.bs / (time.perf_counter() - self.since)
            raise CancelFitException


def fit(dls, recipe, precision, steps):
    "A learner after so many steps of one cycle, and its pictures a second."
    learn = imaginary_learner(dls, recipe)
    count = Steps(steps)
    epochs = -(-steps // len(dls.train))
    if epochs == 1:  # the cycle ends with the steps
        dls.train.n = steps * recipe.bs
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, recipe.lr, cbs=[count, *CALLBACKS[precision]])
    dls.train.n = len(dls.train.dataset)
    return learn, count.rate


def trained(arch, drawn, recipe, seconds):
    "A learner of one network after so many seconds of training, and what was measured."
    recipe = replace(recipe, arch=arch)
    dls = imaginary_dls(drawn, recipe, "cpu")
    precision = fastest_precision(imaginary_learner(dls, recipe).model, "cpu")
    _, rate = fit(dls, recipe, precision, TIMED)
    steps = max(WARM_UP + 1, int(seconds * rate / recipe.bs))
    learn, rate = fit(dls, recipe, precision, steps)
    with learn.no_bar(), learn.no_logging():
        error = float(learn.validate()[1])
    return learn, {"precision": precision, "images_per_second": round(rate), "steps": steps,
                   "pictures_seen": steps * recipe.bs, "accuracy": round(1 - error, 4)}


def megabytes(body):
    "Size of the file that `save_body` would write."
    floats = [value for value in body.state_dict().values() if value.is_floating_point()]
    return sum(value.numel() * (2 if value.dim() > 1 else 4) for value in floats) / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--breeds", type=int, default=80)
    parser.add_argument("--archs", nargs="+", default=ARCHS)
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    at_start = machine()
    recipe = Recipe(breeds=args.breeds, held_out=HELD_OUT, size=SIZE)
    drawn = draw_imaginary(args.pictures, recipe.breeds, recipe.per_breed, recipe.seed, recipe.side)
    path = get_pets("paper")
    table = pets_table(path)
    pets = squares([path / file for file in table["file"]], recipe.size)
    parts = [np.flatnonzero(table["part"] == part) for part in ("train", "test")]
    settings = {"seconds": args.seconds, "breeds": args.breeds, "size": recipe.size}
    results = {}
    for arch in args.archs:
        learn, row = trained(arch, drawn, recipe, args.seconds)
        body = body_of(learn.model)
        normalise = learn.dls.after_batch.fs[-1]
        features = features_of(body, pets, normalise.mean, normalise.std)
        probe = probe_error(features, table["label"].to_numpy(), *parts)
        results[arch] = row | {"file_mb": round(megabytes(body), 2), "probe_error_on_paperpets": round(probe, 3)}
        print(arch, results[arch], flush=True)
        if not args.dry_run:
            save("papernet_archs", at_start, settings, results)


if __name__ == "__main__":
    main()
