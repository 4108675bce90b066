"The other way of reading: a chapter in JupyterLab, all cells run by hand of a browser."
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from builder import NBS

CHAPTER = "06_cross_entropy.ipynb"
PATIENCE = 240  # seconds for the cells of the chapter, on a machine that does other things besides


def last_text(cells):
    "The last result or printed text that a chapter shows, of the cells whose output does not vary."
    texts = [
        output.get("text") or output.get("data", {}).get("text/plain")
        for cell in cells
        if cell.cell_type == "code" and "nbval-ignore-output" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.output_type in ("stream", "execute_result")
    ]
    return texts[-1]


@pytest.fixture
def lab(tmp_path):
    "JupyterLab over a copy of the chapter: its address, and the folder."
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs" / CHAPTER).write_bytes((NBS / CHAPTER).read_bytes())
    shutil.copytree(
        NBS.parent / "bench" / "results", tmp_path / "bench" / "results"
    )  # measured numbers that the chapter shows
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    homes = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            "--allow-root",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={tmp_path / 'nbs'}",
            "--LabApp.news_url=None",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ],
        env=os.environ | homes | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api/status")
            break
        except OSError:
            assert server.poll() is None, f"JupyterLab does not start:\n{server.stdout.read()}"
            time.sleep(0.5)
    yield address, tmp_path / "nbs"
    server.terminate()
    server.wait(30)


def test_chapter_runs_in_jupyterlab(browser, lab):
    address, folder = lab
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    tab.goto(f"{address}/lab/tree/{CHAPTER}")
    tab.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    tab.locator("#jp-bottom-panel, .jp-StatusBar-Widget").get_by_text("| Idle").wait_for(
        timeout=60_000
    )  # cells run before are lost
    tab.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    tab.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
    done, deadline = None, time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        tab.wait_for_timeout(2000)
        tab.keyboard.press("Control+s")
        tab.wait_for_timeout(1000)
        done = nbformat.read(folder / CHAPTER, 4)
        code = [cell for cell in done.cells if cell.cell_type == "code" and cell.source.strip()]
        if code[-1].execution_count or any(o.output_type == "error" for cell in code for o in cell.outputs):
            break
    errors = [
        f"{o.ename}: {o.evalue} in: {cell.source[:60]}"
        for cell in code
        for o in cell.outputs
        if o.output_type == "error"
    ]
    assert errors == []
    assert all(cell.execution_count for cell in code), "not all cells were run in time"
    assert last_text(done.cells) == last_text(nbformat.read(NBS / CHAPTER, 4).cells)
    tab.context.close()
