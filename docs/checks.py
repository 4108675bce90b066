"""What must hold for a notebook before it becomes a page. Each fault is one line: notebook, cell, what is wrong,
what to do."""

import re

FENCE = re.compile(r"^(`{3,}|~{3,}).*?^\1", re.M | re.S)
DIRECTIVE = re.compile(r"^#\|\s*([\w-]+):?[ \t]*(.*)$", re.M)
NOT_RUN = {"slow", "cuda", "oxford"}  # cells with these flags are executed elsewhere and may store nothing


def text_of(cell) -> str:
    "The source of a cell, whether stored as a string or as a list of lines."
    return "".join(cell["source"])


def directives(cell) -> dict[str, str]:
    "nbdev's directives in a code cell: `#| fig-alt: words` is `{'fig-alt': 'words'}`."
    return dict(DIRECTIVE.findall(text_of(cell))) if cell["cell_type"] == "code" else {}


def code_of(cell) -> str:
    "A code cell without nbdev's directives."
    return re.sub(r"^#\|.*\n?", "", text_of(cell), flags=re.M).strip("\n")


def words_of(output: dict) -> str:
    "What a stored output says in plain text; nothing where it is a picture alone."
    return "".join(output.get("text") or output.get("data", {}).get("text/plain") or "")


def where(name: str, cells, index: int) -> str:
    "A place in words: file, number of the cell counted from 1, its first line."
    lines = code_of(cells[index]).splitlines() or [""]
    return f"nbs/{name}.ipynb, cell {index + 1} ({lines[0][:50].strip()})"


def has_picture(cell) -> bool:
    "Whether a code cell stores a picture."
    return any(mime.startswith("image/") for output in cell.get("outputs", []) for mime in output.get("data", {}))


def output_faults(name, cells):
    "No stored output at all, or an error among them."
    code = [i for i, cell in enumerate(cells) if cell["cell_type"] == "code" and code_of(cell)]
    if code and not any(cells[i].get("outputs") for i in code):
        first = next((i for i in code if "export" not in directives(cells[i])), code[0])
        yield (f"{where(name, cells, first)}: no cell of the notebook has a stored output; "
               f"run 'python course.py --store nbs/{name}.ipynb'")
    for i in code:
        for output in cells[i].get("outputs", []):
            if output["output_type"] == "error":
                yield (
                    f"{where(name, cells, i)}: the stored output is an error, {output['ename']}: "
                    f"{output['evalue'][:60]}; "
                    f"mend the cell and run 'python course.py --store nbs/{name}.ipynb'"
                )


def figure_faults(name, cells):
    "Pictures without words, and words without a picture."
    for i, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            if re.search(r"!\[\s*\]\(", FENCE.sub("", text_of(cell))):
                yield f"{where(name, cells, i)}: a picture without alt text; write what it shows in ![here](...)"
        elif cell["cell_type"] == "code":
            found = directives(cell)
            alt = found.get("fig-alt", "").strip()
            if has_picture(cell) and not alt:
                yield (
                    f"{where(name, cells, i)}: a figure without alt text; write '#| fig-alt: what it shows' in the "
                    f"cell"
                )
            if alt and not has_picture(cell) and not NOT_RUN & found.keys():
                yield (
                    f"{where(name, cells, i)}: alt text, but no figure is stored; run 'python course.py --store "
                    f"nbs/{name}.ipynb'"
                )


def heading_faults(name, cells):
    "No title, a second title, or the same heading twice: an address must lead to one place."
    seen, titles = {}, 0
    for i, cell in enumerate(cells):
        if cell["cell_type"] != "markdown":
            continue
        for level, heading in re.findall(r"^(#{1,4}) (.+?)\s*$", FENCE.sub("", text_of(cell)), re.M):
            titles += level == "#"
            if level == "#" and titles > 1:
                yield f"{where(name, cells, i)}: a second title, '# {heading}'; one '#' per notebook"
            if heading in seen:
                yield (
                    f"{where(name, cells, i)}: the heading '{heading}' stands in cell {seen[heading] + 1} already; "
                    f"tell them apart"
                )
            seen.setdefault(heading, i)
    if cells and not titles:
        yield f"{where(name, cells, 0)}: no title; begin a cell with '# '"


def faults(name: str, notebook: dict) -> list[str]:
    "All faults of a notebook; `name` is its path below nbs/ without the ending."
    cells = notebook["cells"]
    return [*output_faults(name, cells), *figure_faults(name, cells), *heading_faults(name, cells)]
