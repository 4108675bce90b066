"""Does what PaperNet learnt on drawings help with photographs? A linear probe on frozen features, beside two rivals.

    python bench/papernet_photos.py FOLDER [--splits 20]

FOLDER holds photographs in the layout of the Oxford archive, few of each breed are enough. Each split holds back one picture
in four of each breed; the same splits for every kind of features.
"""
import argparse
import math
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import timm
import torch
from machine import about, save
from probe import colour_histograms, features_of, probe_error, squares

from petbreeds.blocks import breed_splitter
from petbreeds.layout import breed_of, usable_images
from petbreeds.papernet import load_papernet, papernet_info


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--weights", type=Path, help="another file than PaperNet's")
    args = parser.parse_args()
    files, net = usable_images(args.folder), papernet_info(args.weights)
    labels, pictures = np.array([breed_of(file) for file in files]), squares(files, net["size"])
    torch.manual_seed(0)
    features = {"PaperNet": features_of(load_papernet(args.weights), pictures, net["mean"], net["std"]),
                "random body": features_of(timm.create_model(net["arch"], num_classes=0), pictures, net["mean"], net["std"]),
                "colour histograms": colour_histograms(pictures)}
    splits = [breed_splitter(valid_share=0.25, seed=seed)(files) for seed in range(args.splits)]
    result = about() | {"papernet": net["sha256"][:12], "photographs": len(files), "breeds": len(set(labels)), "splits": args.splits,
                        "training": len(splits[0][0]), "held_back": len(splits[0][1]), "chance": round(1 / len(set(labels)), 4), "results": {}}
    for name, values in features.items():
        right = [1 - probe_error(values, labels, *split) for split in splits]
        result["results"][name] = dict(accuracy=round(mean(right), 4), standard_deviation=round(stdev(right), 4))
        print(f"{name:18} right {mean(right):.3f} +- {stdev(right):.3f} over splits")
    save("papernet_photos", result)


if __name__ == "__main__":
    main()
