"""How fast a body looks at pictures: `body_features` against the body alone and against fastai's own pipeline.

    python bench/features.py [--photos FOLDER] [--runs 3] [--dry-run]

Pictures a second, the median of so many runs, which take turns: the body alone on noise, in float32 in mini-batches
of 32, then as `fastest_pass` chooses, with all cores at one mini-batch and with a mini-batch for each core; random
views by one interpolation; the same pictures through fastai's loader with its augmentation; and pictures as validation
sees them. With the most memory of the process (resident set, so far). Where onnx and onnxruntime are installed, the
body alone in onnxruntime too, in float32, a mini-batch for each core.
Written to bench/results/features.json.
"""
import argparse
import io
import resource
import time
from statistics import median

import torch
from table import save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls
from petbreeds.experiments import machine
from petbreeds.layout import get_pets
from petbreeds.networks import at_rest
from petbreeds.transfer import body_features
from petbreeds.transfer.features import own_batches, parts_of
from petbreeds.transfer.views import fastest_pass, in_threads, through_body

try:
    import onnxruntime
except ImportError:  # which nothing else here needs
    onnxruntime = None

NOISE = 256  # pictures that the body alone looks at


def rate(work):
    "Pictures a second of something that returns how many it looked at."
    start = time.perf_counter()
    n = work()
    return n / (time.perf_counter() - start)


def body_alone(learn, precision, bs, over=map):
    "The body on noise that lies in memory."
    size = learn.dls.profile.size
    pictures = torch.randn(bs, 3, size, size, device=learn.dls.device)

    def look(_):
        through_body(learn.model[0], pictures, precision)
    return bs * len(list(over(look, range(NOISE // bs))))


def in_onnxruntime(learn, bs):
    "The body on the same noise in onnxruntime: what looks at mini-batches on one core each."
    size = learn.dls.profile.size
    pictures = torch.randn(bs, 3, size, size)
    exported = io.BytesIO()
    torch.onnx.export(learn.model[0], (pictures,), exported, input_names=["pictures"], dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])

    def look(_):
        session.run(None, {"pictures": pictures.numpy()})
    return lambda: bs * len(list(in_threads(look, range(NOISE // bs))))


def fastai_views(learn, precision):
    "Training pictures through the loader's own augmentation, then through the body."
    body, pool, _ = parts_of(learn.model)
    n = 0
    for batch in own_batches(learn.dls, "train", 1):
        pictures, labels = batch()
        pool(through_body(body, pictures, precision))
        n += len(labels)
    return n


def measure(path, runs):
    "Pictures a second of each way, for one source."
    learn = pet_learner(pet_dls(path))
    with at_rest(learn.model):
        best = fastest_pass(learn.model[0], learn.dls.profile.size)
        ways = {"body_fp32": lambda: body_alone(learn, "fp32", 32),
                "body_shared": lambda: body_alone(learn, *best),
                "body_best": lambda: body_alone(learn, *best, over=in_threads),
                "random_views": lambda: len(body_features(learn).y),
                "fastai_views": lambda: fastai_views(learn, best.precision),
                "still": lambda: len(body_features(learn, views=None).y)}
        if onnxruntime:
            ways["body_onnx"] = in_onnxruntime(learn, best.bs)
        found = {name: [] for name in ways}
        for _ in range(runs + 1):  # the first round warms up
            for name, work in ways.items():
                found[name].append(rate(work))
    rates = {name: round(median(values[1:])) for name, values in found.items()}
    rates["memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
    return {"network": f"{learn.profile.arch}, {learn.profile.size} px", "pictures": len(learn.dls.train_ds),
            "best": f"{best.precision}, {best.bs}", **rates}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", help="a folder of photographs, as get_pets takes it")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    at_start = machine()
    results = {"drawings": measure(get_pets("paper"), args.runs)}
    if args.photos:
        results["photographs"] = measure(get_pets(args.photos), args.runs)
    for name, found in results.items():
        print(name, found)
    if not args.dry_run:
        save("features", at_start, {"runs": args.runs}, results)


if __name__ == "__main__":
    main()
