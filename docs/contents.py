"The table of contents: which notebook stands in which part, under which number. A new chapter is added here."
from pathlib import Path

from course import PAPERPETS

PARTS = {
    "Data": ["01_layout", "02_presizing", "03_datablock", "04_baseline"],
    "Loss": ["05_softmax", "06_cross_entropy"],
    "Training": [],
    "Practice": ["14_shipping"],
    "Appendix": ["00_paperpets", "00a_papernet", "20_cli", "glossary"],
}
BELOW = {"00_paperpets": [f"paperpets/{name}" for name in PAPERPETS]}  # pages that stand under another one
ROOT = "index"


def pages():
    "Every notebook of the table of contents, in reading order, without the first page."
    return [page for part in PARTS.values() for top in part for page in (top, *BELOW.get(top, []))]


def number(page: str) -> str:
    "The number of a page: that of its file for a chapter, a letter in the appendix, nothing for the other pages."
    for parent, children in BELOW.items():
        if page in children:
            return f"{number(parent)}.{children.index(page) + 1}"
    if page in PARTS["Appendix"]:
        numbered = [p for p in PARTS["Appendix"] if p[0].isdigit()]
        return chr(ord("A") + numbered.index(page)) if page in numbered else ""
    return str(int(page.split("_")[0])) if page[:2].isdigit() else ""


def faults(nbs: Path) -> list[str]:
    "One line for each notebook that is missing from the table of contents, or there without a file."
    there = {nb.relative_to(nbs).with_suffix("").as_posix() for nb in nbs.rglob("*.ipynb")
             if not any(part.startswith(".") for part in nb.relative_to(nbs).parts)} - {ROOT}
    listed = set(pages())
    return ([f"nbs/{page}.ipynb: missing from the table of contents; add it to PARTS in docs/contents.py"
             for page in sorted(there - listed)]
            + [f"nbs/{page}.ipynb: no such notebook, but docs/contents.py lists it; take it out or add the notebook"
               for page in sorted(listed - there)])


def toctree(pages, caption: str = "") -> str:
    "A hidden table of contents in MyST: it fills the sidebar and orders the pages."
    caption = [f":caption: {caption}"] if caption else []
    return "\n".join(["```{toctree}", ":hidden:", *caption, *pages, "```"])


def toctrees(page: str) -> str:
    "What the page adds to the table of contents: the first page all parts, a parent the pages below it."
    if page == ROOT:
        parts = [toctree(pages, caption) for caption, pages in PARTS.items() if pages]
        return "\n\n".join([*parts, toctree(["api/index"], "Reference")])
    return toctree(BELOW[page]) if page in BELOW else ""
