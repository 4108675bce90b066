"""What a page says about itself to browsers, search engines and social networks, out of settings.ini: title,
description, address, card, sitemap, and where to report a mistake. As long as settings.ini holds placeholders,
everything that needs an address is left out.

    python docs/publishing.py     whether the site may be published: a line for each setting to fill in, and status 1
"""

import sys
from configparser import ConfigParser
from html import escape
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDERS = {
    "user": ("example", "the account that the repository lies in"),
    "author_email": ("petbreeds@example.org", "an address that is read"),
}
PLACEHOLDER_ADDRESS = "https://github.com/example/petbreeds"  # as the notebooks write it
CARD, CARD_ALT = "_static/card.jpg", "Drawn cats and dogs of the 37 breeds in a row"
STORAGE = (Path(__file__).parent / "_static" / "storage.js").read_text(encoding="utf-8")
NO_ADDRESS = ("search", "404", "genindex", "py-modindex")  # pages that no sitemap lists


def read_settings(root: Path = ROOT):
    config = ConfigParser(delimiters=["="])
    config.read(root / "settings.ini", encoding="utf-8")
    return config["DEFAULT"]


def placeholders(settings) -> list[str]:
    "One line for each setting that still holds its placeholder."
    return [
        f"settings.ini: {name} = {settings[name]} is a placeholder; write {what}"
        for name, (placeholder, what) in PLACEHOLDERS.items()
        if settings.get(name, placeholder) == placeholder
    ]


def has_address(settings) -> bool:
    "Whether the repository and the site have an address."
    return settings.get("user") != PLACEHOLDERS["user"][0]


def site_address(settings) -> str:
    return f"{settings['doc_host']}{settings['doc_baseurl']}/" if has_address(settings) else ""


def theme_links(settings) -> dict:
    "The options of the theme that lead to the repository, to Colab and to Binder."
    if not has_address(settings):
        return {"use_source_button": False, "use_repository_button": False, "use_issues_button": False}
    return {
        "repository_url": settings["git_url"],
        "repository_branch": settings["branch"],
        "path_to_docs": settings["nbs_path"],
        "use_source_button": True,
        "use_repository_button": True,
        "use_issues_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
            "notebook_interface": "jupyterlab",
        },
    }


def without_placeholders(text: str, settings) -> str:
    "A text with the repository's address in place of the placeholder, or without the lines that hold it."
    if has_address(settings):
        return text.replace(PLACEHOLDER_ADDRESS, settings["git_url"])
    return "".join(line for line in text.splitlines(keepends=True) if PLACEHOLDER_ADDRESS not in line)


def feedback(settings, page: str, title: str) -> str:
    "Where a reader reports what is wrong on a page."
    if not has_address(settings):
        return ""
    body = f"Page: {site_address(settings)}{page}.html\n\nWhat is wrong or unclear:\n"
    return f"{settings['git_url']}/issues/new?title={quote(title)}&body={quote(body)}"


def describe(app, page, template, context, doctree):
    "Put what the head of a page needs into its context."
    settings, address = app.course_settings, site_address(app.course_settings)
    title = app.env.titles[page].astext() if page in app.env.titles else context.get("title") or ""
    own = app.descriptions.get(page) or settings["description"]
    is_first = page == app.config.root_doc
    context.update(
        page_title=escape(
            f"{settings['lib_name']}: {settings['slogan']}" if is_first else f"{title} · {settings['lib_name']}"
        ),
        page_description=escape(own, quote=True),
        page_address=address and page not in NO_ADDRESS and address + ("" if is_first else f"{page}.html"),
        card_address=address + CARD,
        card_alt=CARD_ALT,
        feedback_address=escape(feedback(settings, page, title)),
        base_address=settings["doc_baseurl"] + "/" if page == "404" and address else "",
        storage_script=STORAGE,
    )
    if page in ("404", "search"):
        context["title"] = title = {"404": "No such page", "search": "Search"}[page]
        context["page_title"] = f"{title} · {settings['lib_name']}"


def write_sitemap(app, error):
    address = site_address(app.course_settings)
    if error or not address or app.builder.format != "html":
        return
    pages = ["" if page == app.config.root_doc else f"{page}.html" for page in sorted(app.env.found_docs)]
    urls = "\n".join(f"<url><loc>{escape(address + page)}</loc></url>" for page in pages)
    out = Path(app.outdir)
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    (out / "sitemap.xml").write_text(f"{head}\n{urls}\n</urlset>\n", encoding="utf-8")
    (out / "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {address}sitemap.xml\n", encoding="utf-8")


def begin(app):
    app.course_settings = read_settings(Path(app.confdir).parent)
    app.descriptions = app.reference.descriptions()


def setup(app):
    app.connect("builder-inited", begin, priority=700)  # after the notebooks were read for the reference
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_sitemap)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    found = placeholders(read_settings())
    print("\n".join(found) or "the site may be published")
    sys.exit(bool(found))
