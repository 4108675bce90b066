"What a reader does on a page: search, choose dark, unfold, answer, copy, download, print."
import re

from builder import ROOT

CHAPTER = "06_cross_entropy.html"


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


def test_code_that_is_no_idea_is_folded_to_a_line_that_says_what_is_inside(page):
    page.goto(CHAPTER)
    fold = page.locator("article details.hide", has=page.locator("summary", has_text="Imports and settings"))
    code = fold.locator("pre")
    assert fold.count() == 1 and not code.is_visible()
    assert re.search(r"\d+ lines$", fold.locator("summary").inner_text())
    assert "import" not in page.locator(".cell_input pre:visible").first.inner_text()
    fold.locator("summary").click()
    assert code.is_visible() and "from petbreeds.softmax import" in code.inner_text()
    said = page.locator("article details.hide > summary").all_inner_texts()
    assert any(re.fullmatch(r"How it is done: _\w+(, _\w+)* · \d+ lines", line) for line in said)
    assert any(line.startswith("How the figure is drawn") for line in said)
    assert page.locator("article details.api-fold").count() > 3 and page.locator("article dl.py:visible").count() == 0
    assert page.locator("article [aria-label='Toggle hidden content']").count() == 0


def test_switch_shows_all_code_or_ideas_only_and_remembers(page):
    page.goto(CHAPTER)
    switch, folds = page.locator(".code-switch"), page.locator("article :is(details.hide, details.api-fold)")
    assert switch.get_attribute("aria-pressed") == "false"
    switch.focus()
    page.keyboard.press("Enter")
    assert switch.get_attribute("aria-pressed") == "true"
    assert folds.count() == page.locator("article :is(details.hide, details.api-fold)[open]").count() > 5
    page.goto("05_softmax.html")
    assert page.locator("article details.hide:not([open])").count() == 0 and "All code" in switch.inner_text()
    switch.click()
    page.reload()
    assert page.locator("article details.hide[open]").count() == 0


def test_code_keeps_its_lines(page):
    "A line that is too long scrolls in its box, which a keyboard can reach."
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(CHAPTER, wait_until="load")
    wide = page.locator(".cell_input pre:visible").evaluate_all(
        "(all) => all.filter((e) => e.scrollWidth > e.clientWidth + 1)"
        ".map((e) => [e.tabIndex, getComputedStyle(e).whiteSpace])")
    assert wide and all(one == [0, "pre"] for one in wide)


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
    answer, verdict = quiz.locator(".quiz-answer"), quiz.locator(".quiz-verdict")
    right = quiz.get_attribute("data-right")
    letters = [option.get_attribute("value") for option in quiz.locator("input").all()]
    wrong, other = [letter for letter in letters if letter != right][:2]
    quiz.locator("button").click()
    assert "Choose an option" in verdict.inner_text()
    quiz.locator(f"input[value={wrong}]").check()
    assert verdict.inner_text() == "Choose an option first."  # choosing alone answers nothing
    assert not answer.is_visible()
    quiz.locator("button").click()
    said = verdict.inner_text()
    assert f"({wrong}) is not it." in said and len(said) > 60 and f"({other})" not in said
    assert not answer.is_visible()
    page.reload()
    assert f"({wrong}) is not it." in verdict.inner_text()
    quiz.locator(f"input[value={right}]").focus()
    page.keyboard.press("Space")  # a keyboard is enough
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert verdict.inner_text() == "Right." and answer.is_visible()
    assert quiz.locator(".quiz-option.chosen-wrong").count() == 0
    total = page.locator(".quiz").count()
    assert page.locator(".quiz-score").inner_text() == f"1 of {total} right." and total >= 5


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
    captions = page.locator("article figure figcaption").all_text_contents()  # of covered ones too
    assert len(captions) == page.locator("article figure img").count() > 3
    assert [re.match(r"\s*Figure 6\.(\d+)\. \S", caption)[1] for caption in captions] == [
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
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert not page.locator(".bd-header-article").is_visible()
    assert page.locator("article details", has_text="Solution").first.locator("pre").first.is_visible()
    assert page.locator("article .quiz .reason").first.is_visible()
    assert not page.locator(".quiz-check").first.is_visible()
    assert not page.locator("article details.hide").first.is_visible()  # a fold takes no room
