"Writes what bench/results/ holds into bench/README.md, a table for each file, between the two markers."
import json
from pathlib import Path

HERE = Path(__file__).parent
BEGIN, END = "<!-- results -->", "<!-- end of results -->"
# file: (heading, what the settings of the run were, {column of the table: key of a row}); chapter 6 needs a table of its own kind
TABLES = {
    "startup": ("Startup", "", {
        "process": "name", "median (s)": "seconds", "slowest (s)": "slowest", "over an empty process (s)": "over_empty", "budget (s)": "budget"}),
    "drawing": ("Drawing", "Budgets: 80 images a second with two at a time, 500 MB, 40 s for the default set.", {
        "what": "name", "images/s": "images_per_second", "undisturbed": "undisturbed", "s": "seconds", "memory (MB)": "memory_mb"}),
    "training": ("Training, pictures a second", "torch {torch}.", {
        "network": "name", "device": "device", "body frozen": "frozen", "all layers": "all layers"}),
    "pages": ("The site", "", {"what": "name", "median (s)": "seconds", "slowest (s)": "slowest", "budget (s)": "budget"}),
    "presizing": ("Presizing and the error", "{device}, {arch} from {weights}, {epochs} epochs, {training} training and {validation} validation "
                  "pictures, {seeds} seeds; mean error with its 95 % interval, and how much it is above that of the presized run with the same seed.", {
        "way": "way", "side of the items (px)": "item_size", "error": "error", "more than presized": "more_than_presized"}),
    "papernet_archs": ("Small networks to pretrain", "torch {torch}, timm {timm}, {seconds} s of training planned for each, {breeds} imaginary breeds, {size} px.", {
        "network": "name", "precision": "precision", "images/s": "images_per_second", "pictures seen": "pictures_seen",
        "accuracy on imaginary breeds": "accuracy", "error of a probe on PaperPets": "probe_error_on_paperpets", "file (MB)": "file_mb"}),
    "papernet_effect": ("What PaperNet is worth", "torch {torch}, PaperNet {papernet} ({arch}), {epochs} epochs, {seeds} seeds; mean error with its 95 % interval.", {
        "pictures": "pictures", "weights": "weights", "training pictures": "training", "validation pictures": "validation", "error": "error"}),
    "papernet_photos": ("PaperNet on photographs", "PaperNet {papernet}; {photographs} photographs of {breeds} breeds, {splits} splits with {training} to "
                        "learn from and {held_back} to tell; chance {chance}; accuracy with a 95 % interval over photographs. Leave-one-out leaves the breed "
                        "in question fewer pictures than the others, so that chance is near 0 there.", {
        "features": "name", "accuracy": "accuracy", "leave-one-out": "leave_one_out"}),
    "fine_tuning": ("Fine-tuning against plain fastai", "torch {torch}; {arch}, {size} px, mini-batches of {bs}, {freeze_epochs} frozen epoch and {epochs} "
                    "with all layers; {seeds} seeds. Times as fast: least, median and most of the seeds; difference of the errors with its 95 % interval. "
                    "The budgets are missed: this network gains little from another number format here, and fastai trains the batch normalisation of a "
                    "frozen body too, so that gradients pass through all of it either way.", {
        "what": "name", "petbreeds": "petbreeds", "plain fastai": "plain", "times as fast": "ratio", "plain minus ours": "difference", "budget": "budget"}),
}


def rows_of(results):
    "The rows of a result, each a dict; where they are named, the name is in it."
    return results if isinstance(results, list) else [{"name": name, **row} for name, row in results.items()]


def cell(value):
    "A value as a reader wants it; of [low, mean, high] the mean and the interval."
    return "" if value is None else "{1:.3f} ({0:.3f} to {2:.3f})".format(*value) if isinstance(value, list) else str(value)


def table(name):
    "A section for results/{name}.json, in lines."
    heading, settings, columns = TABLES[name]
    found = json.loads((HERE / f"results/{name}.json").read_text())
    machine = "{date}, {cores} cores of {processor}, load before {load_before}, Python {python}, NumPy {numpy}, Pillow {pillow}.".format(**found)
    rows = [[cell(row.get(key)) for key in columns.values()] for row in rows_of(found["results"])]
    return [f"## {heading}", "", f"{machine} {settings.format(**found)}".strip(), "",
            *[f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *rows]], ""]


def main():
    tables = [line for name in TABLES if (HERE / f"results/{name}.json").exists() for line in table(name)]
    readme = HERE / "README.md"
    before, _, rest = readme.read_text().partition(BEGIN)
    readme.write_text("\n".join([before + BEGIN, "", *tables, END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
