"The glossary: sorted, one line and links that exist for each term; links from chapters to it lead to terms."
import json
import re
from pathlib import Path

import pytest

NBS = Path(__file__).parents[1] / "nbs"
LINK = re.compile(r"\]\(([\w/]+\.ipynb)#([^)\s]+)\)")


def prose(notebook):
    "The markdown of a notebook, code blocks left out."
    cells = json.loads((NBS / notebook).read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def anchors(notebook):
    "The anchors of a notebook's headings, as GitHub and the site make them."
    titles = re.findall(r"^#{1,4} +(.+?) *$", prose(notebook), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


ENTRIES = [entry.strip().split("\n") for entry in re.split(r"^## ", prose("glossary.ipynb"), flags=re.M)[1:]]


def test_terms_are_sorted_and_stand_once():
    terms = [entry[0].lower() for entry in ENTRIES]
    assert terms == sorted(set(terms)) and len(terms) >= 50


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[0])
def test_a_term_has_one_line_and_a_link_that_exists(entry):
    _, blank, line = entry
    links = LINK.findall(line)
    assert blank == "" and len(links) == 1 and re.match(r"[A-Z].+\. \[", line), line
    notebook, anchor = links[0]
    assert (NBS / notebook).exists() and anchor in anchors(notebook)


CHAPTERS = "\n".join(prose(path.name) for path in NBS.glob("[0-9]*.ipynb")).lower()


@pytest.mark.parametrize("term", [entry[0].lower() for entry in ENTRIES])
def test_a_term_is_used_by_some_chapter(term):
    assert term in CHAPTERS or f"glossary.ipynb#{term.replace(' ', '-')}" in CHAPTERS


@pytest.mark.parametrize("notebook", sorted(p.name for p in NBS.glob("[0-9]*.ipynb")))
def test_links_to_the_glossary_lead_to_terms(notebook):
    wanted = {anchor for target, anchor in LINK.findall(prose(notebook)) if target == "glossary.ipynb"}
    assert wanted <= anchors("glossary.ipynb")


@pytest.mark.parametrize("chapter", ["01_layout", "02_presizing", "03_datablock", "04_baseline"])
def test_the_data_chapters_link_their_terms(chapter):
    links = LINK.findall(prose(f"{chapter}.ipynb"))
    assert len({anchor for target, anchor in links if target == "glossary.ipynb"}) >= 10
