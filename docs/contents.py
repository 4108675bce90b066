"""The table of contents: which notebook stands in which part, under which number. A new chapter is added to PARTS here;
rooms come from HOUSE in course.py."""
from functools import cache
from pathlib import Path

import course

FLOORS = "rooms"  # the folder of pages that are written at each build, one for each folder of rooms
ENGINE_ROOM = "The engine room"


def rooms_of(folder: str) -> list[str]:
    "The rooms in a folder, in the order of HOUSE."
    return [name for name in course.HOUSE if name.startswith(f"{folder}/")]


FOLDERS = list(dict.fromkeys(name.split("/")[0] for name in course.HOUSE if course.is_room(name)))
PARTS = {
    "Data": ["01_layout", "02_presizing", "03_datablock", "04_baseline"],
    "Loss": ["05_softmax", "06_cross_entropy", "07_interpretation"],
    "Training": ["08_lr_finder", "09_transfer"],
    "Practice": ["14_shipping"],
    "Appendix": ["00_paperpets", "00a_papernet", "20_cli", "glossary"],
    ENGINE_ROOM: [f"{FLOORS}/{folder}" for folder in FOLDERS],
}
BELOW = {f"{FLOORS}/{folder}": rooms_of(folder) for folder in FOLDERS}  # pages that stand under another one
ROOT = "index"


def is_floor(page: str) -> bool:
    "Whether a page is no notebook but lists the rooms of a folder."
    return page.startswith(f"{FLOORS}/")


def with_those_below(pages) -> list[str]:
    "Pages in reading order, each before those that stand under it."
    return [page for top in pages for page in (top, *with_those_below(BELOW.get(top, [])))]


def pages() -> list[str]:
    "Every page of the table of contents, in reading order, without the first page."
    return with_those_below(top for part in PARTS.values() for top in part)


def notebooks() -> list[str]:
    "Those pages that are notebooks."
    return [page for page in pages() if not is_floor(page)]


@cache
def face_of(folder: str) -> str | None:
    """The chapter below which a folder of rooms lies: the one that exports the package's `__init__`; None for the
    ground floor."""
    return next(
        (name for name in course.HOUSE if not course.is_room(name) and course.module_of(name) == f"{folder}.__init__"),
        None,
    )


def number(page: str) -> str:
    """The number of a page: that of its file for a chapter, a letter in the appendix, its chapter's and its own for
    a room."""
    folder, _, room = page.rpartition("/")
    if room != page:
        face = face_of(folder) if page in course.HOUSE else None
        return f"{number(face)}.{rooms_of(folder).index(page) + 1}" if face else ""
    if page in PARTS["Appendix"]:
        numbered = [p for p in PARTS["Appendix"] if p[0].isdigit()]
        return chr(ord("A") + numbered.index(page)) if page in numbered else ""
    return str(int(page.split("_")[0])) if page[:2].isdigit() else ""


def faults(nbs: Path) -> list[str]:
    "One line for each notebook that is missing from the table of contents, or there without a file."
    there = {nb.relative_to(nbs).with_suffix("").as_posix() for nb in nbs.rglob("*.ipynb")
             if not any(part.startswith(".") for part in nb.relative_to(nbs).parts)} - {ROOT}
    listed = set(notebooks())
    return [
        f"nbs/{page}.ipynb: missing from the table of contents; add it to {place_for(page)}"
        for page in sorted(there - listed)
    ] + [
        f"nbs/{page}.ipynb: no such notebook, but the table of contents lists it; take it out of {place_for(page)} or "
        f"add the notebook"
        for page in sorted(listed - there)
    ]


def place_for(page: str) -> str:
    "Where a notebook is listed."
    return "HOUSE in course.py" if course.is_room(page) else "PARTS in docs/contents.py"


def toctree(pages, caption: str = "") -> str:
    "A hidden table of contents in MyST: it fills the sidebar and orders the pages."
    caption = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":hidden:", *caption, *pages, "```"])


def toctrees(page: str) -> str:
    "What the page adds to the table of contents: the first page all parts, a parent the pages below it."
    if page == ROOT:
        parts = [toctree(pages, caption) for caption, pages in PARTS.items() if pages]
        return "\n\n".join([*parts, toctree(["api/index"], "Reference")])
    return toctree([f"/{below}" for below in BELOW[page]]) if page in BELOW else ""
