"What all tests need, and what several files of them use: one browser, since Playwright runs once in a process."
import signal
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def heed_interrupts():
    "A shell that runs the tests in the background lets them ignore Ctrl-C; what they start must not."
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def browser():
    "A headless Chromium. Where there is none the tests fail and say what to install."
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "docs"))
    import chromium
    from playwright.sync_api import sync_playwright
    path = chromium.find()
    if not path:
        pytest.fail(chromium.MISSING, pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=chromium.ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def one_thread():
    "Pictures of 32 to 48 px keep one core busy; more threads would only wait for each other."
    import torch
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
