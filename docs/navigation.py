"The theme's navigation: a name for each arrow that unfolds a part of it, for those who hear the page."


def name_arrows(app, page, template, context, doctree):
    "Give the arrows a name in the words of the page they belong to."
    make = context.get("generate_toctree_html")
    if make is None:
        return

    def named(kind, **options):
        tree = make(kind, **options)
        if hasattr(tree, "find_all"):  # BeautifulSoup's
            for summary in tree.find_all("summary"):
                link = summary.find_previous("a")
                summary["aria-label"] = f"Pages below {link.get_text(strip=True)}" if link else "Pages below"
        return tree

    context["generate_toctree_html"] = named


def setup(app):
    app.connect("html-page-context", name_arrows, priority=900)  # after the theme's own
    return {"parallel_read_safe": True}
