"""Keeps what the scripts beside it measured, and writes it into bench/README.md, a table for each file of
bench/results/.

    python bench/table.py
"""
import datetime
import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from petbreeds.experiments import repeat, versions
from petbreeds.files import write_whole
from petbreeds.intervals import mean_interval

HERE = Path(__file__).parent
RESULTS = HERE / "results"
RUNS = RESULTS / "runs"  # a bundle for each repeated experiment, a row for each seed
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def interval(values):
    "[low, mean, high] of the 95 % interval of a mean, as the tables have it."
    mean, low, high = mean_interval(values)
    return [round(value, 4) for value in (low, mean, high)]


def save(name, at_start, settings, results):
    "Write a result with date, machine (as it was at the start), versions and settings."
    today = datetime.date.today().isoformat()
    found = {"date": today, **at_start, **versions(), **settings, "results": results}
    RESULTS.mkdir(exist_ok=True)
    write_whole(RESULTS / f"{name}.json", json.dumps(found, indent=1) + "\n")


def repeated(name, run, seeds, settings, again=False, dry_run=False):
    "The result of each seed, out of the bundle of an earlier call where it has them and `again` is False."
    if dry_run:
        with TemporaryDirectory() as folder:
            return repeat(run, seeds, Path(folder) / f"{name}.json", **settings)["results"]
    file = RUNS / f"{name}.json"
    if again:
        file.unlink(missing_ok=True)
    return repeat(run, seeds, file, **settings)["results"]


def rows_of(results):
    "The rows of a result, each a dict; where they are named, the name is in it."
    return results if isinstance(results, list) else [{"name": name, **row} for name, row in results.items()]


def row_of_odd_things(results):
    "One row for all odd pictures or folders."
    return [{**results, "wrong": len(results["wrong"])}]


def rows_of_commands(results):
    "A row for each command that was killed."
    return [{"name": name, **row, "accidents": sum(row["outcomes"].values()), "wrong": len(row["wrong"])}
            for name, row in results.items() if isinstance(row, dict)]


@dataclass(frozen=True)
class Table:
    "How the file of one script is shown."
    heading: str
    columns: dict  # heading of a column: key of a row
    settings: str = ""  # what the run's settings were; keys of the file in braces
    rows: object = rows_of  # function of the results


FINE_TUNING = {"way": "way", "seconds": "seconds", "of the seconds of fine_tune(2)": "ratio", "error": "error",
               "of the error of fine_tune(2)": "error_ratio"}
ON_SETTINGS = ("{device}, torch {torch}; {arch} at {size} px, {training} training, {validation} validation and {test} "
               "test pictures, mini-batches of {bs} in plain fastai and of {bs_petbreeds} here, {seeds} seeds. ")
HOW_COMPARED = ("Means, with their 95 % intervals over seeds; ratios are taken within a seed, and the budget is that "
                "of one view.")

ODD = {"outcomes": "outcome", "kinds": "kind", "wrong": "wrong", "slowest (s)": "slowest_seconds",
       "most memory (MB)": "most_mb", "minutes": "minutes"}
WHAT_IS_WRONG = "Wrong would be a crash, a hang, noise, more than 1 GB, "

TABLES = {  # name of the file: its table; cross_entropy.py writes its own
    "startup": Table("Startup", {
        "process": "name", "median (s)": "seconds", "slowest (s)": "slowest",
        "over an empty process (s)": "over_empty", "budget (s)": "budget"}),
    "drawing": Table("Drawing", {
        "what": "name", "images/s": "images_per_second", "undisturbed": "undisturbed", "s": "seconds",
        "memory (MB)": "memory_mb"},
        "Budgets: 80 images a second with two at a time, 500 MB."),
    "training": Table("Training, pictures a second", {
        "network": "name", "device": "device", "body frozen": "frozen", "all layers": "all layers"},
        "torch {torch}."),
    "pages": Table("The site", {
        "what": "name", "median (s)": "seconds", "slowest (s)": "slowest", "budget (s)": "budget"}),
    "presizing": Table("Presizing and the error", {
        "way": "way", "side of the items (px)": "item_size", "error": "error",
        "more than presized": "more_than_presized"},
        "{device}, {arch} from {weights}, {epochs} epochs, {training} training and {test} test pictures, {seeds} "
        "seeds; mean error with its 95 % interval, and how much it is above that of the presized run with the same "
        "seed."),
    "papernet_archs": Table("Small networks to pretrain", {
        "network": "name", "precision": "precision", "images/s": "images_per_second",
        "pictures seen": "pictures_seen", "accuracy on imaginary breeds": "accuracy",
        "error of a probe on PaperPets": "probe_error_on_paperpets", "file (MB)": "file_mb"},
        "torch {torch}, timm {timm}, {seconds} s of training planned for each, {breeds} imaginary breeds, {size} px."),
    "papernet_effect": Table("What PaperNet is worth", {
        "pictures": "pictures", "weights": "weights", "epochs": "epochs", "training pictures": "training",
        "test pictures": "test", "error": "error"},
        "torch {torch}, PaperNet {papernet} ({arch}), {seeds} seeds; mean error with its 95 % interval."),
    "papernet_photos": Table("PaperNet on photographs", {
        "features": "name", "accuracy": "accuracy", "leave-one-out": "leave_one_out"},
        "PaperNet {papernet}; {photographs} photographs of {breeds} breeds, {splits} splits with {training} to learn "
        "from and {held_back} to tell apart; chance {chance}; accuracy with a 95 % interval over photographs. Leaving "
        "one picture out leaves its breed with one picture fewer than the others, so that counting alone is never "
        "right there."),
    "features": Table("Features, pictures a second", {
        "pictures": "name", "network": "network", "how many": "pictures", "body alone, fp32, 32": "body_fp32",
        "fastest pass": "best", "body alone, so, all cores at one": "body_shared", "one for each core": "body_best",
        "so in onnxruntime, fp32": "body_onnx",
        "random views": "random_views", "fastai's views": "fastai_views", "as in validation": "still",
        "memory (MB)": "memory_mb"},
        "torch {torch}, the median of {runs}. Random views should reach 80 % of the body alone in fp32 on drawings, "
        "and 75 % of its best rate on photographs."),
    "transfer": Table("Transfer", {"what": "name", "error": "error"},
                      "torch {torch}, {arch} at {size} px, {head_epochs} epochs of the head, {seeds} seeds; mean error "
                      "on test pictures with its 95 % interval."),
    "laboratory": Table("The laboratory set: error, heat, flipped answers", {"what": "name", "value": "value"},
                        "torch {torch}, {arch} at {size} px, {seeds} seeds; {per_breed} drawings of each breed for the "
                        "error, {heat_per_breed} for the heat, {redrawn_per_breed} drawn again. Heat: its share in a "
                        "region over the region's share of the area. Flips: the share of right answers that become "
                        "wrong when one thing changes. Means with their 95 % intervals over seeds."),
    "lr_finder": Table("Learning rates", {"what": "name", "rate": "rate", "error": "error"},
                       "torch {torch}, papernet; a head on features with {head_seeds} seeds, fine_tune(2) on pictures "
                       "of 64 px with {whole_seeds}; mean error on test pictures and mean of suggested rates, "
                       "with their 95 % intervals."),
    "fine_tuning_drawings": Table("Learning from drawings: a head on features against plain fastai",
                                  FINE_TUNING, ON_SETTINGS + HOW_COMPARED),
    "fine_tuning_photographs": Table("Learning from photographs: a head on features against plain fastai",
                                     FINE_TUNING, ON_SETTINGS + "The split is drawn anew for each seed. "
                                     + HOW_COMPARED),
    "fuzz_pictures": Table("Odd pictures", {"pictures": "n", **ODD}, "Seeds from {first} on. " + WHAT_IS_WRONG
                           + "a picture that one part of the package uses and another refuses.", row_of_odd_things),
    "fuzz_folders": Table("Odd folders", {"folders": "n", **ODD}, "Seeds from {first} on. " + WHAT_IS_WRONG
                          + "an error that is not one line, a picture passed over in silence.", row_of_odd_things),
    "kills": Table("Kills and full disks", {"command": "name", "undisturbed (s)": "undisturbed_seconds",
                                            "accidents": "accidents", "what they did": "outcomes", "wrong": "wrong"},
                   "{kills} kills and {disks} disks over all commands, seed {seeds[0]}. \"limit\": no file could "
                   "grow beyond a random size; \"disk\": a memory disk of a random size. Wrong would be a restart that "
                   "ends in another result, something finished that is lost, a full disk without a line about it.",
                   rows_of_commands),
}


def cell(value):
    "A value as a reader wants it; of [low, mean, high] the mean and the interval."
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return "{1:.3f} ({0:.3f} to {2:.3f})".format(*value) if isinstance(value, list) else str(value)


def table(name):
    "A section for results/{name}.json, in lines."
    shown = TABLES[name]
    found = json.loads((RESULTS / f"{name}.json").read_text())
    for part in ("machine", "versions", "config"):  # as a bundle keeps them
        found |= found.get(part, {})
    machine = ("{date}, {cores} cores of {processor}, load before {load_before}, Python {python}, NumPy {numpy}, "
               "Pillow {pillow}.").format(**found)
    rows = [[cell(row.get(key)) for key in shown.columns.values()] for row in shown.rows(found["results"])]
    lines = [f"| {' | '.join(line)} |" for line in [shown.columns, ["---"] * len(shown.columns), *rows]]
    return [f"## {shown.heading}", "", f"{machine} {shown.settings.format(**found)}".strip(), "", *lines, ""]


def main():
    tables = [line for name in TABLES if (RESULTS / f"{name}.json").exists() for line in table(name)]
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    write_whole(readme, "\n".join([before + BEGIN, "", *tables, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
