"""The pages as plain Markdown, for the tools that readers paste them into: `NAME.md` beside each page of a notebook,
and `llms.txt`, which lists them. Pictures are their alt text; outputs are the text that the notebook stores."""

import json
import re
from pathlib import Path

import checks
import contents
import course
import publishing
from checks import code_of, directives, text_of, words_of
from sphinx.errors import SphinxError

LONGEST = 4000  # characters of an output
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def output_text(output: dict) -> str:
    "What an output says, in plain text."
    if any(mime.startswith("image/") for mime in output.get("data", {})):
        return ""
    text = words_of(output).rstrip()
    if text.lstrip().startswith("<div><table"):  # fastai's table of epochs is HTML even where text is asked for
        text = table_as_text(text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n..."


def table_as_text(html: str) -> str:
    "An HTML table as lines of cells."
    rows = re.findall(r"<tr.*?</tr>", html, re.S)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S) for row in rows]
    return "\n".join("  ".join(f"{re.sub('<[^>]+>', '', cell).strip():>10}" for cell in row) for row in cells if row)


def fenced(text: str, language: str = "") -> str:
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def cell_text(cell: dict) -> str:
    "A cell as Markdown."
    if cell["cell_type"] == "markdown":
        text = re.sub(r"<!--.*?-->\n?", "", text_of(cell), flags=re.S)
        return re.sub(r"\]\(([\w/.-]+)\.ipynb(#[\w.-]+)?\)", r"](\1.md\2)", text)
    found, code = directives(cell), code_of(cell)
    if not code or {"hide", "default_exp"} & found.keys():
        return ""
    parts = [fenced(code, "python")]
    if said := "\n".join(filter(None, map(output_text, cell["outputs"]))):
        parts.append(fenced(said))
    if checks.has_picture(cell) and found.get("fig-alt"):
        parts.append(f"[Figure: {found['fig-alt']}]")
    return "\n\n".join(parts)


def markdown(notebook: dict, settings) -> str:
    "A notebook as Markdown."
    texts = [publishing.without_placeholders(cell_text(cell), settings) for cell in notebook["cells"]]
    return "\n\n".join(text.strip() for text in texts if text.strip()) + "\n"


def llms(app, settings) -> str:
    "The list of the course, part by part."
    address = publishing.site_address(settings)
    out = [
        f"# {settings['lib_name']}",
        "",
        f"> {settings['description']}",
        "",
        "Each page is also there as Markdown, with the code and the stored outputs of its notebook.",
        "",
    ]
    for part, pages in contents.PARTS.items():
        rows = [
            (page, app.descriptions.get(page, ""))
            for top in pages
            for page in (top, *contents.BELOW.get(top, []))
            if course.is_room(page) or not contents.is_floor(page)
        ]
        rows = [(page, line) for page, line in rows if page in app.env.found_docs and not contents.is_floor(page)]
        if rows:
            out += [f"## {part if part != contents.ENGINE_ROOM else 'Optional'}", ""]
            out += [f"- [{app.env.titles[page].astext()}]({address}{page}.md): {line}" for page, line in rows] + [""]
    return "\n".join(out)


def broken_links(text: str, out: Path, address: str) -> list[str]:
    "Links of llms.txt without a file beside the pages."
    there = [target.removeprefix(address) for target in LINK.findall(text)]
    return [target for target in there if not (out / target).is_file()]


def write(app, error):
    if error or app.builder.format != "html":
        return
    out, settings = Path(app.outdir), app.course_settings
    for page in [contents.ROOT, *contents.notebooks()]:
        file = Path(app.srcdir) / f"{page}.ipynb"
        if file.exists():
            dest = out / f"{page}.md"
            dest.parent.mkdir(parents=True, exist_ok=True)
            dest.write_text(markdown(json.loads(file.read_text(encoding="utf-8")), settings), encoding="utf-8")
    text = llms(app, settings)
    if broken := broken_links(text, out, publishing.site_address(settings)):
        raise SphinxError(
            f"llms.txt: no such file beside the pages: {', '.join(broken)}; the notebooks in PARTS in "
            "docs/contents.py and in HOUSE in course.py are listed there"
        )
    (out / "llms.txt").write_text(text, encoding="utf-8")


def name_markdown(app, page, template, context, doctree):
    "Each page of a notebook links to its Markdown."
    is_notebook = doctree is not None and Path(app.env.doc2path(page)).suffix == ".ipynb"
    context["page_markdown"] = f"{page.split('/')[-1]}.md" if is_notebook else ""


def setup(app):
    app.connect("html-page-context", name_markdown)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
