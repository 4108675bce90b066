"Runs: nothing pickled, nothing believed unchecked, nobody else in the folder, resumed to the last bit."
import csv
import json
import math
import os
import pickle
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.callback.core import Callback
from fastai.vision.learner import vision_learner
from exercises import Exercises
from PIL import Image
from safetensors.torch import load_file, save, save_file
from torch import nn

import petbreeds.checkpoint
import petbreeds.shipping.prediction
import petbreeds.shipping.runs
from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls, profile_for, with_options
from petbreeds.files import PetsError
from petbreeds.interpretation.laboratory import probabilities_of
from petbreeds.interpretation.results import most_confused, results_of
from petbreeds.intervals import share_interval
from petbreeds.paperpets import make_paperpets
from petbreeds.shipping import (
    ABOUT, CHECKPOINT, HISTORY, MODEL, REPORT, Options, Prediction, RunError, check_folder, describe, load_run, predict,
    read_history, read_run, report, resume_run, save_run, train_pets, write_answers)
from petbreeds.shipping.runs import _RESULTS, _SETTINGS, claimed, locked, next_folder
from petbreeds.transfer import fit_head

SMALL = dict(arch="lcnet_050", from_scratch=True, size=48, bs=8, epochs=2)
BREEDS = ("Abyssinian", "Bengal", "american_pit_bull_terrier", "pug", "samoyed", "staffordshire_bull_terrier")


def some_pets(folder, per_breed):
    "Drawn pictures of six breeds."
    make_paperpets(folder, per_breed=per_breed, scale=0.3)
    for file in (folder / "images").iterdir():
        if not file.name.startswith(BREEDS):
            file.unlink()
    return folder


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return some_pets(tmp_path_factory.mktemp("data") / "pets", per_breed=10)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    "So few pictures that none can be spared for validation."
    return some_pets(tmp_path_factory.mktemp("few") / "pets", per_breed=4)


def train(pets, folder, tell=None, cbs=(), overwrite=False, **changes):
    "A small run."
    return train_pets(Options(data=pets, **{**SMALL, **changes}), folder, overwrite, tell, cbs)


def loaders(pets):
    "Loaders for a small network."
    return pet_dls(pets, with_options(profile_for(pets), **SMALL), bs=8, workers=0)


def learner(pets):
    "A small learner."
    return pet_learner(loaders(pets))


class Stop(Callback):
    "Raise KeyboardInterrupt in the first mini-batch after so many epochs."
    def __init__(self, epochs):
        self.left = epochs

    def after_train(self):
        self.left -= 1

    def before_batch(self):
        if self.training and self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def run(pets, tmp_path_factory):
    return train(pets, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run.folder, tmp_path / "copy")


def change(folder, **changes):
    "Change run.json of a copy."
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, **changes}))
    return folder


def refusal(action, kind=RunError):
    "The one line with which `action` is refused."
    with pytest.raises(kind) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what a run holds

def test_a_run_holds_its_four_files_and_they_agree(run):
    assert {path.name for path in run.folder.iterdir()} == {MODEL, ABOUT, HISTORY, REPORT}
    about, history = run.about, read_history(run.folder)
    assert [row["epoch"] for row in history] == [1, 2]
    metrics, valid = about["metrics"], about["valid"]
    assert math.isclose(history[-1]["error_rate"], valid["error_rate"], abs_tol=1e-6)
    assert math.isclose(history[-1]["valid_loss"], valid["loss"], rel_tol=0.02)
    wrong = sum(map(sum, about["confusion"])) - sum(row[i] for i, row in enumerate(about["confusion"]))
    assert metrics["wrong"] == wrong and metrics["error_rate"] == wrong / metrics["n"]
    assert metrics["n"] == about["split"]["n_test"] == 30
    assert valid["n"] == about["split"]["n_valid"] == 12 and about["split"]["n_train"] == 18
    assert {"petbreeds", "fastai", "torch", "timm", "python", "platform"} <= set(about["versions"])
    assert (run.folder / MODEL).stat().st_mode & 0o444 == 0o444


def test_nothing_is_pickled(pets, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")
    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "save", refuse)
    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(KeyboardInterrupt):
        train(pets, tmp_path / "run", epochs=1, cbs=[Stop(0)])
    resume_run(tmp_path / "run")
    assert predict(tmp_path / "run", [pets / "images" / "pug_1.jpg"])[0].top
    for path in (tmp_path / "run").iterdir():
        assert not path.read_bytes().startswith((b"\x80", b"PK")), path


def test_one_byte_of_one_picture_changes_the_fingerprint(pets, tmp_path):
    data = shutil.copytree(pets, tmp_path / "pets")
    before = describe(learner(data), "pets")
    assert describe(learner(data), "pets") == before
    picture = data / "images" / "pug_1.jpg"
    content = bytearray(picture.read_bytes())
    content[-20] ^= 1
    picture.write_bytes(content)
    after = describe(learner(data), "pets")
    assert after["data"]["fingerprint"] != before["data"]["fingerprint"]
    assert after["split"]["fingerprint"] == before["split"]["fingerprint"]


def test_save_run_keeps_what_plain_fastai_trained(pets, tmp_path):
    learn = learner(pets)
    with pytest.raises(RunError, match="not been trained"):
        save_run(learn, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-3)
    saved = save_run(learn, tmp_path / "run")
    assert len(read_history(saved.folder)) == 1
    for name, value in learn.model.state_dict().items():
        assert torch.equal(value.cpu(), saved.model.state_dict()[name].cpu()), name


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1),
                                  lambda activations, labels: nn.functional.cross_entropy(activations, labels)])
def test_a_run_holds_probabilities_whatever_the_loss_is(pets, tmp_path, loss):
    learn = vision_learner(loaders(pets), "lcnet_050", pretrained=False, loss_func=loss)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    saved = save_run(learn, tmp_path / "run")
    test = results_of(learn)
    assert test.probabilities.sum(1) == pytest.approx(1, abs=1e-5) and test.probabilities.min() >= 0
    assert saved.about["head"] == "fastai" and saved.about["metrics"]["wrong"] == test.wrong
    answers = predict(saved, [pets / file for file in test.files[:10]], k=1)
    assert [answer.top[0][1] for answer in answers] == pytest.approx(test.probabilities[:10].max(1).tolist(), abs=1e-3)
    report(saved)


def test_plain_vision_learner_with_papernet_can_be_saved(pets, tmp_path):
    learn = vision_learner(loaders(pets), "papernet")
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    saved = save_run(learn, tmp_path / "run")
    assert saved.about["architecture"] == saved.profile.arch == "papernet" and saved.about["head"] == "fastai"
    assert saved.about["normalisation"]["mean"] != [0.485, 0.456, 0.406]
    assert saved.about["metrics"]["wrong"] == results_of(learn).wrong


def _deeper(learn):
    learn.model[1] = nn.Sequential(learn.model[1], nn.Linear(6, 6))


def _other_activation(learn):
    learn.model[1][5] = nn.GELU()


@pytest.mark.parametrize("change_head", [_deeper, _other_activation])
def test_a_head_that_cannot_be_built_again_is_refused_before_anything_is_written(pets, tmp_path, change_head):
    learn = vision_learner(loaders(pets), "lcnet_050", pretrained=False)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    assert describe(learn)["head"] == "fastai"
    change_head(learn)
    assert "cannot be built again" in refusal(lambda: save_run(learn, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("options", [dict(y_range=(-5, 5)), dict(lin_ftrs=[64])])
def test_options_of_vision_learner_that_make_another_head_are_refused(pets, options):
    learn = vision_learner(loaders(pets), "lcnet_050", pretrained=False, **options)
    assert "cannot be built again" in refusal(lambda: describe(learn))


def test_a_dropout_of_ones_own_is_no_reason_to_refuse(pets):
    assert describe(vision_learner(loaders(pets), "lcnet_050", pretrained=False, ps=0.2))["head"] == "fastai"


# ---- no picture to validate on

def test_a_run_without_validation_is_a_run(few, tmp_path):
    told = []
    done = train(few, tmp_path / "run", tell=told.append)
    about = done.about
    assert about["valid"] is None and about["split"]["n_valid"] == 0 and about["metrics"]["n"] == 12
    assert [row["epoch"] for row in told] == [1, 2] and all(row.get("valid_loss") is None for row in told)
    history = read_history(done.folder)
    assert all(row.get("error_rate") is None and row["train_loss"] > 0 for row in history)
    page = (done.folder / REPORT).read_text(encoding="utf-8")
    assert "too few pictures to validate on" in page and page.count("<svg") == 2 and ">nan<" not in page
    learn = learner(few)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    assert save_run(learn, tmp_path / "saved").about["valid"] is None
    report(tmp_path / "saved")


def test_empty_cells_of_a_history_are_no_damage(copy):
    (copy / HISTORY).write_text("epoch,stage,train_loss,valid_loss,error_rate\n"
                                "1,frozen,1.5,,\n2,all layers,1.2,1.1,0.5\n")
    assert [row["valid_loss"] for row in read_history(copy)] == [None, 1.1]
    assert "validation from 1.1 to 1.1" in report(copy).read_text(encoding="utf-8")


# ---- interrupted and continued

PRETRAINED = dict(arch="papernet", from_scratch=False)  # a head fit, then two epochs of all layers
HEAD_EPOCHS = 30


class StopLooking(Callback):
    "Raise KeyboardInterrupt after the first mini-batch that has gone through the body."
    def looked(self, done, total):
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def uninterrupted(pets, tmp_path_factory):
    return train(pets, tmp_path_factory.mktemp("runs") / "whole", **PRETRAINED)


STOPS = {"in the first look": StopLooking, "in the head's epochs": lambda: Stop(3),
         "after the head": lambda: Stop(HEAD_EPOCHS), "after an epoch of all layers": lambda: Stop(HEAD_EPOCHS + 1)}


@pytest.mark.parametrize("when", STOPS)
def test_a_continued_run_has_the_same_numbers_to_the_last_bit(pets, uninterrupted, tmp_path, when):
    with pytest.raises(KeyboardInterrupt):
        train(pets, tmp_path / "run", cbs=[STOPS[when]()], **PRETRAINED)
    assert "interrupted" in refusal(lambda: load_run(tmp_path / "run"))
    continued = resume_run(tmp_path / "run")
    assert (tmp_path / "run" / HISTORY).read_text() == (uninterrupted.folder / HISTORY).read_text()
    assert (tmp_path / "run" / MODEL).read_bytes() == (uninterrupted.folder / MODEL).read_bytes()
    assert continued.about["metrics"] == uninterrupted.about["metrics"]
    assert [row["stage"] for row in read_history(continued.folder)] == ["head"] * HEAD_EPOCHS + ["all layers"] * 2


def test_a_head_without_validation_is_cross_validated(few, tmp_path):
    done = train(few, tmp_path / "run", **{**PRETRAINED, "epochs": 0})
    found = done.about["cross_validation"]
    assert found["n"] == done.about["split"]["n_train"] and found["error_rate"] == found["wrong"] / found["n"]
    assert "cross-validated error of the head" in (done.folder / REPORT).read_text(encoding="utf-8")
    assert {row["stage"] for row in read_history(done.folder)} == {"head"}
    with pytest.raises(KeyboardInterrupt):  # the same where it is kept until a resumed run ends
        train(few, tmp_path / "parts", cbs=[Stop(HEAD_EPOCHS)], **{**PRETRAINED, "epochs": 1})
    assert resume_run(tmp_path / "parts").about["cross_validation"] == found


def test_save_run_keeps_the_history_of_a_learner_that_was_asked(pets, tmp_path, caplog):
    learn = learner(pets)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(2, 1e-3)
        before = [list(map(float, row)) for row in learn.recorder.values]
        results_of(learn, "test")
        probabilities_of(learn, [learn.dls.path / learn.dls.table.file.iloc[0]])
        kept = read_history(save_run(learn, tmp_path / "kept").folder)
        assert [[row["train_loss"], row["valid_loss"], row["error_rate"]] for row in kept] == before
        learn.validate()
    saved = save_run(learn, tmp_path / "forgotten")
    assert read_history(saved.folder) == [] and "has forgotten it" in caplog.text
    page = report(saved).read_text(encoding="utf-8")
    assert "No history was kept" in page and "<svg" in page


def test_report_shows_no_schedule_that_was_not_followed(pets, tmp_path):
    learn = learner(pets)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-3)
    by_hand = report(save_run(learn, tmp_path / "by_hand")).read_text(encoding="utf-8")
    followed = report(train(pets, tmp_path / "followed", epochs=1)).read_text(encoding="utf-8")
    assert "head epochs" in followed and "head epochs" not in by_hand


def test_balance_is_written_down_and_changes_the_loss(pets, tmp_path):
    plain, balanced = (train(pets, tmp_path / str(balance), balance=balance, **{**PRETRAINED, "epochs": 0})
                       for balance in (False, True))
    assert not plain.profile.balance and balanced.profile.balance


def test_save_run_keeps_the_epochs_of_a_head(pets, tmp_path):
    learn = pet_learner(pet_dls(pets, with_options(profile_for(pets), arch="papernet", size=48), bs=8, workers=0))
    with learn.no_bar(), learn.no_logging():
        fit_head(learn, epochs=2)
    saved = save_run(learn, tmp_path / "saved")
    assert [(row["epoch"], row["stage"]) for row in read_history(saved.folder)] == [(1, "head"), (2, "head")]


def test_killed_between_training_and_saving(pets, tmp_path, monkeypatch):
    whole = train(pets, tmp_path / "whole", epochs=1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("petbreeds.shipping.training.finish_run", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        train(pets, tmp_path / "run", epochs=1)
    resume_run(tmp_path / "run")
    assert (tmp_path / "run" / MODEL).read_bytes() == (whole.folder / MODEL).read_bytes()
    assert "is finished" in refusal(lambda: resume_run(tmp_path / "run"))


def test_a_killed_process_leaves_a_folder_that_can_be_continued(pets, run, tmp_path):
    script = ("import os, signal, sys; from petbreeds.shipping import Options, train_pets\n"
              f"train_pets(Options(data={str(pets)!r}, **{SMALL!r}), sys.argv[1], "
              "tell=lambda row: os.kill(os.getpid(), signal.SIGKILL))")
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], capture_output=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {ABOUT, CHECKPOINT}
    resume_run(tmp_path / "run")
    assert (tmp_path / "run" / MODEL).read_bytes() == (run.folder / MODEL).read_bytes()
    assert (tmp_path / "run" / HISTORY).read_text() == (run.folder / HISTORY).read_text()


def test_continuing_is_refused_with_other_data(pets, tmp_path):
    data = shutil.copytree(pets, tmp_path / "pets")
    with pytest.raises(KeyboardInterrupt):
        train(data, tmp_path / "run", cbs=[Stop(1)])
    change(tmp_path / "run", seed=7)
    assert "another" in refusal(lambda: resume_run(tmp_path / "run"), PetsError)
    change(tmp_path / "run", seed=42)
    Image.new("RGB", (50, 40), "red").save(data / "images" / "pug_1.jpg")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert "other pictures" in refusal(lambda: resume_run(tmp_path / "run"))
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    resume_run(tmp_path / "run", data=pets)  # where they are as they were


@pytest.mark.parametrize("damage", [b"", b"garbage" * 100, None])
def test_a_damaged_checkpoint_is_refused(pets, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        train(pets, tmp_path / "run", cbs=[Stop(1)])
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1000] if damage is None else damage)
    assert "cannot be continued" in refusal(lambda: resume_run(tmp_path / "run"), PetsError)


def test_a_full_disk_stops_training_and_keeps_the_last_epoch(pets, run, tmp_path, monkeypatch):
    write, calls = petbreeds.checkpoint.write_whole, []

    def full(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write(*args)
    with monkeypatch.context() as patch:
        patch.setattr(petbreeds.checkpoint, "write_whole", full)
        assert "No space left" in refusal(lambda: train(pets, tmp_path / "run"), PetsError)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {ABOUT, CHECKPOINT}
    resume_run(tmp_path / "run")
    assert (tmp_path / "run" / MODEL).read_bytes() == (run.folder / MODEL).read_bytes()


def test_a_disk_that_is_full_at_the_very_end_loses_nothing(pets, tmp_path, monkeypatch):
    def full(path, data):
        if path.name == MODEL:
            raise OSError(28, "No space left on device")
        path.write_text(data)
    with monkeypatch.context() as patch:
        patch.setattr(petbreeds.shipping.runs, "write_whole", full)
        assert "No space left" in refusal(lambda: train(pets, tmp_path / "run", epochs=1))
    assert read_run(tmp_path / "run", finished=False)["finished"] is False
    assert resume_run(tmp_path / "run").about["finished"]


# ---- where a run may be

def test_only_a_run_is_overwritten_and_only_its_own_files(pets, copy, tmp_path):
    (copy / "notes.txt").write_text("mine")
    assert "already holds a run" in refusal(lambda: check_folder(copy))
    train(pets, copy, overwrite=True, epochs=1)
    assert len(read_history(copy)) == 1 and (copy / "notes.txt").read_text() == "mine"
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday").write_text("mine")
    for overwrite in (False, True):
        assert "not empty" in refusal(lambda: check_folder(tmp_path / "diary", overwrite))
    assert "is a file" in refusal(lambda: check_folder(tmp_path / "diary" / "monday" / "run"))
    assert not (tmp_path / "new").exists() and check_folder(tmp_path / "new") is None
    assert not (tmp_path / "new").exists()


def test_a_start_that_fails_leaves_the_old_run_and_no_new_folder(copy, pets, tmp_path):
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    refusal(lambda: train(pets, copy, overwrite=True, bs=10_000), PetsError)
    assert before == {path.name: path.read_bytes() for path in copy.iterdir()}
    refusal(lambda: train(pets, tmp_path / "new" / "run", bs=10_000), PetsError)
    assert not (tmp_path / "new").exists()


def test_two_trainings_at_once_never_share_a_folder(few, tmp_path):
    script = ("import sys; from petbreeds.shipping import Options, train_pets\n"
              f"print(train_pets(Options(data={str(few)!r}, **{SMALL!r})).folder)")
    started = [subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=180) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert {out.strip() for out, _ in said} == {"runs/pets-lcnet_050-1", "runs/pets-lcnet_050-2"}
    for out, _ in said:
        assert read_run(tmp_path / out.strip())["finished"]


def test_a_folder_in_use_is_refused_and_not_touched(pets, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(pets, tmp_path / "run", cbs=[Stop(1)])
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with claimed(tmp_path / "run", overwrite=True):
        assert "already holds a run" in refusal(lambda: train(pets, tmp_path / "run"))
        assert "in use" in refusal(lambda: train(pets, tmp_path / "run", overwrite=True))
        assert "in use" in refusal(lambda: resume_run(tmp_path / "run"))
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with claimed(tmp_path / "new"):
        assert "in use" in refusal(lambda: train(pets, tmp_path / "new"))
    assert not (tmp_path / "new").exists()


def test_a_lock_ends_with_the_training_though_its_workers_live_on(tmp_path):
    "kill -9 reaches one process; those that open pictures for it notice some seconds later."
    said, tell = os.pipe()
    training = os.fork()
    if training == 0:
        with locked(tmp_path):
            worker = os.fork()
            if worker:
                os.write(tell, str(worker).encode())
            time.sleep(60)
            os._exit(0)
    worker = int(os.read(said, 20))
    with pytest.raises(RunError, match="in use by another training"), locked(tmp_path):
        pass
    os.kill(training, signal.SIGKILL)
    os.waitpid(training, 0)
    try:
        os.kill(worker, 0)  # it is there
        with locked(tmp_path):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)


def test_what_a_killed_start_left_is_no_obstacle(pets, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    left = folder / ".run.json.0123456789ab.part"
    left.write_text('{"format": "petbr')
    check_folder(folder)
    (folder / "letter.txt").write_text("Dear all")
    assert "is no run" in refusal(lambda: check_folder(folder))
    (folder / "letter.txt").unlink()
    with claimed(folder):
        petbreeds.shipping.runs.begin_run(folder, {"format": "petbreeds-run"})
    assert sorted(path.name for path in folder.iterdir()) == [ABOUT]


def test_each_asker_gets_a_folder_of_its_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: next_folder("paper-papernet", tmp_path / "runs"), range(24)))
    assert {path.name for path in made} == {f"paper-papernet-{number}" for number in range(1, 25)}


# ---- damaged and foreign runs

@pytest.mark.parametrize("name", [*_SETTINGS, *_RESULTS, "format", "format_version"])
@pytest.mark.parametrize("value", [None, "../../etc", 7.5, [], {}, [1, 2]], ids=str)
def test_each_wrong_part_of_run_json_is_refused_in_one_line(copy, name, value):
    change(copy, **{name: value})
    may_be_so = (["normalisation", None], ["mistakes", []], ["versions", {}], ["valid", None],
                 ["cross_validation", None])
    if [name, value] in may_be_so:
        load_run(copy)
    else:
        said = refusal(lambda: load_run(copy))
        assert "format" in name or (name == "architecture") or f"'{name}" in said or ("interrupted" in said), said


@pytest.mark.parametrize("changes", [
    {"vocabulary": ["a"] * 6}, {"vocabulary": ["Bengal", "pug"]},
    {"vocabulary": ["\x1b[31m"] + list(map(str, range(5)))},
    {"architecture": "resnet43"}, {"architecture": "mobilenetv3_small_050"}, {"format_version": 1}, {"format": "other"},
    {"normalisation": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, {"normalisation": {"mean": [0, 0, 0]}},
    {"profile": {"size": 10**9, "item_size": 64, "bs": 8}}, {"finished": False},
    {"head": "plain "}, {"head": "fastai"}, {"confusion": [[1] * 6] * 6}, {"confusion": [[0] * 5] * 6},
    {"metrics": {"error_rate": 7.5, "n": 30, "wrong": 1, "interval": [0, 1], "loss": 1}},
    {"metrics": {"error_rate": 0.5, "n": 0, "wrong": 0, "interval": [0, 1], "loss": 1}}])
def test_foreign_contents_are_refused(copy, changes):
    refusal(lambda: load_run(change(copy, **changes)))


def test_damaged_files_are_refused(copy, run, tmp_path):
    whole = (copy / MODEL).read_bytes()
    for content in (b"", whole[:100], whole[:-100], pickle.dumps({"weight": 1}), b"\xff" * 64):
        (copy / MODEL).write_bytes(content)
        assert "is damaged" in refusal(lambda: load_run(copy))
    (copy / MODEL).unlink()
    assert f"no {MODEL}" in refusal(lambda: load_run(copy))
    tensors = load_file(run.folder / MODEL)
    weight = next(name for name in tensors if name.endswith("weight"))
    for other in ({**tensors, "more": torch.zeros(1)}, {**tensors, weight: torch.zeros(2)},
                  {name: value for name, value in tensors.items() if name != weight}):
        save_file(other, copy / MODEL)
        assert "does not fit" in refusal(lambda: load_run(copy))
    for content in (b"", b"{", b"[]", b"\xff\xfe\x00", b"null", b'"text"'):
        (copy / ABOUT).write_bytes(content)
        refusal(lambda: read_run(copy))
    assert "no run in" in refusal(lambda: read_run(tmp_path))
    assert "no run in" in refusal(lambda: read_run(tmp_path / "nowhere"))
    refusal(lambda: read_run(copy / ABOUT))


# ---- predicting

def test_predictions_are_those_of_validation(pets, run):
    learn = learner(pets)
    learn.model.load_state_dict(run.model.state_dict())
    valid = results_of(learn, "valid")
    answers = predict(run, [pets / file for file in valid.files], k=6)
    assert len(answers) == valid.n > run.profile.bs
    for answer, expected in zip(answers, valid.probabilities):
        got = dict(answer.top)
        assert [got[breed] for breed in run.vocabulary] == pytest.approx(expected.tolist(), abs=1e-3)
        assert sum(got.values()) == pytest.approx(1, abs=1e-4)


def test_bad_files_get_a_reason_and_good_ones_an_answer(pets, run, tmp_path):
    good = pets / "images" / "pug_1.jpg"
    files = {"text.jpg": b"not a picture", "empty.jpg": b"", "cut.jpg": good.read_bytes()[:600]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.png")
    names = ["text.jpg", "empty.jpg", "cut.jpg", "huge.png", "missing.jpg"]
    answers = predict(run, [good, *(tmp_path / name for name in names), good, str(good)], k=3)
    assert [bool(answer.problem) for answer in answers] == [False] + [True] * 5 + [False] * 2
    assert all((len(answer.top) == 0) == bool(answer.problem) for answer in answers)
    assert answers[0].top == answers[-2].top == answers[-1].top and len(answers[0].top) == 3
    assert "not an image" in answers[1].problem and "12000" in answers[4].problem.replace(",", "")
    assert not any("\n" in answer.problem for answer in answers if answer.problem)
    assert predict(run, []) == []


def test_predict_takes_one_picture_or_many_in_every_form(pets, run):
    file = pets / "images" / "pug_1.jpg"
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    pixels = np.array(picture)
    expected = dict(predict(run, [file])[0].top)
    with open(file, "rb") as stream:
        forms = {"path": file, "text": str(file), "bytes": file.read_bytes(), "bytearray": bytearray(file.read_bytes()),
                 "open file": stream, "picture": picture, "array": pixels, "tensor": torch.from_numpy(pixels)}
        for name, form in forms.items():
            (answer,) = predict(run, form)
            assert dict(answer.top) == pytest.approx(expected, abs=1e-5), name
    several = [(file for _ in range(3)), (file, str(file), pixels), np.stack([pixels] * 3), iter([file] * 3)]
    for form in several:
        assert [dict(answer.top) for answer in predict(run, form)] == [pytest.approx(expected, abs=1e-5)] * 3
    assert [answer.image for answer in predict(run, [pixels, file, file.read_bytes()])] == [
        "picture 1", str(file), "picture 3"]


@pytest.mark.parametrize("odd", [None, 7, 7.5, object()])
def test_what_is_no_picture_is_named_by_its_number(run, odd):
    (answer,) = predict(run, [odd])
    assert answer.image == "picture 1" and "not an image" in answer.problem


def test_a_folder_gives_a_row_per_file(pets, run, tmp_path):
    folder = tmp_path / "holiday"
    (folder / "cats" / "deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    good = (pets / "images" / "pug_1.jpg").read_bytes()
    for name in ("a.jpg", "cats/b.png", "cats/deep/ohne Endung", "../elsewhere/c.jpg"):
        (folder / name).write_bytes(good)
    (folder / "cats" / "notes.txt").write_text("Dear all")
    (folder / ".hidden.jpg").write_bytes(good)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere")  # the same folder: once is enough
    (folder / "cats" / "loop").symlink_to(folder)
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    (folder / "empty").mkdir()
    answers = predict(run, folder, k=1)
    names = [Path(answer.image).relative_to(folder).as_posix() for answer in answers]
    assert sorted(names) == ["a.jpg", "again/c.jpg", "cats/b.png", "cats/deep/ohne Endung", "cats/notes.txt",
                             "nowhere.jpg"]
    assert {name for name, answer in zip(names, answers) if answer.problem} == {"cats/notes.txt", "nowhere.jpg"}
    (nothing,) = predict(run, folder / "empty")
    assert "an empty folder" in nothing.problem
    mixed = predict(run, [folder / "cats" / "deep", folder / "a.jpg"], k=1)
    assert [Path(answer.image).name for answer in mixed] == ["ohne Endung", "a.jpg"]


def test_a_folder_that_is_shut_is_named(pets, run, tmp_path, monkeypatch):
    (tmp_path / "shut").mkdir()
    (tmp_path / "pug_1.jpg").write_bytes((pets / "images" / "pug_1.jpg").read_bytes())
    scandir = petbreeds.shipping.prediction.os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)
    monkeypatch.setattr("petbreeds.shipping.prediction.os.scandir", refuse)
    picture, shut = predict(run, tmp_path)
    assert picture.top and shut.image.endswith("shut") and "Permission denied" in shut.problem


def read_answers(file):
    "Rows of a table of answers."
    with open(file, encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_answers_as_a_table(pets, run, tmp_path):
    names = ["=HYPERLINK(1).jpg", "@sum.jpg", "-1+1.jpg", "+1.jpg", "\uff1d1.jpg", 'a "b", c;=1.jpg', "ä\nb.jpg"]
    good = (pets / "images" / "pug_1.jpg").read_bytes()
    for name in names:
        (tmp_path / name).write_bytes(good)
    odd = os.fsdecode(b"caf\xe9.jpg")
    answers = [replace(predict(run, tmp_path / name, k=3)[0], image=name) for name in names]
    answers += [Prediction(odd, problem="no such file"), Prediction("b.jpg", (("=pug", 1.0),))]
    file = write_answers(tmp_path / "answers.csv", iter(answers))
    rows = read_answers(file)
    shown = [row["image"] for row in rows]
    assert shown[:5] == [f"'{name}" for name in names[:5]] and shown[5:7] == names[5:]
    assert shown[7] == r"caf\udce9.jpg" and rows[7]["problem"] == "no such file" and rows[7]["breed_1"] == ""
    assert rows[8]["breed_1"] == "'=pug" and rows[8]["probability_1"] == "1.0"
    for row, answer in zip(rows[:7], answers):
        assert [row[f"breed_{place}"] for place in (1, 2, 3)] == [breed for breed, _ in answer.top]
        assert float(row["probability_1"]) == pytest.approx(answer.top[0][1], abs=1e-6)
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")  # without it spreadsheets guess the encoding
    assert pd.read_csv(file).shape == (9, 8)


def test_a_table_replaces_answers_and_nothing_else(tmp_path, monkeypatch):
    answers = [Prediction("a.jpg", (("pug", 1.0),))]
    file = tmp_path / "answers.csv"
    write_answers(file, answers)
    write_answers(file, answers * 2)
    assert len(read_answers(file)) == 2
    foreign = tmp_path / "labels.csv"
    foreign.write_text("file,label\n")
    assert "holds no answers" in refusal(lambda: write_answers(foreign, answers), PetsError)
    assert foreign.read_text() == "file,label\n"
    write_answers(foreign, answers, overwrite=True)
    assert len(read_answers(foreign)) == 1
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    write_answers(link, answers)
    assert link.is_symlink() and len(read_answers(file)) == 1
    assert "is a folder" in refusal(lambda: write_answers(tmp_path, answers), PetsError)
    assert "no folder" in refusal(lambda: write_answers(tmp_path / "no" / "a.csv", answers), PetsError)
    assert "no ordinary file" in refusal(lambda: write_answers("/dev/null", answers), PetsError)
    monkeypatch.setattr(petbreeds.shipping.prediction, "write_whole", full_disk)
    assert "No space left" in refusal(lambda: write_answers(file, answers * 3), PetsError)
    assert len(read_answers(file)) == 1


def full_disk(*args, **options):
    raise OSError(28, "No space left on device")


def test_a_network_that_diverged_has_no_answer(pets, run):
    broken = deepcopy(run)
    for weights in broken.model.parameters():
        weights.data.fill_(math.nan)
    good, gone = predict(broken, [pets / "images" / "pug_1.jpg", "gone.jpg"])
    assert "no number" in good.problem and not good.top and "no such file" in gone.problem


def test_phones_and_odd_formats(pets, run, tmp_path):
    with Image.open(pets / "images" / "pug_1.jpg") as picture:
        picture.save(tmp_path / "plain.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.rotate(90, expand=True).save(tmp_path / "phone.png", exif=exif)
        for mode in ("L", "P", "CMYK", "RGBA", "I;16"):
            (picture.convert("L").convert("I").point(lambda x: x * 256) if mode == "I;16" else picture).convert(
                "I" if mode == "I;16" else mode).save(tmp_path / f"{mode.replace(';', '')}.tif")
    plain, phone, *odd = predict(run, [tmp_path / "plain.png", tmp_path / "phone.png", *sorted(tmp_path.glob("*.tif"))])
    assert dict(plain.top) == pytest.approx(dict(phone.top), abs=1e-5)
    assert len(odd) == 5 and all(answer.top for answer in odd)


# ---- the report

def test_the_report_needs_no_network_and_describes_its_drawings(run):
    page = (run.folder / REPORT).read_text(encoding="utf-8")
    outside = r"""(?:src|href|srcset|action)\s*=\s*["'](?!data:|#)|@import|url\((?!#)|<script|<link|<iframe"""
    assert not re.findall(outside, page)
    assert page.count("<img") == page.count(' alt="') == len(run.about["mistakes"]) > 0
    assert page.count("<svg") == page.count('role="img" aria-label="') == 3
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    for true, predicted, count in most_confused(run.about["confusion"], run.vocabulary):
        assert f"<td>{true}</td><td>{predicted}</td>" in page.replace("<wbr>", "")


def answered(folder, counts, **changes):
    "Change a copy so that its network gave other answers, counted by true class and answer."
    metrics = json.loads((folder / ABOUT).read_text())["metrics"]
    n = sum(map(sum, counts))
    wrong = n - sum(row[i] for i, row in enumerate(counts))
    metrics |= {"n": n, "wrong": wrong, "error_rate": wrong / n, "interval": list(share_interval(wrong, n))}
    return change(folder, confusion=counts, metrics=metrics, **changes)


def test_the_report_shows_the_worst_breeds_with_intervals(copy, run):
    n_classes = len(run.vocabulary)
    counts = [[10 * (row == column) for column in range(n_classes)] for row in range(n_classes)]
    counts[1][1], counts[1][0] = 6, 4
    counts[2][2], counts[2][0] = 9, 1
    counts[4] = [0] * n_classes
    page = report(answered(copy, counts)).read_text(encoding="utf-8").replace("<wbr>", "")
    worst = page[page.index("<h2>Worst breeds"):page.index("<h2>Most confused")]
    low, high = share_interval(4, 10)
    assert re.findall(r"<tr><td>(\w+)</td>", worst) == [run.vocabulary[1], run.vocabulary[2]]
    assert f"<td>40%</td><td>{low:.0%} to {high:.0%}</td>" in worst
    assert f"No test picture of {run.vocabulary[4]}: nothing is known about\nit." in worst


def test_the_report_shows_confident_mistakes_the_surest_first(copy, run):
    mistakes = [{**run.about["mistakes"][0], "probability": sure} for sure in (0.5, None, 0.9)]
    page = report(change(copy, mistakes=mistakes)).read_text(encoding="utf-8")
    gallery = page[page.index("<h2>Confident mistakes"):]
    assert re.findall(r"</b> (.+?)<br>", gallery) == ["90.0%", "50.0%", "not a number"]


def test_the_report_of_very_many_breeds_leaves_the_matrix_out(copy):
    n_classes = 300
    counts = [[int(row == column) for column in range(n_classes)] for row in range(n_classes)]
    answered(copy, counts, vocabulary=[f"breed {number}" for number in range(n_classes)], mistakes=[])
    page = report(copy).read_text(encoding="utf-8")
    assert "A matrix of 300 breeds does not fit on a page" in page and "taken for" not in page
    assert page.count("<p>None: every answer was right.</p>") == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_a_phone(copy, run, pets, request, scheme):
    pytest.importorskip("playwright.sync_api")
    browser = request.getfixturevalue("browser")
    mistake = {**run.about["mistakes"][0], "breed": "american_pit_bull_terrier",
               "predicted": "staffordshire_bull_terrier",
               "image": "images/american_pit_bull_terrier_1.jpg"}
    page_file = report(change(copy, mistakes=[mistake] * 3), data=pets)
    page = browser.new_page(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert [url for url in asked if not url.startswith("data:")] == [page_file.as_uri()]
    page.close()


def test_the_report_escapes_and_stays_in_its_folder(copy, run, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "secret.jpg")
    evil = "<script>alert(1)</script>"
    mistake = {**run.about["mistakes"][0], "breed": evil}
    mistakes = [{**mistake, "image": name} for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), evil)]
    change(copy, vocabulary=[evil, *run.vocabulary[1:]], mistakes=mistakes, data={**run.about["data"], "source": evil})
    page = report(copy, data=tmp_path / "images").read_text(encoding="utf-8")
    assert "<script" not in page and "data:image" not in page
    assert page.count("picture not found") == 3 and "put the data back" in page


def test_the_report_is_made_again_without_weights_or_data(copy, tmp_path):
    (copy / MODEL).unlink()
    (copy / REPORT).unlink()
    assert "put the data back" in report(copy, data=tmp_path / "gone").read_text(encoding="utf-8")
    (copy / HISTORY).write_text("nonsense\n1\n")
    assert "no history" in refusal(lambda: report(copy))
    (copy / HISTORY).unlink()
    refusal(lambda: report(copy))


def test_a_loss_that_is_not_a_number_can_be_reported(copy, run):
    change(copy, metrics={**run.about["metrics"], "loss": None},
           mistakes=[{**run.about["mistakes"][0], "probability": None}])
    (copy / HISTORY).write_text("epoch,stage,train_loss,valid_loss,error_rate\n1,all layers,nan,nan,0.9\n")
    assert "not a number" in report(copy).read_text(encoding="utf-8")


def test_a_network_that_diverged_is_written_as_valid_json(pets, tmp_path):
    learn = learner(pets)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
    for weights in learn.model.parameters():
        weights.data.fill_(math.nan)
    saved = save_run(learn, tmp_path / "run")
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")
    about = json.loads((saved.folder / ABOUT).read_text(), parse_constant=refuse)
    assert about["metrics"]["loss"] is None and about["mistakes"][0]["probability"] is None
    report(saved)



# ---- the exercises of the chapter

@pytest.fixture(scope="module")
def exercises():
    return Exercises("14_shipping")


@pytest.fixture
def names(exercises):
    "What the cells of the exercises use, with their checks."
    return exercises.namespace(json=json, random=random, struct=struct, tempfile=tempfile, np=np, torch=torch,
                               save=save, Path=Path)


def test_solutions_pass_and_an_empty_answer_gives_nothing_away(exercises, names, capsys):
    assert len(exercises.starts) == len(exercises.solutions) == 3
    for start, solution in zip(exercises.starts, exercises.solutions):
        exec(start, names)
        assert capsys.readouterr().out.startswith("Not answered yet")
        for _ in range(3):
            exec(solution, names)
            assert capsys.readouterr().out == "Right.\n"


def _header(content):
    return json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])


def _in_place(path, pieces):
    with open(path, "w") as file:
        file.writelines(pieces)


def _leaves_its_part(path, pieces):
    part = path.with_name(path.name + ".part")
    _in_place(part, pieces)
    part.replace(path)


def _swallows(path, pieces):
    try:
        path.write_text("".join(pieces))
    except OSError:
        pass


def _reshaped(picture, mean, std):
    pixels = (torch.from_numpy(picture).float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    return pixels.reshape(1, 3, *picture.shape[:2])


def _bytes_kept(picture, mean, std):
    return ((torch.from_numpy(picture).float() - torch.tensor(mean)) / torch.tensor(std)).permute(2, 0, 1)[None]


@pytest.mark.parametrize("check, answer, hint", [
    ("check_shapes", lambda content: {name: tuple(entry.get("shape", ())) for name, entry in _header(content).items()},
     "no tensor"),
    ("check_shapes", lambda content: {name: entry["shape"] for name, entry in _header(content).items()
                                      if name != "__metadata__"}, "tuples"),
    ("check_shapes", lambda content: json.loads(content), "first eight bytes"),
    ("check_shapes", lambda content: {"layer0.weight": (1,)}, "names"),
    ("check_prepare", _reshaped, "Permute"), ("check_prepare", _bytes_kept, "255"),
    ("check_prepare", lambda picture, mean, std: picture, "not a tensor"),
    ("check_prepare", lambda picture, mean, std: torch.from_numpy(picture), "shape"),
    ("check_write", _in_place, "old content"), ("check_write", _leaves_its_part, "left in the folder"),
    ("check_write", _swallows, "swallowed"), ("check_write", lambda path: None, "TypeError")])
def test_wrong_answers_get_a_hint(names, capsys, check, answer, hint):
    names[check](answer)
    said = capsys.readouterr().out
    assert said.startswith("Not yet") and hint in said, said
