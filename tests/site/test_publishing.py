"What needs an address: hidden with placeholders, there with real settings, and refused at publishing."

import json
import re
import shutil
import subprocess
import sys

import pytest
from builder import ROOT

import plain_text
import publishing

PLACES = re.compile(r"github\.com/example|example\.github\.io|colab\.research|mybinder\.org")
CHAPTERS = ("index", "05_softmax", "glossary")


def test_placeholders_are_on_no_page(site, pages):
    texts = {page: (site / page).read_text(encoding="utf-8") for page in pages}
    assert [page for page, text in texts.items() if PLACES.search(text)] == []
    assert not (site / "sitemap.xml").exists() and "canonical" not in texts["index.html"]


def test_publishing_names_the_settings_to_fill_in():
    done = subprocess.run([sys.executable, ROOT / "docs" / "publishing.py"], capture_output=True, text=True)
    lines = publishing.placeholders(publishing.read_settings())
    assert done.stdout.splitlines() == lines and done.returncode == 1
    assert lines[0] == "settings.ini: user = example is a placeholder; write the account that the repository lies in"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    "A few pages of a repository whose settings are filled in."
    root = tmp_path_factory.mktemp("published")
    for name in ("petbreeds", "bench", "images"):
        (root / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "docs", root / "docs")
    shutil.copy(ROOT / "course.py", root)
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8").replace("user = example", "user = pets")
    (root / "settings.ini").write_text(settings.replace("petbreeds@example.org", "a@pets.org"), encoding="utf-8")
    (root / "nbs").mkdir()
    for name in CHAPTERS:
        shutil.copy(ROOT / "nbs" / f"{name}.ipynb", root / "nbs")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "sphinx",
            "-q",
            "-E",
            "-d",
            root / "trees",
            "-c",
            root / "docs",
            root / "nbs",
            root / "site",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return root


def test_filled_in_settings_are_on_every_page(published):
    text = (published / "site" / "05_softmax.html").read_text(encoding="utf-8")
    assert "https://colab.research.google.com/github/pets/petbreeds/blob/main/nbs/05_softmax.ipynb" in text
    assert "https://mybinder.org/v2/gh/pets/petbreeds/main" in text
    assert "https://github.com/pets/petbreeds/blob/main/petbreeds/softmax.py#L" in text
    assert '<link rel="canonical" href="https://pets.github.io/petbreeds/05_softmax.html" />' in text
    assert "https://github.com/pets/petbreeds/issues/new?title=5.%20Softmax" in text
    first = (published / "site" / "index.html").read_text(encoding="utf-8")
    assert "git clone https://github.com/pets/petbreeds" in re.sub(r"<[^>]+>", "", first)
    assert 'og:image" content="https://pets.github.io/petbreeds/_static/card.jpg"' in first
    sitemap = (published / "site" / "sitemap.xml").read_text(encoding="utf-8")
    assert "<loc>https://pets.github.io/petbreeds/</loc>" in sitemap and "05_softmax.html</loc>" in sitemap
    assert "](https://pets.github.io/petbreeds/05_softmax.md)" in (published / "site" / "llms.txt").read_text(
        encoding="utf-8"
    )
    assert '<base href="/petbreeds/"' in (published / "site" / "404.html").read_text(encoding="utf-8")


def test_every_page_has_a_title_and_a_description(site, pages):
    for page in pages:
        text = (site / page).read_text(encoding="utf-8")
        title = re.search(r"<title>(.+?)</title>", text)[1]
        said = re.search(r'<meta name="description" content="([^"]+)"', text)[1]
        assert (
            title.endswith("· petbreeds")
            or page == "index.html"
            and title == "petbreeds: telling 37 breeds of cats and dogs apart"
        )
        assert 20 < len(said) < 300, page


def test_numbers_of_the_first_page_are_those_of_the_sample_report(site):
    metrics = json.loads((ROOT / "docs" / "sample" / "run.json").read_text())["metrics"]
    text = re.sub(r"<[^>]+>", "", (site / "index.html").read_text(encoding="utf-8"))
    assert f"{100 * metrics['error_rate']:.1f} % of {metrics['n']:,} pictures" in " ".join(text.split())
    report = (site / "sample" / "report.html").read_text(encoding="utf-8")
    low, high = metrics["interval"]
    assert f"{metrics['error_rate']:.1%}" in report and f"{low:.1%} to {high:.1%}" in report


def test_first_screen_says_what_for_whom_and_what_comes_out(page):
    page.goto("index.html")
    for words in ("For whom", "What comes out", "Start chapter 1", "See a report"):
        assert page.get_by_text(words).first.bounding_box()["y"] < 800, words
    assert page.locator("article img").first.bounding_box()["y"] < 900
    page.get_by_text("See a report").click()
    page.wait_for_url("**/sample/report.html")


def test_page_that_is_not_there(page):
    page.goto("404.html")
    page.get_by_role("link", name="the first page").click()
    page.wait_for_url("**/index.html")


def test_a_broken_link_in_llms_txt_is_found(tmp_path):
    (tmp_path / "a.md").write_text("# A")
    assert plain_text.broken_links("- [A](a.md): x\n- [B](b.md): y", tmp_path, "") == ["b.md"]


def test_line_with_a_placeholder_goes_and_the_rest_stays():
    settings = publishing.read_settings()
    text = f"```sh\ngit clone {settings['git_url']}\ncd petbreeds\n```\n"
    assert publishing.without_placeholders(text, settings) == "```sh\ncd petbreeds\n```\n"
