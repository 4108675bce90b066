"Where links lead: every file and anchor of the site, the buttons of a chapter, names of the reference."
import ast
import re
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from builder import NBS, ROOT

import api
import contents
from checks import FENCE

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
def test_notebook_and_markdown_of_a_chapter(site, parsed, chapter):
    found, up = parsed[f"{chapter}.html"].references, "../" * chapter.count("/")
    assert f"{up}_sources/{chapter}.ipynb" in found
    assert (site / "_sources" / f"{chapter}.ipynb").read_bytes() == (NBS / f"{chapter}.ipynb").read_bytes()
    text = (site / f"{chapter}.md").read_text(encoding="utf-8")
    assert f"{chapter.split('/')[-1]}.md" in found and text.startswith("# ") and "```python" in text
    prose = FENCE.sub("", text)
    assert "<div" not in prose and "guess:" not in prose and "data:image" not in prose and "<table" not in prose


def test_llms_txt_lists_every_notebook(site):
    listed = re.findall(r"\]\(([^)]+)\)", (site / "llms.txt").read_text(encoding="utf-8"))
    assert listed == [f"{page}.md" for page in contents.notebooks()]
    assert all((site / file).is_file() for file in listed)


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
    numbered = [page for page in contents.notebooks() if page[:2].isdigit()]
    assert len(re.findall(r"\d+ min to read · [\w ]*(?:seconds?|minutes?) to run", text)) == len(numbered)


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


def test_reference_says_what_each_name_is(parsed):
    "Constants have a value, functions and classes an example, and all of them a place that explains."
    reference = api.read(NBS)
    constants = [entry for entry in reference.entries if entry.kind == "data"]
    assert len(constants) > 100 and all(entry.value for entry in constants)
    assert not [entry.path for entry in reference.entries if entry.kind in ("function", "class") and not entry.example]
    assert sum(bool(entry.raises) for entry in reference.entries) > 50
    for module in reference.modules():
        found = parsed[f"api/{module}.html"].references
        assert all(f"../{entry.page}.html#{entry.path}" in found for entry in reference.of_module(module)), module


def test_source_links_name_the_line_that_defines():
    lines = source_of("petbreeds.cross_entropy").splitlines()
    entries = [entry for entry in api.read(NBS).entries if entry.module == "petbreeds.cross_entropy"]
    assert len(entries) >= 4
    for entry in entries:
        file, line = api.source_line(ROOT, entry.path)
        assert file == "petbreeds/cross_entropy.py" and re.match(r"(def|class|[A-Z_]+ =|\s+def) ?", lines[line - 1])
