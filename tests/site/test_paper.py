"On paper: the longest chapters in under 25 pages each, none of them empty, nothing covered."

import io

import pytest
from pypdf import PdfReader

import pdf

LONGEST = ["08_lr_finder", "06_cross_entropy"]


@pytest.mark.parametrize("chapter", LONGEST)
def test_chapter_prints_in_few_full_pages(page, address, chapter):
    page.emulate_media(color_scheme="dark")
    printed = PdfReader(io.BytesIO(pdf.printed(page, f"{address}/", chapter)))
    texts = [sheet.extract_text() for sheet in printed.pages]
    assert len(texts) < pdf.MOST_PAGES
    assert [number for number, text in enumerate(texts, 1) if len(text) < 80] in ([], [len(texts)])
    whole = "\n".join(texts)
    assert "Take-away" in whole and "Guess and see" not in whole and "covered until" not in whole


def test_cover_lists_the_chapters(page):
    html = pdf.cover(pdf.publishing.read_settings(), ["1. Where labels live"], [3])
    page.set_content(html)
    assert page.locator("td").all_inner_texts() == ["1. Where labels live", "3"]
