"""The browser of these tests: a Chromium that is there, or one installed by running this file.

    python tests/site/chromium.py      Debian's chromium where apt-get may install it, else Playwright's own
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = ("no Chromium for the tests of the site: on Debian 'sudo apt-get install chromium', elsewhere "
           "'.venv/bin/playwright install --with-deps chromium', or set CHROMIUM to the path of a Chromium or Chrome")
# Nothing but this machine can be reached, and Chromium asks for nothing by itself.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]


def find() -> str | None:
    "The path of a Chromium: named by CHROMIUM, installed on the system, or Playwright's own."
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    if there := next((path for path in map(shutil.which, NAMES) if path), None):
        return there
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def install():
    "Install one; whether that worked is for `find` to say."
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"])
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium"])
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])


if __name__ == "__main__":
    if not find():
        install()
    if not find():
        sys.exit(MISSING)
