"""Search without a server: Pagefind indexes the words of the pages once they are written, and `names.js` lists what has
a name: titles, headings, terms of the glossary, functions. `search.js` puts names first, then words."""

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import contents
from docutils import nodes
from sphinx.errors import SphinxError

EXCLUDED = ".headerlink, .copybtn, .eqno, script, form, pre, details.api-fold, .prediction > form, .own-record"
SECTION = re.compile(r'<section id="([^"]+)">\s*(?:<span id="[^"]+"></span>)?<h(\d)>')
GLOSSARY = "glossary"


def kind_of(page: str) -> str:
    "What a page is, for those who search."
    if page.startswith("api/"):
        return "reference"
    return "room" if "/" in page else "chapter"


def heads_in(document, page: str):
    "(name, anchor, kind) of the title and the headings of a page."
    for section in document.findall(nodes.section):
        title = section.next_node(nodes.title)
        if title is None or title.parent is not section:
            continue
        is_title = isinstance(section.parent, nodes.document)
        if is_title:
            yield title.astext(), "", kind_of(page)
        elif page == GLOSSARY:
            yield title.astext(), section["ids"][0], "term"
        elif kind_of(page) != "reference":
            yield title.astext(), section["ids"][0], "section"


def names(app) -> list[dict]:
    "All that has a name, with its address; titles with the line below them, functions with the first line of theirs."
    found = []
    for page in sorted(app.env.found_docs, key=order):
        address = f"{page}.html"
        for name, anchor, kind in heads_in(app.env.get_doctree(page), page):
            said = app.descriptions.get(page, "") if not anchor else ""
            found.append(
                {
                    "n": name,
                    "k": kind,
                    "u": f"{address}#{anchor}".rstrip("#"),
                    "s": said,
                    **({} if not anchor else {"p": app.env.titles[page].astext()}),
                    **({"r": 1} if kind_of(page) != "chapter" else {}),
                }
            )
    for entry in app.reference.entries:
        for one in [entry, *entry.methods]:
            found.append(
                {
                    "n": one.name,
                    "k": "constant" if one.kind == "data" else one.kind,
                    "p": entry.module,
                    "u": f"{entry.page}.html#{entry.module}.{one.name}",
                    "s": first_line(one.doc),
                }
            )
    return found


def order(page: str) -> tuple:
    pages = contents.pages()
    return (pages.index(page) if page in pages else len(pages), page)


def first_line(doc: str) -> str:
    return re.split(r"(?<=[.:;]) |\n\n", " ".join(doc.split()))[0] if doc else ""


def keep_body(app, page, template, context, doctree):
    "Remember the words of a page; those of the reference are found by their names."
    if doctree is not None and not page.startswith("api/"):
        app.bodies[page] = SECTION.sub(r'<section><h\2 id="\1">', context["body"])


def write(app, error):
    "Write names.js and Pagefind's index beside the pages."
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    listed = json.dumps(names(app), ensure_ascii=False, separators=(",", ":"))
    (out / "_static" / "names.js").write_text(f"window.courseNames = {listed};\n", encoding="utf-8")
    with TemporaryDirectory() as folder:
        for page, body in app.bodies.items():
            file = Path(folder) / f"{page}.html"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f'<!doctype html><html lang="en"><body>{body}</body></html>', encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "pagefind",
                "--site",
                folder,
                "--output-path",
                str(out / "pagefind"),
                "--silent",
                "--exclude-selectors",
                EXCLUDED,
                "--include-characters",
                "_",
                "--keep-index-url",
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise SphinxError(f"Pagefind made no index: {(done.stderr or done.stdout).strip()[-300:]}")
    for file in (out / "pagefind").glob("pagefind-*"):  # ready-made boxes for a search, of which we use none
        if file.suffix in (".js", ".css") and file.name != "pagefind-worker.js":
            file.unlink()


def without_sphinx_index(app):
    app.builder.search = False
    app.bodies = {}


def setup(app):
    app.add_js_file("search.js", loading_method="defer")
    app.connect("builder-inited", without_sphinx_index)
    app.connect("html-page-context", keep_body)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
