"""The first page: what its notebook does not say because only the site has it. Buttons and the measured result come
under the opening, the sample report below the map of the chapters.

    make sample     trains, and takes the run as the sample: its report and its numbers, into docs/sample/
"""

import json
import shutil
import sys
from pathlib import Path

import chapter_map
import contents
import publishing

SAMPLE = Path(__file__).parent / "sample"
SHOWN = ("architecture", "seed", "metrics", "split")  # of run.json: what the page speaks of
OPENING = 2  # cells of the notebook: title, and what the course is
ADDRESS = "sample/report.html"


def take(run: Path):
    "Copy a run's report, and of its numbers those that the page shows."
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    SAMPLE.mkdir(exist_ok=True)
    shutil.copy(run / "report.html", SAMPLE)
    kept = {name: about[name] for name in SHOWN}
    (SAMPLE / "run.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def measured() -> str:
    "The result of the sample, in a sentence."
    about = json.loads((SAMPLE / "run.json").read_text(encoding="utf-8"))
    metrics, split = about["metrics"], about["split"]
    low, high = metrics["interval"]
    return (
        f"After training on {split['n_train']:,} pictures, the network of this course misclassifies "
        f"**{100 * metrics['error_rate']:.1f}\u00a0%** of {metrics['n']:,} pictures that it has never seen "
        f"(95\u00a0% interval {100 * low:.1f} to {100 * high:.1f}\u00a0%; one run, measured)."
    )


def actions() -> str:
    first = next(page for page in contents.PARTS["Data"])
    return (
        '<p class="hero-actions">'
        f'<a class="hero-main" href="{first}.html">Start chapter 1</a> <a href="{ADDRESS}">See a report</a></p>'
    )


def below_opening() -> str:
    return f"**What comes out.** {measured()}\n\n{actions()}"


def below_map() -> str:
    return (
        f"## A report\n\nTraining ends with a report: the error on the test pictures with its interval, the curves, "
        f"the breeds that get confused, and the worst mistakes. {measured()}\n\n"
        f'<p class="hero-actions"><a href="{ADDRESS}">See this report</a></p>'
    )


def in_browser(settings) -> str:
    "The way without an install, where the repository has an address."
    if not publishing.has_address(settings):
        return ""
    return (
        "Or begin without installing anything: the rocket at the top of a chapter opens it in Colab or Binder, where "
        "its first cell installs the package."
    )


def arrange(cells, made, notebooks: dict, settings):
    """The cells of the first page: the map in place of the plain list, what the site adds, and nothing after the
    exported cell, which only tests the package. `made` makes a cell of text."""
    out = []
    for n, (i, cell) in enumerate(cells):
        source = cell["source"]
        if cell["cell_type"] == "markdown" and source.startswith(chapter_map.HEADING):
            out += [(i, {**cell, "source": chapter_map.markdown(notebooks)}), (i, made(below_map()))]
            continue
        out.append((i, cell))
        if n == OPENING - 1:
            out.append((i, made(below_opening())))
        if cell["cell_type"] == "code" and "import *" in source:
            break
        if source.startswith("## Run it yourself") and in_browser(settings):
            out.append((i, made(in_browser(settings))))
    return out


def copy_sample(app, error):
    if not error and app.builder.format == "html":
        (Path(app.outdir) / "sample").mkdir(exist_ok=True)
        shutil.copy(SAMPLE / "report.html", Path(app.outdir) / ADDRESS)


def setup(app):
    app.connect("build-finished", copy_sample, priority=400)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    take(Path(sys.argv[1]))
