"""What chapter 08 shows: the error against the learning rate, and where the finder's suggestions fall on that curve.

    python bench/lr_finder.py [--head-seeds 20] [--whole-seeds 5] [--again]
    python bench/lr_finder.py --head-seeds 1 --whole-seeds 1 --dry-run    a smoke test; stores nothing

On PaperPets with PaperNet; errors are those on the test pictures. Two trainings: a plain head on features that the
body computed once (chapter 09), thirty epochs of one cycle; and plain fastai's `fine_tune(2, base_lr)` on small
pictures. A seed decides split, views, head and order. Before each training of a seed a search with the defaults of
`lr_find` runs on the fresh learner. Some heads train for long at a low rate, to see whether that overfits, and some
networks are searched again after their training. Each seed is kept in bench/results/runs/ as soon as it is done.
Written to bench/results/lr_finder.json."""
import argparse
import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from fastai.vision.all import (
    CrossEntropyLossFlat, DataLoader, DataLoaders, ProgressCallback, error_rate, noop, set_seed)
from fastai.vision.learner import vision_learner
from table import interval, repeated, save
from torch import nn
from torch.utils.data import TensorDataset

from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls, profile_for
from petbreeds.experiments import machine
from petbreeds.intervals import mean_interval
from petbreeds.layout import get_pets
from petbreeds.lr_finder import SUGGESTIONS, LRFinder, suggest
from petbreeds.transfer import body_features
from petbreeds.transfer.features import head_learner, parts_of

HEAD_RATES = (3e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1, 1.0)
HEAD_EPOCHS = 30
WHOLE_RATES = (3e-4, 1e-3, 2e-3, 1e-2, 3e-2, 1e-1)
WHOLE_EPOCHS = 2
SIZE = 64  # px, of the pictures of the whole training
LONG_SEEDS = 3  # of heads, that are watched for long
LOW = (2e-4, 300)  # a low rate, and how many epochs a head gets with it
MIDDLE = (5e-3, 60)  # a rate that is used, and for how long a head is watched
DEFAULT = 2e-3  # fastai's `base_lr`
AFTER_RATES = (1e-5, 1e-4, 1e-3, 1e-2)  # of one more epoch after `fine_tune`
AFTER_SEEDS = 3


def searched(learn):
    "The curve of a search, and what is read off it."
    finder = LRFinder().find(learn)
    curve = finder.curve
    return {"suggested": {how: float(f"{suggest(*curve, how):.4g}") for how in SUGGESTIONS},
            "curve": [[float(f"{value:.4g}") for value in values] for values in (finder.rates, finder.losses)]}


def rows_of(learn):
    "Training loss, validation loss and validation error of each epoch of the last fit."
    return [[round(value, 4) for value in row] for row in learn.recorder.values]


class SideBySide(nn.Module):
    "Copies of a head that learn from the same mini-batches and do not know of each other."
    def __init__(self, head, n):
        super().__init__()
        self.heads = nn.ModuleList(deepcopy(head) for _ in range(n))

    def forward(self, features):
        return torch.stack([head(features) for head in self.heads])

    def groups(self):
        "The weights of each, so that each can have its own rate."
        return [list(head.parameters()) for head in self.heads]


def summed_loss(answers, labels):
    "The sum of the losses of all heads: each gets the gradient of its own loss."
    return sum(F.cross_entropy(answer, labels) for answer in answers)


def heads(seed, **_):
    "The error of a fitted head at each rate and at each suggestion, and the epochs of two long fits."
    learn = pet_learner(pet_dls(get_pets("paper"), seed=seed))
    train, test = body_features(learn), body_features(learn, part="test")
    rest = deepcopy(parts_of(learn.model).rest)

    def fresh(layers, judged=None):
        set_seed(seed, reproducible=True)
        head = head_learner(learn, train, judged, layers)
        head.remove_cbs([cb for cb in head.cbs if isinstance(cb, ProgressCallback)])
        head.logger = noop
        return head

    def errors_at(rates):
        together = SideBySide(rest, len(rates))
        head = fresh(together)
        head.loss_func, head.splitter, head.metrics = summed_loss, SideBySide.groups, []
        head.fit_one_cycle(HEAD_EPOCHS, np.array(rates))
        with torch.inference_mode():
            wrong = together.eval()(test.x).argmax(-1) != test.y
        return [round(float(share), 4) for share in wrong.float().mean(1)]

    def epochs_at(rate, epochs, valid):
        head = fresh(deepcopy(rest), valid)
        head.fit(epochs, rate)
        return rows_of(head)

    found = searched(fresh(deepcopy(rest)))
    suggested = found["suggested"]
    errors = errors_at([*HEAD_RATES, *suggested.values()])
    found["errors"] = dict(zip([*(f"{rate:g}" for rate in HEAD_RATES), *suggested], errors))
    if seed < LONG_SEEDS:
        valid = body_features(learn, part="valid")
        found["low"], found["middle"] = epochs_at(*LOW, valid), epochs_at(*MIDDLE, valid)
    print("head", seed, found["errors"], suggested, flush=True)
    return found


def in_memory(dls, part):
    "All pictures of a part as in validation, normalised, and their labels."
    with dls.train_ds.set_split_idx(1):
        pictures, labels = zip(*dls.valid.new([dls.train_ds, dls.valid_ds, dls.loaders[2].dataset][part]))
    return TensorDataset(*(torch.cat(parts).as_subclass(torch.Tensor) for parts in (pictures, labels)))


def whole(seed, size, rates, **_):
    "The error of `fine_tune(2)` at each rate, with its epochs, and what a second search finds."
    profile = replace(profile_for("paper"), size=size, item_size=size * 5 // 4)
    pictures = pet_learner(pet_dls(get_pets("paper"), profile, seed=seed)).dls
    train, valid, test = (in_memory(pictures, part) for part in range(3))

    def fresh():
        set_seed(seed, reproducible=True)
        dls = DataLoaders(DataLoader(train, bs=profile.bs, shuffle=True, drop_last=True),
                          DataLoader(valid, bs=2 * profile.bs))
        learn = vision_learner(dls, profile.arch, n_out=len(pictures.vocab), loss_func=CrossEntropyLossFlat(),
                               normalize=False, metrics=error_rate, path=".")
        learn.model.to(memory_format=torch.channels_last)
        learn.remove_cb(ProgressCallback)
        learn.logger = noop
        return learn

    def error(learn):
        with torch.inference_mode():
            answers = [learn.model.eval()(few).argmax(1) for few in test.tensors[0].split(2 * profile.bs)]
        return round(float((torch.cat(answers) != test.tensors[1]).float().mean()), 4)

    def trained(rate):
        learn = fresh()
        learn.freeze()
        learn.fit_one_cycle(1, slice(rate), pct_start=0.99)  # the first stage of fine_tune
        rows = rows_of(learn)
        learn.unfreeze()
        learn.fit_one_cycle(WHOLE_EPOCHS, slice(rate / 200, rate / 2), pct_start=0.3, div=5.0)  # the second
        return learn, rows + rows_of(learn)

    found = searched(fresh()) | {"errors": {}, "epochs": {}}
    for rate in rates:
        learn, found["epochs"][f"{rate:g}"] = trained(rate)
        found["errors"][f"{rate:g}"] = error(learn)
        if rate == DEFAULT and seed < AFTER_SEEDS:
            found["after"] = after(learn, error)
    print("whole", seed, found["errors"], found["suggested"], flush=True)
    return found


def after(learn, error):
    "What searches find in a network that is trained, frozen and unfrozen, and what one more epoch does."
    fitted = deepcopy(learn.model.state_dict())
    found = {}
    for name, way in (("frozen", learn.freeze), ("unfrozen", learn.unfreeze)):
        way()
        found[name] = searched(learn)
    found["errors"] = {"none": error(learn)}
    for rate in AFTER_RATES:
        learn.model.load_state_dict(fitted)
        learn.opt = None
        learn.unfreeze()
        learn.fit_one_cycle(1, rate)
        found["errors"][f"{rate:g}"] = error(learn)
    return found


def settings():
    "What the results of both trainings depend on."
    profile = profile_for("paper")
    common = {"arch": profile.arch, "bs": profile.bs}
    of_heads = {"size": profile.size, "epochs": HEAD_EPOCHS, "rates": HEAD_RATES, "low": LOW, "middle": MIDDLE,
                "long_seeds": LONG_SEEDS}
    of_whole = {"size": SIZE, "epochs": WHOLE_EPOCHS, "rates": WHOLE_RATES, "after_rates": AFTER_RATES,
                "after_seeds": AFTER_SEEDS}
    return common | of_heads, common | of_whole


def typical(rates):
    "The geometric mean of rates, with its interval where there are several, in words."
    middle, low, high = (math.exp(value) for value in mean_interval([math.log(rate) for rate in rates]))
    return f"{middle:.2g} ({low:.2g} to {high:.2g})"


def table_of(kind, found):
    "Rows for the table: errors at rates, suggestions with the errors that they lead to where those were measured."
    rows = {}
    for name in found[0]["errors"]:
        errors = [row["errors"][name] for row in found]
        label = f"{kind}, {name}" if name in SUGGESTIONS else f"{kind}, rate {name}"
        rows[label] = {"errors": errors, "error": interval(errors)}
    for how in SUGGESTIONS:
        rates = [row["suggested"][how] for row in found]
        rows.setdefault(f"{kind}, {how}", {"errors": None, "error": None})
        rows[f"{kind}, {how}"] |= {"rates": rates, "rate": typical(rates)}
    return rows


def kept(found):
    "What the table does not show and the chapter draws: curves and epochs, seed by seed."
    return [{name: value for name, value in row.items() if name not in ("errors", "suggested")} for row in found]


def thinned(found):
    "The long fits of heads, every tenth epoch, the curve of a search of the first seed only."
    for number, row in enumerate(found):
        if "low" in row:
            row["low"], row["middle"] = row["low"][9::10], row["middle"][1::2]
        if number:
            del row["curve"]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head-seeds", type=int, default=20)
    parser.add_argument("--whole-seeds", type=int, default=5)
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    if min(args.head_seeds, args.whole_seeds) < 2 and not args.dry_run:
        parser.error("an interval needs two seeds or more; --dry-run stores nothing")
    at_start = machine()
    again = {"again": args.again, "dry_run": args.dry_run}
    of_heads, of_whole = settings()
    head = repeated("lr_finder_head", heads, range(args.head_seeds), of_heads, **again)
    all_layers = repeated("lr_finder_whole", whole, range(args.whole_seeds), of_whole, **again)
    if args.dry_run:
        return
    rows = table_of("head", head) | table_of("whole", all_layers)
    details = {"head": kept(thinned(head)), "whole": kept(all_layers)}
    counts = {"head_seeds": len(head), "whole_seeds": len(all_layers)}
    about = {"settings": {"head": of_heads, "whole": of_whole}, "details": details}
    save("lr_finder", at_start, counts | about, rows)


if __name__ == "__main__":
    main()
