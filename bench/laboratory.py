"""What chapter 07 judges on: a network trained as `petbreeds train` does, what it answers to the laboratory set, where
it looks, and what it needs.

    python bench/laboratory.py [--seeds 5]
    python bench/laboratory.py --seeds 1 --dry-run    a smoke test on few pictures; stores nothing

The body is PaperNet at rest, so five networks are five heads. A seed decides the split, the views and the head. What is
said of the first seed alone is stored for the first alone: the answers' probabilities, and the mean features of each
breed's training pictures. Numbers go to bench/results/laboratory.json, arrays to laboratory.safetensors beside it."""
import argparse
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import torch
from fastai.torch_core import to_cpu
from safetensors.torch import save as as_safetensors
from table import RESULTS, interval, save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls, profile_for
from petbreeds.experiments import machine
from petbreeds.files import write_whole
from petbreeds.interpretation import grad_cam
from petbreeds.interpretation.attention import heat_over_area
from petbreeds.interpretation.laboratory import (
    PER_BREED, SEED, centre_square, donor_for, laboratory_drawing, one_thing_changed)
from petbreeds.layout import get_pets
from petbreeds.networks import at_rest
from petbreeds.paperpets import make_paperpets
from petbreeds.transfer import body_features, fit_head
from petbreeds.transfer.features import parts_of

FIRST = 42  # the first seed
HEAT = 10  # drawings of each breed whose maps are looked at
REDRAWN = 20  # drawings of each breed that are drawn again
REGIONS = ("animal", "head", "background")


def features_of(learn, pictures):
    "Features of pictures, as in validation, in full precision."
    body, pool, _ = parts_of(learn.model)
    found = []
    with at_rest(learn.model), torch.inference_mode():
        for (batch,) in learn.dls.test_dl(pictures, num_workers=0):
            found.append(to_cpu(pool(body(batch))))
    return torch.cat(found).as_subclass(torch.Tensor)


def trained(path, profile, seed):
    "A learner whose head is fitted by the default recipe."
    learn = pet_learner(pet_dls(path, profile, seed=seed))
    with learn.no_bar(), learn.no_logging():
        fit_head(learn, profile.schedule.views, profile.schedule.head_epochs)
    return learn


def answers(learn, features):
    "Activations of a learner's head for features."
    head = parts_of(learn.model).rest
    with at_rest(head), torch.inference_mode():
        return head(features)


def class_means(learn):
    "The mean features of each breed's training pictures, seen as in validation."
    seen = body_features(learn, None)
    return torch.stack([seen.x[seen.y == breed].mean(0) for breed in range(len(learn.dls.vocab))])


def head_mask(drawing):
    "1 in the head box of a drawing."
    mask = np.zeros_like(drawing.trimap)
    left, top, right, bottom = drawing.head
    mask[top:bottom, left:right] = 1
    return mask


def masks_of(drawings, side):
    "The three regions of drawings as validation shows them."
    trimaps = centre_square([drawing.trimap for drawing in drawings], side)
    heads = centre_square([head_mask(drawing) for drawing in drawings], side)
    return {"animal": trimaps == 1, "head": heads == 1, "background": trimaps == 2}


def heat(learn, drawings, masks):
    "Mean heat over area in each region, and how many maps are empty."
    batches = learn.dls.test_dl([drawing.picture for drawing in drawings], num_workers=0)
    maps = torch.cat([grad_cam(learn.model, batch) for (batch,) in batches])
    found = {region: float(np.nanmean(heat_over_area(maps, masks[region]))) for region in REGIONS}
    return found | {"empty": int((maps.sum((1, 2)) == 0).sum()), "maps": len(maps)}


def looks(learners, path, profile, drawings):
    "Where trained networks look, and those with a random head or random weights."
    masks = masks_of(drawings, profile.size)
    kinds = {"trained": [], "random head": [], "random network": []}
    scratch = replace(profile, pretrained=False)
    for learn in learners:
        kinds["trained"].append(heat(learn, drawings, masks))
        for kind, of_kind in (("random head", profile), ("random network", scratch)):
            other = pet_learner(learn.dls, of_kind, seed=learn.dls.seed)
            kinds[kind].append(heat(other, drawings, masks))
    return {f"heat in the {region}, {kind}": {"value": spread([one[region] for one in found]),
                                             "each": [round(one[region], 3) for one in found],
                                             "empty": [one["empty"] for one in found], "maps": found[0]["maps"]}
            for kind, found in kinds.items() for region in REGIONS}


def spread(values):
    "[low, mean, high] over seeds, or the only value."
    return interval(values) if len(values) > 1 else round(values[0], 4)


def flips(learners, keys, labels):
    "For each change: how many right answers become wrong when pictures are drawn again, and how many name the donor."
    vocab = learners[0].dls.vocab
    looking = learners[0]  # the body is the same in all
    before = features_of(looking, [laboratory_drawing(*key).picture for key in keys])
    right = [answers(learn, before).argmax(1) == labels for learn in learners]
    found = {}
    for part in one_thing_changed(*keys[0]):
        drawn = [laboratory_drawing(*key, one_thing_changed(*key)[part]).picture for key in keys]
        donors = torch.tensor([vocab.o2i[donor_for(*key, part)] if part in ("ears", "coat") else -1 for key in keys])
        features = features_of(looking, drawn)
        answered = [answers(learn, features).argmax(1) for learn in learners]
        counts = [int((now[was] != labels[was]).sum()) for now, was in zip(answered, right)]
        known = [int(was.sum()) for was in right]
        donated = [int((now[was] == donors[was]).sum()) for now, was in zip(answered, right)]
        found[f"flips by {part}"] = {"value": spread([flip / n for flip, n in zip(counts, known)]), "flips": counts,
                                     "right before": known, "names the donor": donated}
        print(part, found[f"flips by {part}"], flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dry-run", action="store_true", help="few pictures, store nothing")
    args = parser.parse_args()
    at_start = machine()
    per_breed = 2 if args.dry_run else PER_BREED
    path = get_pets("paper")
    profile = replace(profile_for("paper"), precision="fp32")
    learners = [trained(path, profile, seed) for seed in range(FIRST, FIRST + args.seeds)]
    vocab = list(learners[0].dls.vocab)
    with TemporaryDirectory() as folder:
        lab = make_paperpets(folder, per_breed, SEED)
        files = [lab / f"images/{breed}_{number}.jpg" for breed in vocab for number in range(1, per_breed + 1)]
        features = features_of(learners[0], files)
    labels = torch.arange(len(vocab)).repeat_interleave(per_breed)
    activations = [answers(learn, features) for learn in learners]
    errors = [float((one.argmax(1) != labels).float().mean()) for one in activations]
    print("errors", errors, flush=True)
    few = {what: [(breed, number) for breed in vocab for number in range(1, min(n, per_breed) + 1)]
           for what, n in (("heat", HEAT), ("redrawn", REDRAWN))}
    results = {"error": {"value": spread(errors), "each": [round(error, 4) for error in errors]}}
    results |= looks(learners, path, profile, [laboratory_drawing(*key) for key in few["heat"]])
    redrawn = torch.tensor([vocab.index(breed) for breed, _ in few["redrawn"]])
    results |= flips(learners, few["redrawn"], redrawn)
    print({name: row["value"] for name, row in results.items()})
    if args.dry_run:
        return
    heads = [parts_of(learn.model).rest[-1].state_dict() for learn in learners]
    arrays = {"weight": torch.stack([head["weight"] for head in heads]),
              "bias": torch.stack([head["bias"] for head in heads]),
              "answers": torch.stack([one.argmax(1) for one in activations]).to(torch.uint8),
              "log_probabilities": activations[0].log_softmax(1).half(), "class_means": class_means(learners[0])}
    arrays = {name: array.cpu().contiguous() for name, array in arrays.items()}
    write_whole(RESULTS / "laboratory.safetensors", as_safetensors(arrays))
    save("laboratory", at_start, {"arch": profile.arch, "size": profile.size, "seeds": args.seeds, "first_seed": FIRST,
                                  "laboratory_seed": SEED, "per_breed": per_breed, "heat_per_breed": HEAT,
                                  "redrawn_per_breed": REDRAWN, "vocab": vocab}, results)


if __name__ == "__main__":
    main()
