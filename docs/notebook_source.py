"""From a notebook of nbs/ to what myst-nb reads: nbdev's directives out of the code, alt text and captions onto
figures, quiz questions and reference entries as directives, the table of contents on the first page. Nothing is
executed.
"""
import ast
import json
import logging
import re
from pathlib import Path

import api
import chapter_map
import checks
import contents
import course
import pictures
import quiz
from checks import code_of, directives, text_of
from sphinx.util import logging as sphinx_logging

logger = sphinx_logging.getLogger(__name__)
HIDDEN = {"hide", "default_exp"}
SETTINGS = (
    "warnings.",
    "os.environ.",
    "plt.rcParams",
    "pd.options.",
    "torch.set_printoptions",
    "_all_",
)  # what a setup cell may call or set
ITALIC = re.compile(r"\*(?!\*)((?:[^*\n]|\n(?!\n))+)\*(?=\n\n|\s*$)")


def markdown_cell(text: str) -> dict:
    return {"cell_type": "markdown", "id": "", "metadata": {}, "source": text}


def split_caption(text: str) -> tuple[str, str]:
    """A first paragraph that is wholly in italics, and the rest: what stands below a figure in a notebook is its
    caption."""
    found = ITALIC.match(text)
    return (found[1], text[found.end():].lstrip()) if found else ("", text)


def plain(text: str) -> str:
    "Words with a backslash before each sign that Markdown would read."
    return re.sub(r"([\\`*_{}\[\]<>#$~|:])", r"\\\1", text)


def sets_up(statement: ast.stmt) -> bool:
    "Whether a statement only imports, or sets warnings, colours or the style of plots and numbers."
    if isinstance(statement, ast.With):
        return all(map(sets_up, statement.body))
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return ast.unparse(statement.value.func).startswith(SETTINGS)
    if isinstance(statement, ast.Assign):
        values = getattr(statement.value, "elts", [statement.value])
        colours = bool(values) and all(
            isinstance(value, ast.Constant) and str(value.value).startswith("#") for value in values
        )
        return colours or ast.unparse(statement.targets[0]).startswith(SETTINGS)
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def is_setup(cell: dict) -> bool:
    "Whether a code cell holds nothing that a reader came for: on its page it is folded."
    try:
        statements = ast.parse(code_of(cell)).body
    except SyntaxError:  # a magic command
        return False
    return bool(statements) and not cell["outputs"] and all(map(sets_up, statements))


def prompt(words: str) -> dict:
    "What stands on a fold, open or closed."
    return {"code_prompt_show": words, "code_prompt_hide": words}


def folded(cell: dict) -> dict:
    "A setup cell under a line that unfolds it."
    return {**cell, "metadata": {**cell["metadata"], "tags": ["hide-input"], "mystnb": prompt("Imports and settings")}}


def is_empty(output: dict) -> bool:
    "Whether an output is what a progress bar leaves behind: a result that shows nothing."
    return output["output_type"] == "display_data" and not any(map("".join, output["data"].values()))


def code_cell(cell: dict, caption: str) -> dict:
    """A code cell without directives: hidden, or with alt text and caption (else the alt text's first sentence) of
    its figure."""
    found, metadata = directives(cell), dict(cell["metadata"])
    if HIDDEN & found.keys() or not code_of(cell):
        metadata["tags"] = ["remove-cell"]
    elif "hide-input" in metadata.get("tags", []):  # the check below the reader's cell of an exercise
        metadata["mystnb"] = prompt("The check")
    if checks.has_picture(cell) and found.get("fig-alt"):
        caption = caption or plain(re.split(r"(?<=[.:])\s+(?=[A-Z])", found["fig-alt"])[0])
        plot = {"classes": "plot"} if "fig-paper" not in found and all(map(pictures.is_plot, cell["outputs"])) else {}
        metadata["mystnb"] = metadata.get("mystnb", {}) | {
            "image": {"alt": found["fig-alt"], **plot},
            "figure": {"caption": caption},
        }
    outputs = [pictures.lighter(output) for output in cell["outputs"] if not is_empty(output)]
    return {**cell, "metadata": metadata, "source": code_of(cell), "outputs": outputs}


def convert(page: str, cells: list, reference: api.Reference) -> list[tuple[int, dict]]:
    "The cells of a page, each with the index of the notebook's cell that it comes from."
    out, caption = [], ""
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            after = cells[i + 1] if i + 1 < len(cells) else {"cell_type": ""}
            caption = (
                split_caption(text_of(after))[0]
                if checks.has_picture(cell) and after["cell_type"] == "markdown"
                else ""
            )
            made = code_cell(cell, caption)
            if is_setup(cell) and "remove-cell" not in made["metadata"].get("tags", []):
                made = folded(made)
                if (
                    out and out[-1][1]["metadata"].get("mystnb") == made["metadata"]["mystnb"]
                ):  # one fold for neighbours
                    made["source"] = f"{out.pop()[1]['source']}\n\n{made['source']}"
            out.append((i, made))
            if entries := reference.after_cell(page, i):
                out.append((i, markdown_cell(api.after_cell(entries))))
        elif cell["cell_type"] == "markdown":
            text = split_caption(text_of(cell))[1] if caption else text_of(cell)
            out.append((i, {**cell, "source": quiz.as_directives(text)}))
            caption = ""
    return out


def with_map(cells, nbs: Path):
    "The first page with the map of the chapters in place of its plain list."
    notebooks = {page: json.loads((nbs / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
                 for page in contents.notebooks() if (nbs / f"{page}.ipynb").exists()}
    return [
        (i, {**cell, "source": chapter_map.markdown(notebooks)})
        if cell["cell_type"] == "markdown" and cell["source"].startswith(chapter_map.HEADING)
        else (i, cell)
        for i, cell in cells
    ]


def faults(page: str, notebook: dict) -> list[str]:
    "All that is wrong with a notebook, in lines."
    found, cells = checks.faults(page, notebook), notebook["cells"]
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            found += [f"{checks.where(page, cells, i)}: {fault}" for fault in quiz.faults(text_of(cell))]
    if course.is_chapter(page) and not chapter_map.time_of(cells):
        found.append(
            f"{checks.where(page, cells, 0)}: the chapter does not say how long it takes; write 'It takes about ... "
            f"seconds' "
            "into one of its first cells"
        )
    return found


def prepare(app, docname, source):
    "Replace the source of a notebook before it is read; tell its faults."
    if Path(app.env.doc2path(docname)).suffix != ".ipynb":
        return
    notebook = json.loads(source[0])
    for fault in faults(docname, notebook):
        logger.warning(fault)
    cells = convert(docname, notebook["cells"], app.reference)
    if docname == contents.ROOT:
        cells = with_map(cells, Path(app.srcdir))
    if trees := contents.toctrees(docname):
        cells.append((len(notebook["cells"]) - 1, markdown_cell(trees)))
    app.env.metadata[docname]["cells"] = [i for i, _ in cells]
    app.cells_of[docname] = [i for i, _ in cells]
    notebook["cells"] = [{**cell, "id": f"cell-{n}"} for n, (_, cell) in enumerate(cells)]
    source[0] = json.dumps(notebook)


class NameTheCell(logging.Filter):
    "Sphinx places a warning by a line number that counts cells in ten thousands: say notebook and cell instead."

    def __init__(self, app):
        super().__init__()
        self.app = app

    def filter(self, record):
        place = re.match(r"(.+)\.ipynb:(\d+)", getattr(record, "location", None) or "")
        if place and Path(place[1]).is_relative_to(self.app.srcdir):
            page, line = Path(place[1]).relative_to(self.app.srcdir).as_posix(), int(place[2])
            cells, cell = self.app.cells_of.get(page, []), line // 10_000 - 1
            cell = cells[cell] if 0 <= cell < len(cells) else None
            record.location = f"nbs/{page}.ipynb" + (f", cell {cell + 1}" if cell is not None else "")
        return True


def begin(app):
    app.cells_of = {}
    scratch = Path(app.doctreedir) / "outputs"  # where myst-nb leaves outputs as files, else beside the site
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(scratch))
    for handler in logging.getLogger("sphinx").handlers:
        handler.addFilter(NameTheCell(app))
    for fault in contents.faults(Path(app.srcdir)):
        logger.warning(fault)


def setup(app):
    app.connect("builder-inited", begin, priority=900)  # after myst-nb
    app.connect("source-read", prepare)
    return {"parallel_read_safe": False}
