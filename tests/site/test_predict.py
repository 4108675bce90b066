"Predict, then see: covered until guessed, remembered, cleared; from the keyboard, without JavaScript, without storage."

import json
import re

import pytest
from test_bad_input import GOOD, RESULT, code, notebook, text

import api
import notebook_source
import predictions

CHAPTER = "09_transfer.html"
FORBIDDEN = """Object.defineProperty(window, 'localStorage', {configurable: true,
  get() { throw new DOMException('no', 'SecurityError'); }});"""
FULL = "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); };"


def boxes(page):
    "The first question with a number, and its result."
    question = page.locator(".prediction", has_text="what share of the network").first
    return question, page.locator("#" + question.get_attribute("id").replace("predict", "result"))


def test_result_is_covered_until_a_guess_which_stays_beside_it(page):
    page.goto(CHAPTER)
    question, result = boxes(page)
    assert not result.is_visible() and "share of the head 0.6%" not in page.locator("article").inner_text()
    question.locator("input").focus()
    page.keyboard.type("a lot")
    page.keyboard.press("Enter")
    assert "not a number" in question.get_by_role("alert").inner_text() and not result.is_visible()
    assert question.locator("input").get_attribute("aria-invalid") == "true"
    question.locator("input").fill("12 %")
    page.keyboard.press("Enter")
    assert result.is_visible() and "share of the head 0.6%" in result.inner_text()
    assert "Your guess: 12 %" in result.inner_text()
    assert page.evaluate("document.activeElement.id") == result.get_attribute("id")  # a screen reader goes on there
    plot = result.locator(".guess-plot")
    assert plot.get_attribute("aria-label").startswith("Your guess 12 %, the result 0.6 %")
    marks = [plot.locator(f".mark.{kind}").bounding_box()["x"] for kind in ("is-result", "is-guess")]
    assert marks[0] < marks[1]
    page.reload()
    assert result.is_visible() and "Your guess: 12 %" in result.inner_text()


def test_a_choice_and_a_result_without_a_guess(page):
    page.goto("14_shipping.html")
    question = page.locator(".prediction", has_text="About 5, about 20").first
    result = page.locator("#" + question.get_attribute("id").replace("predict", "result"))
    question.locator("button").click()
    assert "Choose one first" in question.get_by_role("alert").inner_text() and not result.is_visible()
    question.get_by_label("about 20").check()
    question.locator("button").click()
    assert "Your guess: about 20" in result.inner_text()
    covers = page.locator(".cover")
    before = covers.count()
    covers.first.locator("button").click()
    assert covers.count() == before - 1 > 0


def test_every_prediction_has_a_covered_result(page):
    asked = 0
    for chapter in ("01_layout", "02_presizing", "06_cross_entropy"):
        page.goto(f"{chapter}.html")
        n = page.locator(".prediction").count()
        assert n == page.locator(".prediction-result.covered").count() == page.locator("form.guess").count()
        asked += n
    assert asked > 25


def test_own_record_is_on_the_map_and_can_be_cleared(page):
    page.goto(CHAPTER)
    question, _ = boxes(page)
    question.locator("input").fill("3")
    question.locator("button").click()
    page.locator(".exercise-done input").first.check()
    page.goto("index.html")
    own = page.locator(".own-record[data-page='09_transfer']")
    assert re.fullmatch(r"predicted 1 of \d+ · exercises 1 of \d", own.inner_text())
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Clear my record").click()
    assert own.inner_text() == "" and not page.locator(".record-summary").is_visible()
    page.goto(CHAPTER)
    assert not boxes(page)[1].is_visible()


def test_begin_a_chapter_again(page):
    page.goto(CHAPTER)
    page.locator(".cover button").first.click()
    page.get_by_role("button", name="Begin this chapter again").click()
    page.wait_for_load_state()
    assert page.locator(".cover").count() == page.locator(".prediction").count()


@pytest.mark.parametrize("fault", [FORBIDDEN, FULL], ids=["forbidden", "full"])
def test_storage_that_keeps_nothing(page, fault):
    heard = []
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.add_init_script(fault)
    page.goto(CHAPTER)
    question, result = boxes(page)
    question.locator("input").fill("3")
    question.locator("button").click()
    assert result.is_visible() and "does not keep" in page.locator("#record-lost").inner_text()
    page.locator("button.theme-switch-button:visible").click()
    page.locator(".theme-change-button[data-mode=dark]:visible").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark" and heard == []


def test_a_damaged_record_is_begun_again(page):
    page.add_init_script("localStorage.setItem('petbreeds-record', '{not json')")
    page.goto(CHAPTER)
    assert page.locator(".cover").count() > 3


def test_without_javascript_all_is_shown(browser, address):
    context = browser.new_context(java_script_enabled=False, base_url=f"{address}/")
    tab = context.new_page()
    tab.goto(CHAPTER)
    assert "share of the head 0.6%" in tab.locator("article").inner_text()
    assert tab.locator("form.guess").count() == 0 and tab.locator(".prediction-result:visible").count() > 5
    context.close()


def test_in_print_all_is_shown(page):
    page.goto(CHAPTER)
    page.emulate_media(media="print")
    assert boxes(page)[1].is_visible() and not page.locator(".cover").first.is_visible()


def test_a_link_into_a_covered_result_uncovers_it(page):
    page.goto(CHAPTER)
    inside = page.evaluate("document.querySelector('.prediction-result :is(figure, dt)[id]').id")
    page.goto(f"{CHAPTER}?again#{inside}")
    page.wait_for_function(
        f"document.getElementById({json.dumps(inside)}).closest('.prediction-result').checkVisibility()"
    )


# Which cells belong to a result


def kinds(*cells):
    made = notebook_source.convert("05_softmax", [*cells], api.Reference())
    return [
        "open"
        if "prediction-result" in cell["source"]
        else "end"
        if cell["source"] == "</div>"
        else "ask"
        if "predict-" in cell["source"]
        else cell["cell_type"]
        for _, cell in made
    ]


def test_code_stays_open_and_the_text_after_the_result_is_covered():
    asked = text("**Predict:** how much?")
    assert kinds(asked, code("x = 1"), GOOD, code("assert x"), text("Two.\n\n## Next")) == [
        "ask",
        "code",
        "code",
        "open",
        "code",
        "code",
        "markdown",
        "end",
        "markdown",
    ]


def test_answer_in_the_cell_of_the_question_is_covered_with_the_code_that_it_leads_to():
    shown = kinds(text("Why?\n\n**Predict:** yes?\n\nYes, see:"), GOOD, text("So."), text("Next."))
    assert shown == ["markdown", "ask", "open", "markdown", "code", "markdown", "end", "markdown"]


def test_next_question_ends_a_result():
    assert kinds(text("**Predict:** a?"), GOOD, text("It is a.\n\n**Predict:** b?"), GOOD) == [
        "ask",
        "code",
        "open",
        "code",
        "markdown",
        "end",
        "ask",
        "code",
        "open",
        "code",
        "end",
    ]


def test_guess_that_asks_nothing_is_told():
    (line,) = notebook_source.faults("05_softmax", notebook(text("**Predict.** Which?\n\n<!-- guess: this -->"), GOOD))
    assert line.startswith(
        "nbs/05_softmax.ipynb, cell 2 (**Predict.** Which?): 'guess: this' offers nothing to choose from"
    )


def test_result_that_is_not_in_the_output_is_told():
    asked = text("**Predict.** How many?\n\n<!-- guess: number ; result: wrong (.+) -->")
    (line,) = notebook_source.faults("05_softmax", notebook(asked, GOOD))
    assert (
        line.startswith("nbs/05_softmax.ipynb, cell 2") and "no number where 'result: wrong (.+)' looks for it" in line
    )


def test_number_of_a_result():
    guess = predictions.Guess.read(" number % ; result: (.+) wrong ")
    printed = {"output_type": "stream", "name": "stdout", "text": ["1,153 wrong\n"]}
    assert (guess.kind, guess.unit) == ("number", "%")
    assert predictions.result_of(guess, [code("x"), code("y", RESULT, printed)]) == 1153
