"Search: names and phrases first, word forms, functions, typing mistakes; nothing from outside."

import pytest


def hits(page, query):
    page.goto(f"search.html?q={query}")
    page.wait_for_selector("#search-results li")
    page.wait_for_load_state("networkidle")
    return page.locator("#search-results li a").all_inner_texts()


@pytest.mark.parametrize(
    "query, first",
    [
        ("learning rate", "learning rate"),
        ("softmax", "5. Softmax"),
        ("get_pets", "get_pets"),
        ("cross-entropy", "6. Cross-entropy"),
        ("mini-batch", "mini-batch"),
        ("pet_learner", "pet_learner"),
    ],
)
def test_best_answer_is_first(page, query, first):
    assert hits(page, query)[0] == first


def test_word_forms(page):
    found = hits(page, "freeze")
    assert "frozen" in found and "Freezing" in found
    assert any("Transfer" in hit for hit in found)


def test_typing_mistake_gets_a_suggestion(page):
    found = hits(page, "softmx")
    assert page.locator(".search-meant button").inner_text() == "softmax" and found[0] == "5. Softmax"


def test_snippets_are_clean(page):
    hits(page, "mini-batch")
    texts = page.locator("#search-results .search-excerpt").all_inner_texts()
    assert len(texts) > 3 and not any(
        word in text for text in texts for word in ("Copy to clipboard", "Toggle", "import ", "¶")
    )


def test_nothing_found_is_said(page):
    page.goto("search.html?q=zzzzqqq")
    page.wait_for_function("document.querySelector('.search-count')?.textContent.includes('Nothing found')")


def test_header_finds_as_one_types_and_asks_nobody_outside(page, address):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("presizing")
    page.wait_for_selector("#pst-search-dialog li a")
    first = page.locator("#pst-search-dialog li a").first
    assert "Presizing" in first.inner_text()
    first.click()
    page.wait_for_url("**/02_presizing.html")
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
