"""How long the site takes to build, and its first page to answer in a browser.

    python bench/pages.py [--visits 9]

The page is fetched from this machine by a browser that has nothing stored. Written to bench/results/pages.json.
"""
import argparse
import functools
import http.server
import statistics
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from table import save

from petbreeds.experiments import machine

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "site"), str(ROOT / "docs")]
import chromium
from builder import NBS, build
from playwright.sync_api import sync_playwright

BUDGETS = {"build": 40, "first page": 2}  # seconds
INTERACTIVE = "(performance.timing.domInteractive - performance.timing.navigationStart) / 1000"


class QuietServer(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def visit(browser, address):
    "Seconds until a page answers a fresh visitor."
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    seconds = page.evaluate(INTERACTIVE)
    context.close()
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visits", type=int, default=9)
    visits = parser.parse_args().visits
    at_start = machine()
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        start = time.perf_counter()
        done = build(NBS, Path(folder) / "site")
        seconds = time.perf_counter() - start
        assert done.returncode == 0, done.stderr
        handler = functools.partial(QuietServer, directory=f"{folder}/site")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=chromium.ARGUMENTS)
        times = [visit(browser, f"http://127.0.0.1:{server.server_port}/index.html") for _ in range(visits)]
        browser.close()
        server.shutdown()
    results = {"build": {"seconds": round(seconds, 1), "budget": BUDGETS["build"]},
               "first page": {"seconds": round(statistics.median(times), 2), "slowest": round(max(times), 2),
                              "budget": BUDGETS["first page"]}}
    save("pages", at_start, {}, results)
    print(results)


if __name__ == "__main__":
    main()
