"Each command is killed once, at a moment of its own, and once its disk fills; `bench/kills.py` does it many times."
import os
import random

import killing
import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and forks of POSIX")
SEED = int(os.environ.get("PETBREEDS_SEED", 0))
NAMES = ["draw", "train", "resume", "report", "predict", "download"]


@pytest.fixture(scope="module")
def trials(tmp_path_factory, one_thread):
    "The trials by name; each is run undisturbed when it is first asked for."
    folder = tmp_path_factory.mktemp("kills")
    made = killing.Trials(folder)
    with made.downloading() as download:
        several = {trial.name: trial for trial in (*made.all(), download)}
        yield several, folder


def measured(trials, name):
    several, folder = trials
    trial = several[name]
    if trial.expected is None:
        trial.measure(folder)
    return trial


@pytest.mark.parametrize("name", NAMES)
def test_what_is_killed_loses_nothing(trials, tmp_path, name):
    trial = measured(trials, name)
    moment = random.Random(f"{SEED} {name}").uniform(0.2, 0.9) * trial.seconds
    assert killing.killed(trial, tmp_path / name, moment)[1] == "", f"seed {SEED}, {moment:.2f} s"


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_fills_costs_a_line(trials, tmp_path, name):
    trial = measured(trials, name)
    outcome, wrong = killing.filled(trial, tmp_path / name, 700)
    assert (outcome, wrong) == ("refused", "")


def test_the_trials_notice_what_is_wrong(trials, tmp_path):
    "A command that writes half of its result and calls it done."
    trial = killing.Trial("liar", None, None, lambda folder: killing.listing(folder))

    def work(folder):
        def write():
            (folder / "answers.csv").write_text("half")
            return 0
        return write
    trial.work = trial.again = work
    trial.expected = {"answers.csv": "another digest"}
    assert killing.killed(trial, tmp_path / "one", 0.5)[1].startswith("another result: ['answers.csv']")
    trial.again = lambda folder: lambda: 3
    assert "it ended with 3" in killing.killed(trial, tmp_path / "two", 0.1)[1]
    trial.check = lambda folder, said: "half of it"
    assert killing.killed(trial, tmp_path / "three", 0.1)[1] == "half of it"
