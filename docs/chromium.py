"""The browser that prints the site and tests it: a Chromium that is there, or one installed by running this file.

    python docs/chromium.py      Debian's chromium where apt-get may install it, else Playwright's own
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = ("no Chromium to print or test the site with: on Debian 'sudo apt-get install chromium', elsewhere "
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


def driver_starts() -> bool:
    "Whether Playwright's own Node.js runs; it needs a library that a bare Debian lacks."
    return subprocess.run([sys.executable, "-m", "playwright", "--version"], capture_output=True).returncode == 0


def install():
    "Install what is missing; whether that worked is for `driver_starts` and `find` to say."
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-q"])
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium", "libatomic1"])
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"])


if __name__ == "__main__":
    if not (driver_starts() and find()):
        install()
    if not driver_starts():
        sys.exit(
            "Playwright does not start, and the site is printed and tested with it: on Debian 'sudo apt-get install "
            "libatomic1'"
        )
    if not find():
        sys.exit(MISSING)
