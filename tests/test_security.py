"What SECURITY.md promises: a test for each promise, or the name of the test that keeps it."
import ast
import os
import pickle
import re
import subprocess
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from petbreeds.pictures import FORMATS, PictureError, open_picture
from petbreeds.shipping import Prediction, RunError, load_run, read_run, write_answers

ROOT = Path(__file__).resolve().parent.parent

PROMISES = {  # as the table of SECURITY.md words them: the tests that keep them
    "A run holds no code.": ("test_security::test_a_pickle_in_the_place_of_weights_is_refused",
                             "test_shipping::test_nothing_is_pickled"),
    "A picture starts no program.": ("test_security::test_no_picture_starts_a_program",),
    "Opening a picture takes less than 1 GB and comes to an end.": (
        "test_ground::test_a_large_picture_costs_less_than_a_gigabyte_and_five_seconds",
        "test_ground::test_small_files_that_are_huge_in_memory_are_refused",
        "test_fuzz::test_odd_pictures_are_used_by_all_or_named_by_all"),
    "An archive stays in its folder.": ("test_layout::test_malicious_member_is_refused",
                                        "test_layout::test_wrong_content_is_refused_and_not_kept"),
    "Names show as text.": ("test_shipping::test_the_report_escapes_and_stays_in_its_folder",
                            "test_cli::test_what_file_names_hold_does_not_reach_the_terminal",
                            "test_shipping::test_answers_as_a_table"),
    "A report asks for nothing.": ("test_shipping::test_the_report_needs_no_network_and_describes_its_drawings",),
    "A run reaches nothing outside.": ("test_shipping::test_the_report_escapes_and_stays_in_its_folder",
                                       "test_security::test_a_run_names_no_picture_outside_its_data",
                                       "test_security::test_nothing_is_written_through_a_link"),
    "A local server is local.": ("test_security::test_servers_listen_on_this_machine_only",),
    "A file is written whole or not at all.": ("test_ground::test_a_killed_writer_leaves_the_file_whole",
                                               "test_ground::test_a_full_disk_changes_nothing"),
    "Nothing is sent.": ("test_security::test_who_asks_the_network",),
}


def promised():
    "The promises in the table."
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    table = text[text.index("| promise |"):text.index("## What is not promised")]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:] if line.startswith("|")]


def test_each_promise_has_its_tests():
    assert promised() == list(PROMISES)
    for tests in PROMISES.values():
        for name in tests:
            file, _, function = name.partition("::")
            tree = ast.parse((ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8"))
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


class Trap:
    "Unpickled, it makes a folder."
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_a_pickle_in_the_place_of_weights_is_refused(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    pickle.loads(trap)  # it does work
    (tmp_path / "sprung").rmdir()
    about = {"architecture": "papernet", "vocabulary": ["Bengal", "pug"], "head": "plain"}
    monkeypatch.setattr("petbreeds.shipping.runs.read_run", lambda folder: about)
    for name in ("model.safetensors", "checkpoint.safetensors", "run.json", "model.pth", "export.pkl"):
        (run / name).write_bytes(trap)
    with pytest.raises(RunError, match="is damaged"):
        load_run(run)
    monkeypatch.undo()
    with pytest.raises(RunError, match="is damaged"):
        read_run(run)
    assert not (tmp_path / "sprung").exists()


def test_no_picture_starts_a_program(tmp_path, monkeypatch):
    assert set(FORMATS) <= {"JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"}

    def refuse(*args, **options):
        raise AssertionError("a program was started")
    for name in ("run", "Popen", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, refuse)
    monkeypatch.setattr(os, "system", refuse)
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n"
    headers = [script, b"\xc5\xd0\xd3\xc6" + script, b"%PDF-1.4\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>",
               b"\xff\xd8" + script, b"\x89PNG\r\n\x1a\n" + script, b"P6 2 2 255 " + b"x" * 12, b"\0\0\1\0",
               b"8BPS\0\1"]
    for number, data in enumerate(headers):
        for suffix in ("jpg", "png", "eps", "tif"):
            file = tmp_path / f"cat_{number}.{suffix}"
            file.write_bytes(data)
            with pytest.raises(PictureError):
                open_picture(file)


def test_nothing_is_written_through_a_link(tmp_path):
    "Somebody sends a folder in which a name that we write is a link to a file of ours."
    from petbreeds.shipping.runs import begin_run, put_file, write_history
    mine = tmp_path / "mine.txt"
    mine.write_text("my only copy")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "history.csv", "report.html", "model.safetensors", "checkpoint.safetensors"):
        (folder / name).symlink_to(mine)
    begin_run(folder, {"format": "petbreeds-run"})
    write_history(folder, [{"epoch": 1, "stage": "head", "train_loss": 1.0}])
    put_file(folder / "report.html", b"<!doctype html>")
    put_file(folder / "model.safetensors", b"weights")
    assert mine.read_text() == "my only copy"
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_a_run_names_no_picture_outside_its_data(tmp_path):
    "What somebody wrote into run.json is not believed; a link in one's own folder is one's own."
    from petbreeds.shipping.pages import _thumbnail
    (tmp_path / "data").mkdir()
    out = BytesIO()
    Image.new("RGB", (9, 9)).save(out, "PNG")
    for name in ("private.png", "data/mine.png"):
        (tmp_path / name).write_bytes(out.getvalue())
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "private.png")
    for name in ("mine.png", "link.png"):
        assert _thumbnail(tmp_path / "data", name).startswith("data:image/jpeg;base64,")
    for name in ("../private.png", "x/../../private.png", str(tmp_path / "private.png")):
        assert _thumbnail(tmp_path / "data", name) is None


def test_servers_listen_on_this_machine_only():
    makefile = (ROOT / "Makefile").read_text()
    recipes = [line for line in makefile.splitlines() if line.startswith("\t")]
    servers = [line for line in recipes if re.search(r"http\.server|jupyter", line)]
    assert len(servers) == 2 and all("127.0.0.1" in line for line in servers)


def test_who_asks_the_network():
    "The modules of the package that know how to connect."
    modules = r"requests|urllib\.request|http\.client|socket|huggingface_hub|pooch"
    asks = re.compile(rf"^\s*(?:import|from)\s+(?:{modules})\b", re.M)
    found = {path.relative_to(ROOT / "petbreeds").as_posix() for path in (ROOT / "petbreeds").rglob("*.py")
             if asks.search(path.read_text(encoding="utf-8"))}
    assert found == {"layout/archive.py", "networks.py", "files.py"}  # the last: where a system keeps its caches


def test_a_table_of_answers_is_not_run(tmp_path):
    file = write_answers(tmp_path / "answers.csv", [Prediction("=cmd|' /C calc'!A0", problem="@SUM(1)")])
    cells = file.read_text(encoding="utf-8-sig").splitlines()[1].split(",")
    assert [cell[:2] for cell in cells if len(cell) > 2] == ['"\'', '"\'']


def test_a_link_to_a_table_is_replaced_where_it_points(tmp_path):
    file = tmp_path / "answers.csv"
    (tmp_path / "link.csv").symlink_to(file)
    write_answers(tmp_path / "link.csv", [])
    assert file.exists() and (tmp_path / "link.csv").is_symlink()
