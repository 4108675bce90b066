"""Notebooks and tests side by side (`pytest --nbval nbs tests -n 2`): each file is one piece of work for one of the
workers; the tests of the site are one piece together, because they share a built site and a browser."""
import os

import pytest

os.environ["TQDM_DISABLE"] = "1"  # a slow machine would show a bar, and nbval take it for an output
SITE = "tests/site"


def pytest_collection_modifyitems(items):
    "nbval takes a cell without an execution count for one that never ran, but clean notebooks store none."
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is not None and cell.get("execution_count") is None:
            cell["execution_count"] = 1


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may not be there
def pytest_xdist_make_scheduler(config, log):
    "Whole files for the workers, those with the most tests first."
    from xdist.scheduler import LoadFileScheduling

    class FilesAndSite(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return SITE if nodeid.startswith(f"{SITE}/") else super()._split_scope(nodeid)

    return FilesAndSite(config, log)
