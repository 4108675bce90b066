"""Does what PaperNet learnt on drawings help with photographs? A linear probe on frozen features, beside rivals.

    python bench/papernet_photos.py FOLDER [--splits 20] [--dry-run]

FOLDER holds photographs in the layout of the Oxford archive; a few of each breed are enough. Each split holds
back one picture in four of each breed; the same splits for every kind of features. Beside it leave-one-out,
with every photograph held back once. The last row gives each photograph the features of another one, drawn
anew for each split: what is right there is right by chance."""
import argparse
import copy
from pathlib import Path

import numpy as np
import timm
import torch
from probe import colour_histograms, features_of, probe_hits, squares
from sklearn.model_selection import StratifiedShuffleSplit
from table import save

from petbreeds.experiments import machine
from petbreeds.intervals import mean_interval
from petbreeds.layout import breed_of, usable_images
from petbreeds.networks import load_body
from petbreeds.papernet import papernet_info

RANDOM_BODIES = 3
HELD_BACK = 0.25


def measured_anew(body, pictures, mean, std):
    "A copy of a body whose batch normalisation has the statistics of these pictures instead of its own."
    body = copy.deepcopy(body)
    for layer in body.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain average
    body.train()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (mean, std))
    with torch.no_grad():
        body.forward_features((torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - mean) / std)
    return body


def accuracy(features, labels, splits):
    "The share that is right over all splits, and its interval, for which each photograph counts once."
    right = np.zeros(len(labels))
    asked = np.zeros(len(labels))
    for train, test in splits:
        right[test] += probe_hits(features(train), labels, train, test)
        asked[test] += 1
    share = right.sum() / asked.sum()
    mean, low, high = mean_interval((right / np.maximum(asked, 1))[asked > 0])
    return [max(0, share - (mean - low)), share, share + (high - mean)]


def kinds_of(body, net, pictures):
    "For each kind of features one or more functions from the training pictures to the features of all."
    stats = (net["mean"], net["std"])
    strangers = [timm.create_model(net["arch"], num_classes=0) for _ in range(RANDOM_BODIES)]
    rng = np.random.default_rng(0)
    known = features_of(body, pictures, *stats)

    def fixed(values):
        return lambda train: values

    def anew(train):
        return features_of(measured_anew(body, pictures[train], *stats), pictures, *stats)

    return {"PaperNet": [fixed(known)],
            "PaperNet, batch normalisation of photographs": [anew],
            "random body": [fixed(features_of(one, pictures, *stats)) for one in strangers],
            "colour histograms": [fixed(colour_histograms(pictures))],
            "PaperNet, features of other photographs": [lambda train: known[rng.permutation(len(pictures))]]}


def splits_of(labels, number):
    "Splits that hold back a quarter of each breed, and those that hold back one photograph each."
    drawn = StratifiedShuffleSplit(number, test_size=HELD_BACK, random_state=0)
    every = np.arange(len(labels))
    return list(drawn.split(every, labels)), [(np.delete(every, i), [i]) for i in every]


def measured(features, labels, splits, one_out):
    "A row of the table: means over the functions of a kind."
    def mean_of(how):
        return np.mean([accuracy(one, labels, how) for one in features], axis=0).round(4).tolist()

    return {"accuracy": mean_of(splits), "leave_one_out": mean_of(one_out)[1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--weights", type=Path, help="another file than PaperNet's")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    at_start = machine()
    torch.manual_seed(0)
    net = papernet_info(args.weights)
    files = usable_images(args.folder)
    labels = np.array([breed_of(file) for file in files])
    splits, one_out = splits_of(labels, args.splits)
    results = {}
    for name, features in kinds_of(load_body(args.weights), net, squares(files, net["size"])).items():
        results[name] = measured(features, labels, splits, one_out)
        print(name, results[name], flush=True)
    n_breeds = len(set(labels))
    settings = {"papernet": net["sha256"][:12], "photographs": len(files), "breeds": n_breeds, "splits": args.splits,
                "training": len(splits[0][0]), "held_back": len(splits[0][1]), "chance": round(1 / n_breeds, 4),
                "random_bodies": RANDOM_BODIES}
    if not args.dry_run:
        save("papernet_photos", at_start, settings, results)


if __name__ == "__main__":
    main()
