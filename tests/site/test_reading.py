"What a reader does on a page: search, choose dark, unfold, answer, copy, download, print."
import re

from builder import ROOT

CHAPTER = "06_cross_entropy.html"


def test_search_finds_the_chapter(page):
    page.goto("index.html")
    page.locator(".search-button__button:visible, button.search-button-field:visible").first.click()
    page.keyboard.type("cross-entropy")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results .search li a")
    first = page.locator("#search-results .search li a").first
    assert "Cross-entropy" in first.inner_text()
    first.click()
    page.wait_for_url(re.compile(CHAPTER))


def test_dark_mode_switches_and_stays(page):
    page.goto("index.html")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.locator("button.theme-switch-button:visible").click()
    page.locator(".theme-change-button[data-mode=dark]:visible").click()
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.goto(CHAPTER)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before
    assert max(map(int, re.findall(r"\d+", before)[:3])) < 60


def test_in_the_dark_plots_turn_and_pictures_stay(page):
    page.emulate_media(color_scheme="dark")
    page.goto("02_presizing.html")
    figures = page.locator("article figure img").all()
    turned = ["invert" in figure.evaluate("(e) => getComputedStyle(e).filter") for figure in figures]
    plots = ["plot" in (figure.get_attribute("class") or "").split() for figure in figures]
    assert turned == plots and {*turned} == {True, False}


def test_imports_are_folded(page):
    page.goto(CHAPTER)
    fold = page.locator("article details", has=page.locator("summary", has_text="Imports and settings"))
    code = fold.locator("pre")
    assert (
        fold.count() == 1
        and not code.is_visible()
        and "import" not in page.locator(".cell_input pre:visible").first.inner_text()
    )
    fold.locator("summary").click()
    assert code.is_visible() and "from petbreeds.softmax import" in code.inner_text()


def test_solution_unfolds(page):
    page.goto(CHAPTER)
    fold = page.locator("article details", has=page.locator("summary", has_text="Solution")).first
    code = fold.locator("pre").first
    assert not code.is_visible()
    fold.locator("summary").click()
    assert code.is_visible()


def test_quiz_answers(page):
    page.goto(CHAPTER)
    quiz = page.locator(".quiz").first
    answer, right = quiz.locator(".quiz-answer"), quiz.get_attribute("data-right")
    letters = [option.get_attribute("value") for option in quiz.locator("input").all()]
    wrong = next(letter for letter in letters if letter != right)
    assert answer.get_attribute("open") is None
    quiz.locator(f"input[value={wrong}]").check()
    assert "not it" in quiz.locator(".quiz-verdict").inner_text() and answer.get_attribute("open") is not None
    quiz.locator(f"input[value={right}]").focus()
    page.keyboard.press("Space")  # a keyboard is enough
    assert quiz.locator(".quiz-verdict").inner_text() == "Right."
    assert quiz.locator(".quiz-option.chosen-wrong").count() == 0
    assert page.locator(".quiz").count() >= 5


def test_slider_moves_the_bars(page):
    page.goto("05_softmax.html")
    box = page.locator("[data-frames]")
    before = box.inner_text()
    box.locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    assert box.inner_text() != before and "temperature  1.12" in box.inner_text()


def test_equations_are_rendered_and_numbered(page):
    page.goto(CHAPTER)
    page.wait_for_selector("mjx-container[display=true]")
    assert page.locator("div.math").count() == page.locator("div.math mjx-container").count() > 3
    assert page.locator("div.math .eqno").first.inner_text().startswith("(6.1)")
    fonts = page.evaluate(
        "document.fonts.ready.then((fonts) => [...fonts].filter((f) => f.status == 'loaded').map((f) => f.family))"
    )
    assert any("MJX" in font for font in fonts), "the fonts of MathJax are not beside the pages"


def test_figures_have_numbered_captions(page):
    page.goto(CHAPTER)
    captions = page.locator("article figure figcaption").all_inner_texts()
    assert len(captions) == page.locator("article figure img").count() > 3
    assert [re.match(r"Figure 6\.(\d+)\. \S", caption)[1] for caption in captions] == [
        str(i + 1) for i in range(len(captions))
    ]


def test_code_is_copied_without_what_is_around_it(browser, address):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"], base_url=f"{address}/")
    tab = context.new_page()
    tab.goto(CHAPTER)
    cell = tab.locator(".cell_input:visible").first
    cell.hover()
    cell.locator(".copybtn").click()
    tab.wait_for_timeout(100)
    assert tab.evaluate("navigator.clipboard.readText()").strip() == cell.locator("pre").first.text_content().strip()
    context.close()


def test_download_gives_the_notebook(page):
    page.goto(CHAPTER)
    page.locator("button[aria-label='Download this page']").click()
    with page.expect_download() as download:
        page.locator("a[href$='06_cross_entropy.ipynb'][download], a.btn-download-source-button").first.click()
    assert open(download.value.path(), "rb").read() == (ROOT / "nbs" / "06_cross_entropy.ipynb").read_bytes()


def test_a_link_into_a_fold_opens_it(page):
    page.goto("paperpets/coat.html#petbreeds.paperpets.coat.face_mask")
    page.wait_for_function(
        "document.getElementById('petbreeds.paperpets.coat.face_mask').getBoundingClientRect().height > 0"
    )


def test_printed_page_is_the_chapter_alone(page):
    page.goto(CHAPTER)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert not page.locator(".bd-header-article").is_visible()
    assert page.locator("article details pre").first.is_visible()
    assert page.pdf()[:5] == b"%PDF-"
