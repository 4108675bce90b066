"Odd pictures and odd folders, some of each; `bench/fuzz_pictures.py` and `bench/fuzz_folders.py` try thousands."
import os
import time
from pathlib import Path

import odd_folders
import odd_pictures
import pytest
from watching import Watch

pytestmark = [pytest.mark.skipif(os.name == "nt", reason="alarms of POSIX"),
              pytest.mark.filterwarnings("ignore:::PIL")]  # pytest undoes the filter that `pictures` sets
SEED = int(os.environ.get("PETBREEDS_SEED", 0))  # of the first one; another for other pictures and folders


def test_odd_pictures_are_used_by_all_or_named_by_all(tmp_path, one_thread):
    print(f"pictures {SEED} to {SEED + 149}")  # pytest shows it where the test fails
    run = odd_pictures.small_run()
    rows = [odd_pictures.judged(run, tmp_path, seed) for seed in range(SEED, SEED + 150)]
    assert [row for row in rows if row["wrong"]] == []
    outcomes = {row["outcome"] for row in rows}
    assert {"used", "corrupt", "not an image"} <= outcomes  # it does try both
    assert len({row["kind"] for row in rows}) >= 7


def test_odd_folders_are_a_table_or_one_line(tmp_path):
    print(f"folders {SEED} to {SEED + 79}")
    rows = [odd_folders.judged(tmp_path, seed) for seed in range(SEED, SEED + 80)]
    assert [row for row in rows if row["wrong"]] == []
    assert {row["outcome"] for row in rows} == {"table", "refused"}


def test_the_watch_notices_what_is_wrong():
    def wrong(work):
        with Watch(longest=0.3) as watch:
            work()
        return watch.wrong

    def endless():
        while True:
            pass
    assert wrong(lambda: None) == ""
    assert wrong(lambda: os.write(2, b"a word")) == "noise: 'a word'"
    assert wrong(lambda: 1 / 0) == "crash: ZeroDivisionError: division by zero"
    assert wrong(endless) == "hang"
    with Watch(longest=0.1, patience=2) as watch:
        time.sleep(9)
    assert watch.wrong == "hang"
    if Path("/proc/self/clear_refs").exists():
        with Watch() as watch:
            bytes(b"x" * 1_300_000_000)
        assert watch.wrong.startswith("memory: 12")


def test_a_disagreement_is_noticed(tmp_path, monkeypatch, one_thread):
    run = odd_pictures.small_run()
    rows = (odd_pictures.judged(run, tmp_path, seed) for seed in range(99))
    seed = next(row["seed"] for row in rows if row["outcome"] == "used")
    monkeypatch.setattr(odd_pictures, "picture_fault", lambda *args: ("unreadable", ""))
    assert odd_pictures.judged(run, tmp_path, seed)["wrong"].startswith("disagreement")
