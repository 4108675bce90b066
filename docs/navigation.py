"""The sidebar: parts and pages in the order of contents.py. The theme would make it anew out of all pages for each
page; here it is a list that is known once, so a build takes half the time."""

from html import escape

import contents


def tree_of(app) -> dict[str, list[tuple[str, list[str]]]]:
    "Parts, each with its pages and the pages below them."
    modules = [f"api/{module}" for module in app.reference.modules()]
    parts = {
        part: [(page, contents.BELOW.get(page, [])) for page in pages]
        for part, pages in contents.PARTS.items()
        if pages
    }
    return parts | {"Reference": [("api/index", modules)]}


def link(app, page: str, here: str) -> str:
    title = escape(app.env.titles[page].astext().removeprefix("petbreeds."), quote=False)
    if page == here:
        return f'<a class="current reference internal" href="#" aria-current="page">{title}</a>'
    return f'<a class="reference internal" href="{app.builder.get_relative_uri(here, page)}">{title}</a>'


def item(app, page: str, here: str, below: list[str] = (), level: int = 1) -> str:
    "A page in the list; those below it unfold."
    known = [name for name in below if name in app.env.titles]
    current = " current active" if here in (page, *known) else ""
    if not known:
        return f'<li class="toctree-l{level}{current}">{link(app, page, here)}</li>'
    inner = "\n".join(item(app, name, here, level=level + 1) for name in known)
    name = escape(app.env.titles[page].astext())
    return (
        f'<li class="toctree-l{level} has-children{current}">{link(app, page, here)}'
        f"<details{' open' if current else ''}>"
        f'<summary aria-label="Pages below {name}"><span class="toctree-toggle" role="presentation">'
        f'<i class="fa-solid fa-chevron-down"></i></span></summary><ul>\n{inner}\n</ul></details></li>'
    )


def sidebar(app, here: str) -> str:
    "The list of all pages, as seen from one of them."
    out = []
    for part, pages in app.course_tree.items():
        known = [(page, below) for page, below in pages if page in app.env.titles]
        if known:
            items = "\n".join(item(app, page, here, below) for page, below in known)
            out.append(
                f'<p aria-level="2" class="caption" role="heading">'
                f'<span class="caption-text">{escape(part)}</span></p>\n'
                f'<ul class="nav bd-sidenav">\n{items}\n</ul>'
            )
    return "\n".join(out)


def add_sidebar(app, page, template, context, doctree):
    if not hasattr(app, "course_tree"):
        app.course_tree = tree_of(app)
    context["course_sidebar"] = sidebar(app, page)
    context["generate_toctree_html"] = lambda *args, **options: ""  # slow, and nothing of ours asks for it


def setup(app):
    app.connect("html-page-context", add_sidebar, priority=400)  # before the theme tries its templates
    return {"parallel_read_safe": True}
