"""What chapter 09 shows: heads on few pictures, views, bodies, and what fine-tuning does to good features.

    python bench/transfer.py [--photos FOLDER] [--seeds 5] [--again]
    python bench/transfer.py --seeds 1 --dry-run    a smoke test; stores nothing

All on PaperPets, with PaperNet unless another body is named; errors are those on the test pictures. A seed decides
views, head, order, and which pictures a small set keeps. FOLDER holds photographs in the layout of the Oxford archive:
both bodies learn from three of each breed and tell one, drawn anew for each seed, and the breeds of the photographs
that were misclassified are kept. Each seed is kept in bench/results/runs/ as soon as it is done. Written to
bench/results/transfer.json."""
import argparse
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from fastai.vision.all import apply_init, create_head, error_rate, vision_learner
from fine_tuning import split_anew
from table import interval, repeated, save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls, profile_for
from petbreeds.experiments import machine
from petbreeds.interpretation.results import results_of
from petbreeds.layout import get_pets
from petbreeds.networks import PLAIN_HEAD
from petbreeds.transfer import BatchNormAtRest, body_features, fit_head
from petbreeds.transfer.features import Features, head_learner, parts_of

PER_BREED = (1, 2, 4, 8, 20)
VIEWS = (1, 2, 4)
RATES = (1e-5, 1e-4, 1e-3, 4e-3)
BODIES = ("papernet", "efficientnet_lite0_imagenet")
LR = 5e-3
EPOCHS = 30


def head_of(kind, n_features, n_classes):
    """The part of a head that learns: 'plain', 'fastai' for twice as many pooled features, both with weights as fastai
    draws them, or 'small', a plain one with weights as PyTorch draws them, about half as large."""
    head = create_head(n_features, n_classes, **({} if kind == "fastai" else PLAIN_HEAD))
    if kind != "small":
        apply_init(head, torch.nn.init.kaiming_normal_)
    return parts_of(torch.nn.Sequential(torch.nn.Identity(), head)).rest


def misclassified(learn, rest, train, test, epochs=EPOCHS):
    "Which test pictures a head gets wrong after some epochs on features."
    head = head_learner(learn, train, rest=rest)
    with head.no_bar(), head.no_logging():
        head.fit_one_cycle(epochs, LR)
    with torch.inference_mode():
        return head.model.eval()(test.x).argmax(1) != test.y


def some_of_each(labels, per_breed, rng):
    "Positions of so many pictures of each class."
    labels = labels.numpy()
    return np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:per_breed] for label in np.unique(labels)])


def heads(dls, seed):
    "Both heads on few and on many pictures, and the plain head on more views or for as many steps on one."
    learn = vision_learner(dls, "papernet", metrics=error_rate)
    seen = body_features(learn, max(VIEWS))  # pooled twice: by maximum, then by mean
    test = body_features(learn, part="test")
    half = seen.x.shape[1] // 2
    n = len(dls.train_ds)
    rng = np.random.default_rng(seed)
    found = {}

    def error(kind, train, epochs=EPOCHS):
        torch.manual_seed(seed)
        mean_only = slice(0 if kind == "fastai" else half, None)
        wrong = misclassified(learn, head_of(kind, half, len(dls.vocab)), Features(train.x[:, mean_only], train.y),
                              Features(test.x[:, mean_only], test.y), epochs)
        return float(wrong.float().mean())
    for per_breed in PER_BREED:
        rows = some_of_each(seen.y[:n], per_breed, rng)
        for kind in ("plain", "fastai"):
            found[f"{kind}, {per_breed} a breed"] = error(kind, Features(seen.x[rows], seen.y[rows]))
    found["small start, 1 view"] = error("small", Features(seen.x[:n], seen.y[:n]))
    for views in VIEWS:
        found[f"{views} views"] = error("plain", Features(seen.x[:views * n], seen.y[:views * n]))
        if views > 1:
            found[f"1 view, {views} times the epochs"] = error("plain", Features(seen.x[:n], seen.y[:n]),
                                                               views * EPOCHS)
    return found


def bodies(path, profile, seed):
    "Breeds of the pictures that the plain head gets wrong on pretrained and on random bodies, and of all it is asked."
    found = {}
    for arch in BODIES:
        for pretrained in (True, False):
            changed = replace(profile, arch=arch, pretrained=pretrained)
            learn = pet_learner(pet_dls(path, changed, seed=seed))
            test = body_features(learn, part="test")
            wrong = misclassified(learn, deepcopy(parts_of(learn.model).rest), body_features(learn), test)
            breeds = [learn.dls.vocab[label] for label in test.y[wrong]]
            found[f"{arch}, {'own' if pretrained else 'random'} weights"] = (breeds, len(test.y))
    return found


def fine_tuned(path, profile, seed):
    "One epoch of all layers after the head fit, at several rates, batch normalisation at rest or not."
    learn = pet_learner(pet_dls(path, profile, seed=seed))
    found = {}
    with learn.no_bar(), learn.no_logging():
        fit_head(learn, epochs=EPOCHS, lr=LR)
        found["head alone"] = results_of(learn, "test").error_rate
        fitted = deepcopy(learn.model.state_dict())
        for rate in RATES:
            for name, cbs in (("at rest", [BatchNormAtRest()]), ("moving", [])):
                learn.model.load_state_dict(fitted)
                learn.repeatable_epochs.done = 0
                learn.unfreeze()
                learn.fit_one_cycle(1, slice(rate / 100, rate), pct_start=0.3, div=5, cbs=cbs)
                found[f"rate {rate:g}, {name}"] = results_of(learn, "test").error_rate
    return found


def one_seed(path, profile, seed, **_):
    "All errors of one seed."
    found = heads(pet_dls(path, profile, seed=seed), seed)
    found |= {name: len(wrong) / n for name, (wrong, n) in bodies(path, profile, seed).items()}
    found |= fine_tuned(path, profile, seed)
    print(seed, {name: round(error, 4) for name, error in found.items()}, flush=True)
    return {name: round(error, 4) for name, error in found.items()}


def one_seed_of_photographs(folder, scratch, seed, **_):
    "For each body: the misclassified breeds, and how many photographs were told."
    path = split_anew(folder, scratch, seed)
    found = bodies(path, profile_for(path), seed)
    print(seed, {name: f"{len(wrong)} of {n}" for name, (wrong, n) in found.items()}, flush=True)
    return {name: {"wrong": wrong, "of": n} for name, (wrong, n) in found.items()}


def of_photographs(args):
    "Rows of the table for photographs."
    with TemporaryDirectory() as scratch:
        settings = {"photographs": profile_for(args.photos).size, "head_epochs": EPOCHS, "head_lr": LR}
        found = repeated("transfer_photographs", partial(one_seed_of_photographs, args.photos, scratch),
                         range(args.seeds), settings, again=args.again, dry_run=args.dry_run)
    rows = {}
    for name in [name for name in found[0] if name != "seed"]:
        errors = [round(len(row[name]["wrong"]) / row[name]["of"], 4) for row in found]
        rows[f"photographs, {name}"] = {"errors": errors, "error": interval(errors) if len(errors) > 1 else None,
                                        "wrong": [row[name]["wrong"] for row in found], "of": found[0][name]["of"]}
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photographs; without: drawings alone")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    if args.seeds < 2 and not args.dry_run:
        parser.error("an interval needs --seeds 2 or more; --dry-run stores nothing")
    at_start = machine()
    path = get_pets("paper")
    profile = profile_for("paper")
    settings = {"arch": profile.arch, "size": profile.size, "bs": profile.bs, "head_epochs": EPOCHS, "head_lr": LR}
    found = repeated("transfer", partial(one_seed, path, profile), range(args.seeds), settings,
                     again=args.again, dry_run=args.dry_run)
    names = [name for name in found[0] if name != "seed"]
    rows = {name: {"errors": [row[name] for row in found],
                   "error": interval([row[name] for row in found]) if len(found) > 1 else None} for name in names}
    if args.photos:
        rows |= of_photographs(args)
    if not args.dry_run:
        save("transfer", at_start, settings | {"seeds": args.seeds}, rows)


if __name__ == "__main__":
    main()
