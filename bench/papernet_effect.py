"""What PaperNet is worth: the error after the same epochs on the same pictures, from its weights and from random ones.

    python bench/papernet_effect.py [--seeds 5] [--epochs 3] [--long 16] [--again]
    python bench/papernet_effect.py --seeds 1 --epochs 1 --long 2 --dry-run    a smoke test; stores nothing

From PaperNet plain fastai's `fine_tune(2)`, one frozen and two unfrozen epochs. From random weights three unfrozen
epochs (a frozen random body would stay random) with the plain head and the rate of `--from-scratch`, and sixteen of
those. On the default PaperPets (20 training pictures a breed) and on a set with 10. A seed decides head, order and
augmentation; errors are those on the test pictures. Each seed is kept in bench/results/runs/ as soon as it is done."""
import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from fastai.vision.all import error_rate, set_seed, vision_learner
from table import interval, repeated, save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import PROFILES, pet_dls, with_options
from petbreeds.experiments import machine
from petbreeds.interpretation.results import confusion, most_confused, results_of
from petbreeds.layout import get_pets, pets_table
from petbreeds.papernet import papernet_info
from petbreeds.paperpets import make_paperpets

EPOCHS = 3
LONG = 16  # epochs from random weights, which need more
SMALL_SET = 30  # pictures of each breed, of which a third are trained on
PAIRS = 8  # of breeds that were confused, kept for each run and for the table


def trained(path, weights, seed, epochs):
    "A learner after so many epochs."
    profile = with_options(PROFILES["paper"], from_scratch=weights == "none")
    dls = pet_dls(path, profile, seed=seed)
    if weights == "none":
        learn = pet_learner(dls)
        train = partial(learn.fit_one_cycle, epochs, profile.schedule.lr)
    else:
        set_seed(seed, reproducible=True)
        learn = vision_learner(dls, profile.arch, metrics=error_rate)
        train = partial(learn.fine_tune, epochs - 1)
    with learn.no_bar(), learn.no_logging():
        train()
    return learn


def trainings(epochs, long):
    "Weights and epochs of each training."
    return [("papernet", epochs), ("none", epochs), ("none", long)]


def one_seed(path, seed, epochs, long, **_):
    "The error of each training, and which breeds were taken for which."
    found = {}
    for weights, n_epochs in trainings(epochs, long):
        results = results_of(trained(path, weights, seed, n_epochs), "test")
        found[f"{weights}, {n_epochs} epochs, error"] = round(results.error_rate, 4)
        found[f"{weights}, {n_epochs} epochs, confused"] = most_confused(confusion(results), results.vocab, n=None)
        print(f"seed {seed}, {weights}, {n_epochs} epochs: error {results.error_rate:.4f}", flush=True)
    return found


def rows(name, path, found, epochs, long):
    "A dict for each training, from a dict for each seed."
    counts = pets_table(path)["part"].value_counts()
    table = []
    for weights, n_epochs in trainings(epochs, long):
        errors = [row[f"{weights}, {n_epochs} epochs, error"] for row in found]
        wrong = Counter()
        for row in found:
            confused = row[f"{weights}, {n_epochs} epochs, confused"]
            wrong.update({(true, taken_for): n for true, taken_for, n in confused})
        table.append({"pictures": name, "weights": weights, "epochs": n_epochs, "training": int(counts["train"]),
                      "validation": int(counts.get("valid", 0)), "test": int(counts["test"]), "error": interval(errors),
                      "errors": errors, "most_confused": [[*pair, n] for pair, n in wrong.most_common(PAIRS)]})
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--long", type=int, default=LONG, help="epochs of a longer training from random weights")
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing, and use the small set only")
    args = parser.parse_args()
    at_start = machine()
    net = papernet_info()
    settings = {"papernet": net["sha256"][:12], "arch": net["arch"], "epochs": args.epochs,
                "long": args.long}
    table = []
    with TemporaryDirectory() as folder:
        sets = {} if args.dry_run else {"default": get_pets("paper")}
        sets["10 a breed"] = make_paperpets(Path(folder) / "ten", per_breed=SMALL_SET, seed=1)
        for name, path in sets.items():
            found = repeated(f"papernet_effect_{name.replace(' ', '_')}", partial(one_seed, path), range(args.seeds),
                             settings, again=args.again, dry_run=args.dry_run)
            table += rows(name, path, found, args.epochs, args.long)
    if not args.dry_run:
        save("papernet_effect", at_start, settings | {"seeds": args.seeds}, table)
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
