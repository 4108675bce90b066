"""What learning from a few pictures takes, and what error it leaves: a head on features against plain fastai.

    python bench/fine_tuning.py [--photos FOLDER] [--seeds 5] [--ways stock_2 head_1] [--again]
    python bench/fine_tuning.py --data SMALL_FOLDER --seeds 1 --ways head_1 --dry-run    a smoke test; stores nothing

stock_2, stock_5   fastai as its documentation has it, `fine_tune` for so many epochs after a frozen one
head_1, 2 and 4    `pet_learner` and `fit_head` with so many views of each picture
head_then_all      `fit_head`, then an epoch of all layers at small rates, batch normalisation at rest
regression         scikit-learn's logistic regression on features of the training pictures as validation sees them

The ways take turns within a seed, each seed begins with another one, and ratios are those to stock_2 with the same
seed, which is always among them. The clock runs from the learner, made before, to the end of fitting, with opening of
pictures, features and the way's own validation where its learner has one; errors are those on the test pictures,
asked for after the clock.

FOLDER holds photographs in the layout of the Oxford archive: of each breed three to learn from and one to tell,
drawn anew for each seed. Drawings come first, then photographs; each has a file in bench/results/. Each seed of each
way is kept in bench/results/runs/ as soon as it is done; the table has the ways of the latest call."""
import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

from fastai.torch_core import default_device
from fastai.vision.all import (
    CategoryBlock,
    ColReader,
    DataBlock,
    ImageBlock,
    Resize,
    aug_transforms,
    error_rate,
    set_seed,
    vision_learner,
)
from table import interval, repeated, save

from petbreeds.baseline import pet_learner
from petbreeds.blocks import batch_size, pet_dls, pet_rows, profile_for, split_by_part
from petbreeds.experiments import machine
from petbreeds.interpretation.results import results_of
from petbreeds.layout import get_pets
from petbreeds.transfer import BatchNormAtRest, body_features, fit_head

FIRST = "stock_2"  # what the others are compared with
ALL_LAYERS = slice(1e-5, 1e-4)  # rates of the epoch after `fit_head`, from the first layers to the last
LEARNT, TOLD = 3, 1  # photographs of each breed
BUDGETS = {  # of `head_1`: share of the seconds and of the error of `FIRST`
    "drawings": (1 / 12, 2 / 3),
    "photographs": (1 / 10, 1 / 3)}


def ours(path, profile, seed):
    "A learner of this course."
    return pet_learner(pet_dls(path, profile, seed=seed))


def plain(path, profile, seed):
    "A learner as fastai's own documentation builds it."
    set_seed(seed, reproducible=True)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock), get_x=ColReader("path"), get_y=ColReader("label"), splitter=split_by_part,
        item_tfms=Resize(profile.item_size), batch_tfms=aug_transforms(size=profile.size, min_scale=0.75))
    dls = block.dataloaders(pet_rows(path, seed=seed), path=path, bs=profile.bs)
    return vision_learner(dls, profile.arch, metrics=error_rate, path=".")


def head_then_all(learn):
    "A head on features, then all layers."
    fit_head(learn)
    learn.unfreeze()
    learn.fit_one_cycle(1, ALL_LAYERS, cbs=BatchNormAtRest())


def classifier():
    "Scikit-learn's logistic regression on standardised numbers."
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise SystemExit("the way 'regression' needs scikit-learn: pip install scikit-learn") from None
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def regression(learn):
    "The classifier, fitted on features of the training pictures."
    train = body_features(learn, views=None)
    return classifier().fit(train.x.numpy(), train.y.numpy())


def error_of_network(learn, _):
    "The share of test pictures that the network gets wrong."
    return results_of(learn, "test").error_rate


def error_of_regression(learn, fitted):
    "The same of a classifier on features."
    test = body_features(learn, part="test")
    return float(1 - fitted.score(test.x.numpy(), test.y.numpy()))


@dataclass(frozen=True)
class Way:
    "One way to learn."
    name: str
    start: Callable  # of folder, profile and seed: the learner
    fit: Callable  # of the learner; its seconds count
    error: Callable = error_of_network  # of the learner and of what `fit` returned


WAYS = {
    FIRST: Way("plain fastai, fine_tune(2)", plain, lambda learn: learn.fine_tune(2)),
    "stock_5": Way("plain fastai, fine_tune(5)", plain, lambda learn: learn.fine_tune(5)),
    "head_1": Way("fit_head, 1 view", ours, partial(fit_head, views=1)),
    "head_2": Way("fit_head, 2 views", ours, partial(fit_head, views=2)),
    "head_4": Way("fit_head, 4 views", ours, partial(fit_head, views=4)),
    "head_then_all": Way("fit_head, 1 view, then all layers", ours, head_then_all),
    "regression": Way("logistic regression on features", ours, regression, error_of_regression)}


def split_anew(folder, scratch, seed):
    "A folder with lists of its own beside a link to the photographs: some of each breed to learn from and to tell."
    path = Path(scratch) / f"split_{seed}"
    (path / "annotations").mkdir(parents=True, exist_ok=True)
    if not (path / "images").exists():
        (path / "images").symlink_to((folder / "images").absolute(), target_is_directory=True)
    drawn = pet_rows(folder).sample(frac=1, random_state=seed)
    place = drawn.groupby("label").cumcount()
    lists = {"trainval": drawn[place < LEARNT], "test": drawn[place.between(LEARNT, LEARNT + TOLD - 1)]}
    for name, rows_in in lists.items():
        names = sorted(Path(file).stem for file in rows_in["file"])
        (path / "annotations" / f"{name}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return path


def one_run(way, path_of, profile, seed, **_):
    "Seconds of fitting, and the error after it."
    learn = way.start(path_of(seed), profile, seed)
    with learn.no_bar(), learn.no_logging():
        since = time.perf_counter()
        fitted = way.fit(learn)
        seconds = time.perf_counter() - since
        error = way.error(learn, fitted)
    print(f"seed {seed}, {way.name}: {seconds:.1f} s, error {error:.4f}", flush=True)
    return {"seconds": round(seconds, 3), "error": round(error, 5)}


def rows(found, budget):
    "One dict for each way, from {way: [{seconds, error}, ...]} with the seeds in the same order, and the budget."
    def ratio(key, what):
        firsts = [first[what] for first in found[FIRST]]
        if (key == FIRST) or not all(firsts):
            return None
        return interval([mine[what] / first for mine, first in zip(found[key], firsts)])

    table = [{"way": WAYS[key].name, "seconds": round(mean(row["seconds"] for row in runs), 1),
              "ratio": ratio(key, "seconds"), "error": interval([row["error"] for row in runs]),
              "error_ratio": ratio(key, "error")} for key, runs in found.items()]
    seconds, error = budget
    return [*table, {"way": "budget", "seconds": None, "ratio": round(seconds, 3), "error": None,
                     "error_ratio": round(error, 3)}]


def described(path, profile):
    "What all runs on some pictures share, for the table."
    counts = pet_rows(path)["part"].value_counts()
    training = int(counts["train"])
    return {"device": default_device().type, "arch": profile.arch, "size": profile.size, "bs": profile.bs,
            "bs_petbreeds": batch_size(profile, training), "training": training,
            "validation": int(counts.get("valid", 0)), "test": int(counts["test"])}


def in_turn(keys, seed):
    "The ways in the order of a seed: each seed begins with another one."
    first = seed % len(keys)
    return [*keys[first:], *keys[:first]]


def compare(pictures, path_of, args):
    "All ways on one kind of pictures, seed by seed; stores the table unless the run is dry."
    at_start = machine()
    profile = profile_for(path_of(0))
    settings = described(path_of(0), profile)
    found = {key: [] for key in WAYS if key in args.ways}
    for seed in range(args.seeds):
        for key in in_turn(list(found), seed):
            run = partial(one_run, WAYS[key], path_of, profile)
            anew = args.again and (seed == 0)  # drops the bundle, once
            found[key] += repeated(f"fine_tuning_{pictures}_{key}", run, [seed], settings, anew, args.dry_run)
    table = rows(found, BUDGETS[pictures])
    if not args.dry_run:
        save(f"fine_tuning_{pictures}", at_start, settings | {"seeds": args.seeds}, table)
    for row in table:
        print(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of photographs; without: drawings alone")
    parser.add_argument("--data", help="a drawn set; without: the default one")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="without: all")
    parser.add_argument("--again", action="store_true", help="run the seeds that are stored, too")
    parser.add_argument("--dry-run", action="store_true", help="store nothing")
    args = parser.parse_args()
    if args.seeds < 2 and not args.dry_run:
        parser.error("an interval needs --seeds 2 or more; --dry-run stores nothing")
    args.ways = {FIRST, *args.ways}
    if "regression" in args.ways:
        classifier()  # better missed now than in half an hour
    drawn = get_pets(args.data if args.data else "paper")
    compare("drawings", lambda seed: drawn, args)
    if args.photos:
        with TemporaryDirectory() as scratch:
            compare("photographs", partial(split_anew, args.photos, scratch), args)


if __name__ == "__main__":
    main()
