"""Every page in a browser, each loaded once: console, requests, weight, equations, accessibility in both colour
schemes, the width of a phone. Screenshots go to _screenshots/."""
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from builder import NBS, ROOT

SCREENSHOTS = ROOT / "_screenshots"
MEGABYTES = 2.5  # a page with all it loads
PHONE = {"width": 390, "height": 844}
NARROW = {"width": 320, "height": 700}  # WCAG 1.4.10: a desktop page at 400 %
PAPER = {"width": 680, "height": 960}  # A4 without its margins
DESKTOP = {"width": 1280, "height": 900}
NOTEBOOKS = sorted(nb.relative_to(NBS).with_suffix(".html").as_posix() for nb in NBS.rglob("[!.]*.ipynb")
                   if ".ipynb_checkpoints" not in nb.parts)
MODULES = sorted(
    f"api/petbreeds.{m[1].strip()}.html".replace(".__init__", "")
    for nb in NBS.rglob("[!.]*.ipynb")
    if nb.stem != "index" and (m := re.search(r"#\| default_exp ([\w.]+)", nb.read_text(encoding="utf-8")))
)
FLOORS = sorted({f"rooms/{page.split('/')[0]}.html" for page in NOTEBOOKS if "/" in page})
FOLDERS = tuple(sorted({page.split("/")[0] + "/" for page in NOTEBOOKS if "/" in page})[1:])
OTHERS = ["api/index.html", "404.html", "genindex.html", "py-modindex.html", "search.html"]
PAGES = [*NOTEBOOKS, *MODULES, *FLOORS, *OTHERS]
WEIGHT = """() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
  .reduce((sum, entry) => sum + entry.encodedBodySize, 0)"""
WIDER = """() => [...document.querySelectorAll('article *')]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1
    && e.checkVisibility() && !e.closest('pre, table, .output, .math, mjx-container, .sd-row'))
  .slice(0, 5).map((e) => e.outerHTML.slice(0, 120))"""


# On paper nothing scrolls: what is wider than its box is cut. And ink is dark, whatever the screen was.
CUT = """() => [...document.querySelectorAll('article pre, article table, article figure, article img, article p')]
  .filter((e) => e.checkVisibility() && !e.closest('mjx-container, [data-frames]'))
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1
    || (e.nodeName === 'PRE' && e.scrollWidth > e.clientWidth + 1)
    || (e.nodeName === 'P' && Math.min(...getComputedStyle(e).color.match(/\\d+/g).map(Number)) > 130))
  .slice(0, 5).map((e) => e.outerHTML.slice(0, 120))"""


def test_list_of_pages_is_complete(pages):
    assert sorted(PAGES) == pages


@pytest.fixture(scope="module")
def visitor(browser, address):
    "One tab for all pages, with what it complains about and asks for."
    context = browser.new_context(
        viewport=DESKTOP, color_scheme="light", reduced_motion="reduce", base_url=f"{address}/"
    )
    tab = context.new_page()
    tab.heard = []
    tab.on("console", lambda message: message.type == "error" and tab.heard.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: tab.heard.append(f"error: {error}"))
    tab.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:", "blob:")) or tab.heard.append(f"outside: {request.url}")
        ),
    )
    tab.on("response", lambda response: response.status < 400 or tab.heard.append(f"{response.status}: {response.url}"))
    yield tab
    context.close()


# Contrast depends on colours and sizes alone: of the thousand words of a page that look the same, axe looks at one.
AXE = """async (contrast) => {
  const options = {resultTypes: ['violations'], preload: false};
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor;
      if (c != 'rgba(0, 0, 0, 0)') return c;
    }
  };
  const looks = new Map();
  for (const e of document.body.querySelectorAll('*')) {
    if (![...e.childNodes].some((n) => n.nodeType == 3 && n.data.trim()) || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const look = [style.color, style.fontSize, style.fontWeight, style.opacity, ground(e)].join();
    if (!looks.has(look)) looks.set(look, e);
  }
  const found = contrast ? await axe.run({include: [...looks.values()]}, {runOnly: ['color-contrast'], ...options})
    : await axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'],
                              rules: {'color-contrast': {enabled: false}}, ...options});
  return found.violations.flatMap((v) => v.nodes.map((n) =>
    `${v.id}: ${n.html.slice(0, 150)} ${contrast ? n.any[0].message.slice(0, 150) : ''}`));
}"""


def picture(tab, name, kind):
    "A picture of the page, or of its first ten thousand pixels, for people to look at."
    file = SCREENSHOTS / kind / f"{name.removesuffix('.html').replace('/', '_')}.jpg"
    file.parent.mkdir(parents=True, exist_ok=True)
    height = tab.evaluate("document.documentElement.scrollHeight")
    tab.screenshot(
        path=file,
        type="jpeg",
        quality=60,
        clip={"x": 0, "y": 0, "width": tab.viewport_size["width"], "height": min(height, 10_000)},
        full_page=True,
        animations="disabled",
    )


NEXT_FRAME = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.mark.parametrize("name", PAGES)
def test_page(visitor, name):
    tab = visitor
    tab.heard.clear()
    tab.set_viewport_size(DESKTOP)
    tab.emulate_media(color_scheme="light")
    tab.goto(name, wait_until="load")
    if tab.locator(".math").count():
        tab.wait_for_function(
            "document.querySelectorAll('.math').length <= document.querySelectorAll('mjx-container').length"
        )
        assert tab.locator("mjx-merror, mjx-container [data-mjx-error]").count() == 0, "an equation with an error in it"
    assert tab.evaluate(WEIGHT) < MEGABYTES * 1e6, "heavier than the budget"
    assert tab.locator("article img:not([alt]), article img[alt='']").count() == 0, "a picture without alt text"
    tab.evaluate(Axe().axe_script)
    assert tab.evaluate(AXE, False) == []
    assert tab.evaluate(AXE, True) == []
    is_reference = name.startswith("api/")  # one like the other: a picture by daylight will do
    picture(tab, name, "light")
    tab.emulate_media(color_scheme="dark")
    tab.wait_for_function("document.documentElement.dataset.theme == 'dark'")
    assert tab.evaluate(AXE, True) == []
    if not is_reference:
        picture(tab, name, "dark")
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size(PHONE)
    assert tab.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab.evaluate(WIDER)
    assert tab.evaluate(WIDER) == [], "wider than a phone"
    if not is_reference:
        picture(tab, name, "390")
    tab.set_viewport_size(NARROW)
    tab.evaluate(NEXT_FRAME)  # the page hears of its new size with the next frame
    assert tab.evaluate("document.documentElement.scrollWidth") <= NARROW["width"], tab.evaluate(WIDER)
    if not is_reference and not name.startswith(FOLDERS):  # rooms are built like chapters
        assert tab.evaluate(AXE, False) == []
    tab.emulate_media(media="print", color_scheme="dark")
    tab.set_viewport_size(PAPER)
    assert tab.evaluate(CUT) == [], "cut on paper"
    tab.emulate_media(media="screen")
    assert tab.heard == []
