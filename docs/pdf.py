"""The course as one PDF: Chromium prints each chapter as the page is, with its predictions shown, and pypdf puts them
behind a cover with a table of contents and numbers the pages.

    python docs/pdf.py [--site _site] [--out _site/petbreeds.pdf]
"""

import argparse
import functools
import http.server
import io
import sys
import threading
from contextlib import contextmanager
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
import chromium
import contents
import publishing
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter

A4 = {"format": "A4", "print_background": True, "prefer_css_page_size": True}
MOST_PAGES = 25  # of a chapter
COVER = """@page { size: A4; margin: 30mm 25mm }
body { font: 11pt/1.5 sans-serif; color: #1a1a1a } h1 { font-size: 34pt; margin: 30mm 0 2mm }
p { font-size: 13pt; margin: 0 0 12mm } table { width: 100%; border-collapse: collapse }
td { padding: 1.2mm 0; border-bottom: .2mm solid #c9cdd2 } td + td { text-align: right }"""
FOOT = "font: 8.5pt sans-serif; color: #48494d; text-align: center"
LINKS = """(site) => document.querySelectorAll('article a[href]').forEach((link) => {
  const other = link.href.split('#')[0] !== location.href.split('#')[0];
  if (!other || !link.href.startsWith(location.origin)) return;
  const { pathname, hash } = new URL(link.href);
  if (site) link.href = site + pathname.slice(1) + hash; else link.removeAttribute('href');
})"""


class QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def served(folder: Path):
    "The address of a folder of pages on this machine."
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietServer, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def printed(tab, address: str, page: str, site: str = "") -> bytes:
    "A page of the site as PDF."
    tab.goto(f"{address}{page}.html", wait_until="load")
    if tab.locator(".math").count():
        tab.wait_for_function(
            "document.querySelectorAll('.math').length <= document.querySelectorAll('mjx-container').length"
        )
    tab.evaluate(LINKS, site)
    return tab.pdf(**A4)


def cover(settings, titles: list[str], starts: list[int]) -> str:
    "The first pages: name, line, and what stands where."
    rows = "".join(f"<tr><td>{escape(title)}</td><td>{start}</td></tr>" for title, start in zip(titles, starts))
    name, line = escape(settings["lib_name"]), escape(settings["description"])
    return f"<style>{COVER}</style><h1>{name}</h1><p>{line}<br>Version {settings['version']}</p><table>{rows}</table>"


def feet(tab, first: int, count: int) -> PdfReader:
    "As many empty pages as there are, each with its number at the foot."
    pages = "".join(
        f'<div style="height: 100vh; position: relative; break-after: page; {FOOT}"><span style="position: absolute; '
        f'bottom: 7mm; inset-inline: 0">{number}</span></div>'
        for number in range(first, first + count)
    )
    tab.set_content(f"<style>@page {{ size: A4; margin: 0 }} html, body {{ margin: 0; height: 100% }}</style>{pages}")
    return PdfReader(io.BytesIO(tab.pdf(format="A4", prefer_css_page_size=True)))


def make(site: Path, out: Path):
    "Print all chapters and bind them."
    settings = publishing.read_settings()
    pages = [page for part, pages in contents.PARTS.items() if part != contents.ENGINE_ROOM for page in pages]
    with served(site) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.ARGUMENTS)
        tab = browser.new_page(color_scheme="light")
        chapters, titles = [], []
        for page in pages:
            chapters.append(PdfReader(io.BytesIO(printed(tab, address, page, publishing.site_address(settings)))))
            titles.append(tab.title().rpartition(" · ")[0])
            print(f"{page:16} {len(chapters[-1].pages):3} pages", flush=True)
        tab.set_content(cover(settings, titles, [0] * len(titles)))
        n_cover = len(PdfReader(io.BytesIO(tab.pdf(**A4))).pages)
        starts = [n_cover + 1 + sum(len(one.pages) for one in chapters[:n]) for n in range(len(chapters))]
        tab.set_content(cover(settings, titles, starts))
        writer = PdfWriter()
        writer.append(PdfReader(io.BytesIO(tab.pdf(**A4))), import_outline=False)
        for title, start, chapter in zip(titles, starts, chapters):
            writer.append(chapter, outline_item=title, import_outline=False)
        numbers = feet(tab, n_cover + 1, len(writer.pages) - n_cover)
        for page, foot in zip(writer.pages[n_cover:], numbers.pages):
            page.merge_page(foot)
        browser.close()
    writer.add_metadata({"/Title": f"{settings['lib_name']}: {settings['slogan']}", "/Author": settings["author"]})
    writer.compress_identical_objects()
    writer.write(out)
    print(f"{out}: {len(writer.pages)} pages")
    if long := [title for title, chapter in zip(titles, chapters) if len(chapter.pages) >= MOST_PAGES]:
        sys.exit(f"docs/pdf.py: {MOST_PAGES} pages or more: {', '.join(long)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--site", type=Path, default=ROOT / "_site")
    parser.add_argument("--out", type=Path, default=ROOT / "_site" / "petbreeds.pdf")
    args = parser.parse_args()
    make(args.site, args.out)


if __name__ == "__main__":
    main()
