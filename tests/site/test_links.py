"Where links lead: every file and anchor of the site, the buttons of a chapter, names of the reference."
import ast
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from builder import NBS, ROOT

import api
import contents

CHAPTERS = [page for page in contents.notebooks() if page != "glossary"]


class Page(HTMLParser):
    "The anchors of a page, and the addresses it refers to."

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.anchors, self.references = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value and tag != "base":
                self.references.add(value)


@pytest.fixture(scope="session")
def parsed(site, pages):
    return {page: Page((site / page).read_text(encoding="utf-8")) for page in pages}


def test_internal_links_and_anchors(site, parsed):
    broken = []
    for page, found in parsed.items():
        for reference in found.references:
            address = urlsplit(reference)
            if address.scheme or address.netloc:
                continue
            target = (site / page).parent / unquote(address.path) if address.path else site / page
            if not target.exists():
                broken.append(f"{page}: {reference}: no such file")
            elif address.fragment and target.suffix == ".html":
                name = target.resolve().relative_to(site.resolve()).as_posix()
                if unquote(address.fragment) not in parsed[name].anchors:
                    broken.append(f"{page}: {reference}: no such anchor")
    assert broken == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_buttons_of_a_chapter(site, parsed, chapter):
    settings = dict(re.findall(r"^(user|repo|branch) = (.+)$", (ROOT / "settings.ini").read_text(), re.M))
    repository = f"{settings['user']}/{settings['repo']}"
    found, notebook = parsed[f"{chapter}.html"].references, f"nbs/{chapter}.ipynb"
    up = "../" * chapter.count("/")
    assert f"https://colab.research.google.com/github/{repository}/blob/{settings['branch']}/{notebook}" in found
    assert any(
        r.startswith(f"https://mybinder.org/v2/gh/{repository}/{settings['branch']}") and notebook in unquote(r)
        for r in found
    )
    assert any(r.startswith(f"https://github.com/{repository}/") and f"/{notebook}" in r for r in found)
    assert f"{up}_sources/{chapter}.ipynb" in found
    assert (site / "_sources" / f"{chapter}.ipynb").read_bytes() == (NBS / f"{chapter}.ipynb").read_bytes()


def test_previous_and_next_lead_through_the_course(site):
    chapters = [page for page in contents.pages()]
    for before, after in zip(["index", *chapters], [*chapters, "api/index"]):
        text = (site / f"{before}.html").read_text(encoding="utf-8")
        following = re.search(r'<a class="right-next"\s+href="([^"]+)"', text)[1]
        assert ((site / f"{before}.html").parent / following).resolve() == (site / f"{after}.html").resolve()


def test_titles_are_numbered_and_parts_named(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    for part, pages in contents.PARTS.items():
        assert (part in text) == bool(pages)
    for page in contents.pages():
        number = contents.number(page)
        title = re.search(
            r"<h1>(.*?)<a class=\"headerlink\"", (site / f"{page}.html").read_text(encoding="utf-8"), re.S
        )[1]
        assert title.startswith(f"{number}. ") == bool(number), page


def test_map_tells_the_time_of_each_chapter(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    assert len(re.findall(r"(?:seconds?|minutes?)\s*</p>\s*</div>", text)) >= len(
        [p for p in contents.PARTS["Data"] + contents.PARTS["Loss"]]
    )


def exported(module):
    "The names in `__all__` of a module's file."
    file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    file = file if file.exists() else file.with_suffix("") / "__init__.py"
    found = re.search(r"^__all__ = (\[.*?\])", file.read_text(encoding="utf-8"), re.M | re.S)
    return ast.literal_eval(found[1]) if found else []


def test_all_that_is_exported_has_an_entry(site, parsed):
    "Functions, classes and constants; other variables (a drawing's `f32`, typer's `app`) are not for readers."
    reference = api.read(NBS)
    assert len(reference.entries) > 200
    for module in reference.modules():
        handed_on = reference.handed_on.get(module, [])
        for name in exported(module):
            if name in handed_on or (name.islower() and not re.search(rf"def {name}\(", source_of(module))):
                continue
            path = f"{module}.{name}"
            entry = next((e for e in reference.entries if e.path == path), None)
            assert entry, path
            assert path in parsed[f"{entry.page}.html"].anchors, path
            heading = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
            assert any(anchor.startswith(heading) for anchor in parsed[f"api/{module}.html"].anchors), path


def source_of(module):
    file = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return (file if file.exists() else file.with_suffix("") / "__init__.py").read_text(encoding="utf-8")


def test_names_in_backticks_lead_to_their_entries(parsed):
    assert "05_softmax.html#petbreeds.softmax.log_softmax" in parsed["06_cross_entropy.html"].references
    assert "api/petbreeds.layout.html" in parsed["index.html"].references or any(
        "api/petbreeds.layout.html" in page.references for page in parsed.values())


def test_every_entry_says_where_its_source_is(parsed):
    "The line that a source link names is the one that defines the name."
    links = [r for r in parsed["06_cross_entropy.html"].references if "/petbreeds/cross_entropy.py#L" in r]
    lines = source_of("petbreeds.cross_entropy").splitlines()
    assert len(links) >= 4
    assert all(re.match(r"(def|class|[A-Z_]+ =|\s+def) ?", lines[int(link.split("#L")[1]) - 1]) for link in links)
