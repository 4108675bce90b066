"""Chapters 1 to 3 run unchanged on a folder of photographs where one is at hand: PETBREEDS_PHOTOS, else shared/photos
beside the repository. Chapter 4 chooses by its validation error, and four pictures of a breed leave
no validation part."""
import os
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from course import NBS, execute

PHOTOS = Path(os.environ.get("PETBREEDS_PHOTOS", ROOT.parent / "shared" / "photos"))


@pytest.mark.skipif(not (PHOTOS / "images").is_dir(),
                    reason="no photographs here: name a folder of them in PETBREEDS_PHOTOS")
@pytest.mark.parametrize("chapter", ["01_layout", "02_presizing", "03_datablock"])
def test_chapter_runs_on_photographs(chapter, tmp_path, monkeypatch):
    monkeypatch.setenv("PETBREEDS_DATA", str(PHOTOS))
    execute(NBS / f"{chapter}.ipynb", tmp_path / "done.ipynb")
    cells = nbformat.read(tmp_path / "done.ipynb", 4).cells
    assert any(cell.get("outputs") for cell in cells)
