"Numbers: of a chapter before its title, of its figures and equations after that of the chapter."

import contents
from docutils import nodes


def number(app, document):
    "Write the numbers into a page that was read."
    page = app.env.docname
    chapter = contents.number(page)
    if chapter:
        title = next(document.findall(nodes.title), None)
        if title is not None:
            title.insert(0, nodes.Text(f"{chapter}. "))
    prefix = f"{chapter}." if chapter else ""
    for i, caption in enumerate(document.findall(nodes.caption), 1):
        if isinstance(caption.parent, nodes.figure):
            caption.insert(0, nodes.strong("", f"Figure {prefix}{i}. "))
    labels = {label: place for label, place in app.env.domains.math_domain.equations.items() if place[0] == page}
    for i, equation in enumerate(document.findall(nodes.math_block), 1):
        equation["number"] = f"{prefix}{i}"
        if not equation.get("ids"):
            equation["ids"] = [f"equation-{prefix}{i}".replace(".", "-")]
        if equation.get("label") in labels:
            app.env.domains.math_domain.equations[equation["label"]] = (page, equation["number"])


def setup(app):
    app.connect("doctree-read", number, priority=100)  # before Sphinx collects titles
    return {"parallel_read_safe": True}
