"""What PaperNet is worth: the error after the same epochs on the same pictures, from its weights and from random ones.

    python bench/papernet_effect.py [--seeds 5] [--epochs 3] [--again]
    python bench/papernet_effect.py --seeds 1 --epochs 1 --dry-run    a smoke test; stores nothing

One frozen and two unfrozen epochs from PaperNet, three unfrozen ones from random weights (a frozen random
body would stay random), on the default PaperPets (20 training pictures a breed) and on a set with 10. A seed
decides head, order and augmentation; errors are those on the test pictures. Each seed is kept in
bench/results/runs/ as soon as it is done."""
import argparse
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from table import interval, repeated, save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import PROFILES, pet_dls, with_options
from petbreeds.experiments import machine
from petbreeds.interpretation.results import confusion, most_confused, results_of
from petbreeds.layout import get_pets, pets_table
from petbreeds.papernet import papernet_info
from petbreeds.paperpets import make_paperpets

WEIGHTS = ("papernet", "none")
EPOCHS = 3
LR = 4e-3  # of fine-tuning
SMALL_SET = 30  # pictures of each breed, of which a third are trained on
PAIRS = 8  # of breeds that were confused, kept for each run and for the table


def trained(path, weights, seed, epochs):
    "A learner after so many epochs."
    profile = with_options(PROFILES["paper"], from_scratch=weights == "none")
    learn = pet_learner(pet_dls(path, profile, seed=seed))
    frozen = 1 if weights == "papernet" else 0
    with learn.no_bar(), learn.no_logging():
        if frozen:
            learn.fine_tune(max(epochs - frozen, 0), base_lr=LR, freeze_epochs=frozen)
        else:
            learn.fit_one_cycle(epochs, profile.schedule.lr)
    return learn


def one_seed(path, seed, epochs, **_):
    "Errors of both beginnings, and which breeds were taken for which."
    found = {}
    for weights in WEIGHTS:
        results = results_of(trained(path, weights, seed, epochs), "test")
        found[f"{weights}, error"] = round(results.error_rate, 4)
        found[f"{weights}, confused"] = most_confused(confusion(results), results.vocab, n=None)
        print(f"seed {seed}, {weights}: error {results.error_rate:.4f}", flush=True)
    return found


def rows(name, path, found):
    "A dict for each beginning, from a dict for each seed."
    counts = pets_table(path)["part"].value_counts()
    table = []
    for weights in WEIGHTS:
        errors = [row[f"{weights}, error"] for row in found]
        wrong = Counter()
        for row in found:
            wrong.update({(true, taken_for): n for true, taken_for, n in row[f"{weights}, confused"]})
        table.append({"pictures": name, "weights": weights, "training": int(counts["train"]),
                      "validation": int(counts.get("valid", 0)), "test": int(counts["test"]), "error": interval(errors),
                      "errors": errors, "most_confused": [[*pair, n] for pair, n in wrong.most_common(PAIRS)]})
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing, and use the small set only")
    args = parser.parse_args()
    at_start = machine()
    net = papernet_info()
    settings = {"papernet": net["sha256"][:12], "arch": net["arch"], "epochs": args.epochs}
    table = []
    with TemporaryDirectory() as folder:
        sets = {} if args.dry_run else {"default": get_pets("paper")}
        sets["10 a breed"] = make_paperpets(Path(folder) / "ten", per_breed=SMALL_SET, seed=1)
        for name, path in sets.items():
            found = repeated(f"papernet_effect_{name.replace(' ', '_')}", partial(one_seed, path), range(args.seeds),
                             settings, again=args.again, dry_run=args.dry_run)
            table += rows(name, path, found)
    if not args.dry_run:
        save("papernet_effect", at_start, settings | {"seeds": args.seeds}, table)
    for row in table:
        print(row)


if __name__ == "__main__":
    main()
