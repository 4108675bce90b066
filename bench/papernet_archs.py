"""Which small network to pretrain: speed, accuracy after equal seconds, size of the file.

    python bench/papernet_archs.py PICTURES [--seconds 150] [--breeds 80]

PICTURES is a folder that `petbreeds pretrain` or `draw_imaginary` has filled. Each network trains alone, for as many steps as
its own speed allows in the same time, one cycle over those steps; then its frozen features are probed on PaperPets.
"""
import argparse
import time
from dataclasses import replace
from pathlib import Path

from machine import about, save
from petbreeds.papernet import Recipe, body_of, imaginary_dls, imaginary_learner

import numpy as np
import timm
import torch
from fastai.callback.core import Callback, CancelFitException
from petbreeds.baseline import CALLBACKS, fastest_precision
from petbreeds.layout import breed_of, get_pets, official_splitter, usable_images
from petbreeds.paperpets.imaginary import draw_imaginary
from probe import features_of, probe_error, squares

ARCHS = "lcnet_050", "mobilenetv3_small_075", "mobilenetv4_conv_small_050", "regnetx_002", "dla46_c"


class Steps(Callback):
    "Stop after some steps, and note when the first few were done."
    def __init__(self, steps): self.steps, self.seen = steps, 0
    def after_batch(self):
        if not self.training: return
        self.seen += 1
        if self.seen == 4: self.since = time.perf_counter()
        if self.seen == self.steps:
            self.rate = (self.steps - 4) * self.dls.train.bs / (time.perf_counter() - self.since)
            raise CancelFitException


def trained(arch, drawn, recipe, seconds):
    "Speed and accuracy of one network after so many seconds of training."
    recipe = replace(recipe, arch=arch)
    dls = imaginary_dls(drawn, recipe, "cpu")
    precision = fastest_precision(imaginary_learner(dls, recipe).model, "cpu")
    def fit(steps):
        learn, count = imaginary_learner(dls, recipe), Steps(steps)
        epochs = -(-steps // len(dls.train))
        with learn.no_bar(), learn.no_logging():
            if epochs == 1:  # the cycle ends with the steps
                dls.train.n = steps * recipe.bs
            learn.fit_one_cycle(epochs, recipe.lr, cbs=[count, *CALLBACKS[precision]])
            dls.train.n = len(dls.train.dataset)
        return learn, count.rate
    _, rate = fit(24)
    steps = int(seconds * rate / recipe.bs)
    learn, rate = fit(steps)
    with learn.no_bar(), learn.no_logging():
        error = float(learn.validate()[1])
    return learn, dict(precision=precision, images_per_second=round(rate), steps=steps, pictures_seen=steps * recipe.bs, accuracy=round(1 - error, 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--seconds", type=float, default=150)
    parser.add_argument("--breeds", type=int, default=80)
    parser.add_argument("--archs", nargs="+", default=ARCHS)
    args = parser.parse_args()
    recipe = Recipe(breeds=args.breeds, held_out=14)
    drawn = draw_imaginary(args.pictures, recipe.breeds, recipe.per_breed, recipe.seed, recipe.side)
    files = usable_images(get_pets("paper"))
    pets, labels, parts = squares(files, recipe.size), np.array([breed_of(file) for file in files]), official_splitter(get_pets("paper"))(files)
    result = about() | {"torch": torch.__version__, "timm": timm.__version__, "seconds": args.seconds, "breeds": args.breeds, "size": recipe.size, "results": {}}
    for arch in args.archs:
        learn, row = trained(arch, drawn, recipe, args.seconds)
        body = body_of(learn.model)
        bytes_ = sum(p.numel() * (2 if p.dim() > 1 else 4) for p in body.state_dict().values() if p.is_floating_point())
        stats = learn.dls.after_batch.fs[-1]
        probe = probe_error(features_of(body, pets, stats.mean, stats.std), labels, *parts)
        result["results"][arch] = row | {"file_mb": round(bytes_ / 1e6, 2), "probe_error_on_paperpets": round(probe, 3)}
        print(arch, result["results"][arch], flush=True)
        save("papernet_archs", result)


if __name__ == "__main__":
    main()
