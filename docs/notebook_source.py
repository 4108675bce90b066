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
import landing
import pictures
import predictions
import publishing
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
    "__all__",
)  # what a setup cell may call or set
SHORT_PLOT = 6  # lines of plotting code that need no fold
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


def names_defined(statement: ast.stmt) -> list[str]:
    "The names that a function, a class or an assignment at the top of a cell defines."
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)]


def fold_of(cell: dict) -> tuple[str, list[str]] | None:
    """What a fold over a code cell says is inside, and which names: of a cell that holds nothing a reader came for.
    None where the code is to be read."""
    try:
        statements = ast.parse(code_of(cell)).body
    except SyntaxError:  # a magic command
        return None
    if not statements or {"hide-input", "show-input"} & {*cell["metadata"].get("tags", [])}:
        return None  # what an author folds, or wants to be read
    if checks.has_picture(cell):
        return ("How the figure is drawn", []) if lines_of(code_of(cell)) > SHORT_PLOT else None
    if cell["outputs"]:
        return None
    if all(map(sets_up, statements)):
        return "Imports and settings", []
    names = [names_defined(statement) for statement in statements]
    private = [name for found in names for name in found]
    if all(names) and all(name.startswith("_") for name in private):
        return "How it is done", private
    return None


def lines_of(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


def folded(cell: dict, fold: tuple[str, list[str]]) -> dict:
    "A code cell under a line that says what is inside and unfolds it."
    label, names = fold
    tags = [*cell["metadata"].get("tags", []), "hide-input"]
    words = f"{label}{': ' if names else ''}{', '.join(names)} · {plural(lines_of(cell['source']), 'line')}"
    metadata = {**cell["metadata"], "tags": [*dict.fromkeys(tags)], "fold": [label, names]}
    metadata["mystnb"] = metadata.get("mystnb", {}) | prompt(words)
    return {**cell, "metadata": metadata}


def joined(before: dict, cell: dict) -> dict:
    "Two folded neighbours of one kind as one fold."
    names = before["metadata"]["fold"][1] + cell["metadata"]["fold"][1]
    return folded({**before, "source": f"{before['source']}\n\n{cell['source']}"}, (cell["metadata"]["fold"][0], names))


def plural(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def prompt(words: str) -> dict:
    "What stands on a fold, open or closed."
    return {"code_prompt_show": words, "code_prompt_hide": words}


def is_empty(output: dict) -> bool:
    "Whether an output shows nothing: what a progress bar leaves behind, or the end of a line that came by itself."
    if output["output_type"] == "stream":
        return not "".join(output["text"]).strip()
    return output["output_type"] == "display_data" and not any(map("".join, output["data"].values()))


def code_cell(cell: dict, caption: str) -> dict:
    """A code cell without directives: hidden, or with alt text and caption (else the alt text's first sentence) of
    its figure."""
    found, metadata = directives(cell), dict(cell["metadata"])
    if HIDDEN & found.keys() or not code_of(cell):
        metadata["tags"] = ["remove-cell"]
    elif "hide-input" in metadata.get("tags", []):
        metadata["mystnb"] = prompt(f"The check · {plural(lines_of(code_of(cell)), 'line')}")
    if checks.has_picture(cell) and found.get("fig-alt"):
        caption = caption or plain(re.split(r"(?<=[.:])\s+(?=[A-Z])", found["fig-alt"])[0])
        plot = {"classes": "plot"} if "fig-paper" not in found and all(map(pictures.is_plot, cell["outputs"])) else {}
        metadata["mystnb"] = metadata.get("mystnb", {}) | {
            "image": {"alt": found["fig-alt"], **plot},
            "figure": {"caption": caption},
        }
    outputs = [pictures.lighter(output) for output in cell["outputs"] if not is_empty(output)]
    if check_in(cell):  # what it says of an empty answer is no result
        outputs = []
    return {**cell, "metadata": metadata, "source": code_of(cell), "outputs": outputs}


def check_in(cell: dict) -> str | None:
    "The name of the function that checks an exercise, in the folded cell below the reader's."
    found = re.search(r"^def (check_\w+)", code_of(cell), re.M)
    return found[1] if found and "hide-input" in cell["metadata"].get("tags", []) else None


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
            made, fold = code_cell(cell, caption), fold_of(cell)
            if fold and "remove-cell" not in made["metadata"].get("tags", []):
                made = folded(made, fold)
                if can_join(out, made):
                    made = joined(out.pop()[1], made)
            out.append((i, made))
            if entries := reference.after_cell(page, i):
                out.append((i, made_cell(api.after_cell(entries))))
            if name := check_in(cell):
                out.append((i, made_cell(f'<div class="exercise-done" data-key="{name}"></div>')))
        elif cell["cell_type"] == "markdown":
            text = split_caption(text_of(cell))[1] if caption else text_of(cell)
            out.append((i, {**cell, "source": quiz.as_directives(text)}))
            caption = ""
    return predictions.cover(out)


def made_cell(text: str) -> dict:
    "A cell of text that the notebook does not have."
    return {**markdown_cell(text), "metadata": {"made": True}}


def can_join(out, cell) -> bool:
    "Whether the cell before is a fold of the same kind, and neither shows anything."
    before = out[-1][1] if out else {"metadata": {}}
    kinds = [made["metadata"].get("fold", [None])[0] for made in (before, cell)]
    return kinds[0] == kinds[1] is not None and not before["outputs"] and not cell["outputs"]


def first_page(cells, app):
    "The cells of the first page with the map of the chapters and what the site adds."
    nbs = Path(app.srcdir)
    notebooks = {page: json.loads((nbs / f"{page}.ipynb").read_text(encoding="utf-8"))["cells"]
                 for page in contents.notebooks() if (nbs / f"{page}.ipynb").exists()}
    return landing.arrange(cells, made_cell, notebooks, app.course_settings)


def faults(page: str, notebook: dict) -> list[str]:
    "All that is wrong with a notebook, in lines."
    found, cells = checks.faults(page, notebook), notebook["cells"]
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            found += [f"{checks.where(page, cells, i)}: {fault}" for fault in quiz.faults(text_of(cell))]
    found += predictions.faults(page, cells)
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
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = publishing.without_placeholders(text_of(cell), app.course_settings)
    for fault in faults(docname, notebook):
        logger.warning(fault)
    cells = convert(docname, notebook["cells"], app.reference)
    if docname == contents.ROOT:
        cells = first_page(cells, app)
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
