"""Does what PaperNet learnt on drawings help with photographs? A linear probe on frozen features, beside rivals.

    python bench/papernet_photos.py FOLDER [--splits 20]

FOLDER holds photographs in the layout of the Oxford archive, few of each breed are enough. Each split holds back one picture
in four of each breed; the same splits for every kind of features. Beside it leave-one-out, with every photograph held back once.
The last row gives each photograph the features of another one, drawn anew for each split: what is right there is right by chance.
"""
import argparse
import copy
from pathlib import Path

import numpy as np
import timm
import torch
from machine import about, save
from probe import colour_histograms, features_of, probe_hits, squares

from petbreeds.blocks import breed_splitter
from petbreeds.layout import breed_of, usable_images
from petbreeds.papernet import load_papernet, papernet_info

RANDOM_BODIES = 3


def measured_anew(body, pictures, mean, std):
    "A copy of a body whose batch normalisation has the statistics of these pictures instead of those it was trained with."
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
    "The share that is right over all splits, and a 95 % interval that counts each photograph once, however often it was held back."
    right, asked = np.zeros(len(labels)), np.zeros(len(labels))
    for train, test in splits:
        right[test] += probe_hits(features(train), labels, train, test)
        asked[test] += 1
    share, by_photograph = right.sum() / asked.sum(), (right / np.maximum(asked, 1))[asked > 0]
    half = 1.96 * by_photograph.std(ddof=1) / len(by_photograph)**0.5
    return [round(float(value), 4) for value in (max(0, share - half), share, share + half)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--weights", type=Path, help="another file than PaperNet's")
    args = parser.parse_args()
    files, net = usable_images(args.folder), papernet_info(args.weights)
    labels, pictures = np.array([breed_of(file) for file in files]), squares(files, net["size"])
    torch.manual_seed(0)
    rng, stats, body = np.random.default_rng(0), (net["mean"], net["std"]), load_papernet(args.weights)
    strangers = [timm.create_model(net["arch"], num_classes=0) for _ in range(RANDOM_BODIES)]
    fixed = lambda values: lambda train: values
    known = features_of(body, pictures, *stats)
    kinds = {"PaperNet": [fixed(known)],
             "PaperNet, batch normalisation of photographs": [lambda train: features_of(measured_anew(body, pictures[train], *stats), pictures, *stats)],
             "random body": [fixed(features_of(one, pictures, *stats)) for one in strangers],
             "colour histograms": [fixed(colour_histograms(pictures))],
             "PaperNet, features of other photographs": [lambda train: known[rng.permutation(len(files))]]}
    every = np.arange(len(files))
    splits, one_out = [breed_splitter(valid_share=0.25, seed=seed)(files) for seed in range(args.splits)], [(np.delete(every, i), [i]) for i in every]
    result = about() | {"papernet": net["sha256"][:12], "photographs": len(files), "breeds": len(set(labels)), "splits": args.splits,
                        "training": len(splits[0][0]), "held_back": len(splits[0][1]), "chance": round(1 / len(set(labels)), 4),
                        "random_bodies": RANDOM_BODIES, "results": {}}
    for name, features in kinds.items():
        mean_of = lambda how: np.mean([accuracy(one, labels, how) for one in features], axis=0).round(4).tolist()
        result["results"][name] = dict(accuracy=mean_of(splits), leave_one_out=mean_of(one_out)[1])
        print(name, result["results"][name], flush=True)
    save("papernet_photos", result)


if __name__ == "__main__":
    main()
