"Runs: nothing pickled, nothing believed unchecked, resumed to the last bit."
import json
import math
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

import petbreeds.blocks  # before torch: it tells torch's threads how to wait

import pytest
import torch
from fastai.callback.core import Callback
from PIL import Image
from safetensors.torch import load_file, save_file

from petbreeds.baseline import Stage, pet_learner
from petbreeds.blocks import pet_dls, profile_for
from petbreeds.paperpets import make_paperpets
from petbreeds.shipping import (
    ABOUT, CHECKPOINT, HISTORY, MODEL, REPORT, RunError, check_folder, load_run,
    _EXPECTED, describe, most_confused, predict, read_history, read_run, report, save_run, train_run)


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return make_paperpets(tmp_path_factory.mktemp("data") / "pets", per_breed=4, scale=0.3)


def learner(pets, epochs=2):
    "A small learner."
    profile = replace(profile_for(pets), arch="lcnet_050", weights="none", item_size=64, size=48, bs=32,
                      epochs=epochs, freeze_epochs=0)
    return pet_learner(pet_dls(pets, profile, bs=32, workers=0, say=lambda line: None), say=lambda line: None)


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
    return train_run(learner(pets), tmp_path_factory.mktemp("runs") / "run", source="a test")


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run.folder, tmp_path / "copy")


def change(folder, **changes):
    "Change run.json of a copy."
    about = json.loads((folder / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, **changes}))
    return folder


def refusal(action):
    "The one line with which `action` is refused."
    with pytest.raises(RunError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what a run holds

def test_a_run_holds_its_four_files_and_they_agree(run):
    assert {path.name for path in run.folder.iterdir()} == {MODEL, ABOUT, HISTORY, REPORT}
    about, history = run.about, read_history(run.folder)
    assert [row["epoch"] for row in history] == [1, 2]
    metrics = about["metrics"]
    assert math.isclose(history[-1]["error_rate"], metrics["error_rate"], abs_tol=1e-6)
    wrong = sum(map(sum, about["confusion"])) - sum(row[i] for i, row in enumerate(about["confusion"]))
    assert metrics["error_rate"] == wrong / metrics["n_valid"]
    assert metrics["n_valid"] == about["split"]["n_valid"] == 74
    assert {"petbreeds", "fastai", "torch", "timm", "python", "platform"} <= set(about["versions"])
    assert (run.folder / MODEL).stat().st_mode & 0o444 == 0o444


def test_nothing_is_pickled(pets, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("pickle was used")
    learn = learner(pets, epochs=1)
    for module, names in ((torch, ("save", "load")), (pickle, ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"))):
        for name in names:
            monkeypatch.setattr(module, name, refuse)
    with pytest.raises(KeyboardInterrupt):
        train_run(learn, tmp_path / "run", cbs=[Stop(0)])
    train_run(learn, tmp_path / "run", resume=True)
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


# ---- interrupted and continued

STAGES = [Stage(True, 2, slice(1e-2), 0.99, 25), Stage(False, 2, slice(1e-4, 1e-2), 0.3, 5)]


def train_in_two_stages(*args, **kwargs):
    "Training with a frozen and an unfrozen stage, as with pretrained weights."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("petbreeds.shipping.pet_stages", lambda profile: STAGES)
        return train_run(*args, **kwargs)


@pytest.fixture(scope="module")
def uninterrupted(pets, tmp_path_factory):
    return train_in_two_stages(learner(pets), tmp_path_factory.mktemp("runs") / "whole")


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_continued_run_has_the_same_numbers_to_the_last_bit(pets, uninterrupted, tmp_path, done):
    with pytest.raises(KeyboardInterrupt):
        train_in_two_stages(learner(pets), tmp_path / "run", cbs=[Stop(done)])
    assert "interrupted" in refusal(lambda: load_run(tmp_path / "run"))
    continued = train_in_two_stages(learner(pets), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / HISTORY).read_text() == (uninterrupted.folder / HISTORY).read_text()
    assert (tmp_path / "run" / MODEL).read_bytes() == (uninterrupted.folder / MODEL).read_bytes()
    assert continued.about["metrics"] == uninterrupted.about["metrics"]
    assert [row["stage"] for row in read_history(continued.folder)] == ["frozen"] * 2 + ["all layers"] * 2


def test_killed_between_training_and_saving(pets, run, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("petbreeds.shipping._finish", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        train_run(learner(pets), tmp_path / "run")
    train_run(learner(pets), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / MODEL).read_bytes() == (run.folder / MODEL).read_bytes()


def test_continuing_is_refused_with_other_data_or_settings(pets, tmp_path):
    data = shutil.copytree(pets, tmp_path / "pets")
    with pytest.raises(KeyboardInterrupt):
        train_run(learner(data), tmp_path / "run", cbs=[Stop(1)])
    assert "another profile" in refusal(lambda: train_run(learner(data, epochs=3), tmp_path / "run", resume=True))
    Image.new("RGB", (50, 40), "red").save(data / "images" / "pug_1.jpg")
    before = {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    assert "other pictures" in refusal(lambda: train_run(learner(data), tmp_path / "run", resume=True))
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("damage", [b"", b"garbage" * 100, None])
def test_a_damaged_checkpoint_is_refused(pets, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        train_run(learner(pets), tmp_path / "run", cbs=[Stop(1)])
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1000] if damage is None else damage)
    assert "cannot be continued" in refusal(lambda: train_run(learner(pets), tmp_path / "run", resume=True))


def test_a_full_disk_stops_training_and_keeps_the_last_epoch(pets, run, tmp_path, monkeypatch):
    from petbreeds import shipping
    save, calls = shipping.save, []
    def full(*args):
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return save(*args)
    monkeypatch.setattr(shipping, "save", full)
    assert "No space left" in refusal(lambda: train_run(learner(pets), tmp_path / "run"))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {ABOUT, HISTORY, CHECKPOINT}
    monkeypatch.setattr(shipping, "save", save)
    train_run(learner(pets), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / MODEL).read_bytes() == (run.folder / MODEL).read_bytes()


# ---- where a run may be

def test_only_a_run_is_overwritten_and_only_its_own_files(pets, copy, tmp_path):
    (copy / "notes.txt").write_text("mine")
    assert "already holds a run" in refusal(lambda: check_folder(copy))
    train_run(learner(pets, epochs=1), copy, overwrite=True)
    assert len(read_history(copy)) == 1 and (copy / "notes.txt").read_text() == "mine"
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "monday").write_text("mine")
    for overwrite in (False, True):
        assert "not empty" in refusal(lambda: check_folder(tmp_path / "diary", overwrite))
    assert "is a file" in refusal(lambda: check_folder(tmp_path / "diary" / "monday" / "run"))
    assert not (tmp_path / "new").exists() and check_folder(tmp_path / "new") is None
    assert not (tmp_path / "new").exists()


# ---- damaged and foreign runs

@pytest.mark.parametrize("name", [*_EXPECTED, "format", "format_version", "confusion", "mistakes", "normalisation"])
@pytest.mark.parametrize("value", [None, "../../etc", 7.5, [], {}, [1, 2]], ids=str)
def test_each_wrong_part_of_run_json_is_refused_in_one_line(copy, name, value):
    change(copy, **{name: value})
    if [name, value] in (["normalisation", None], ["mistakes", []], ["versions", {}]):  # these may be so
        load_run(copy)
    else:
        refusal(lambda: load_run(copy))


@pytest.mark.parametrize("changes", [
    {"vocabulary": ["a"] * 37}, {"vocabulary": ["Bengal", "pug"]}, {"vocabulary": ["\x1b[31m"] + list(map(str, range(36)))},
    {"architecture": "resnet43"}, {"architecture": "mobilenetv3_small_050"}, {"format_version": 2}, {"format": "other"},
    {"normalisation": {"mean": [0, 0, 0], "std": [1, 0, 1]}}, {"normalisation": {"mean": [0, 0, 0]}},
    {"profile": {"size": 10**9, "item_size": 64, "bs": 8}}, {"finished": False},
    {"metrics": {"error_rate": 7.5, "n_valid": 10}}, {"metrics": {"error_rate": 0.5, "n_valid": 0}}])
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
    with learn.no_bar(), learn.no_logging():
        probabilities, labels = learn.get_preds()
    answers = predict(run, learn.dls.valid_ds.items, k=37)
    assert len(answers) == len(labels) > run.profile.bs
    for answer, expected in zip(answers, probabilities):
        got = dict(answer.top)
        assert [got[breed] for breed in run.vocabulary] == pytest.approx(expected.tolist(), abs=1e-3)
        assert sum(got.values()) == pytest.approx(1, abs=1e-4)


def test_bad_files_get_a_reason_and_good_ones_an_answer(pets, run, tmp_path):
    good = pets / "images" / "pug_1.jpg"
    files = {"text.jpg": b"not a picture", "empty.jpg": b"", "cut.jpg": good.read_bytes()[:600]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.png")
    names = ["text.jpg", "empty.jpg", "cut.jpg", "huge.png", "missing.jpg", "."]
    answers = predict(run, [good, *(tmp_path / name for name in names), good, str(good)], k=3)
    assert [bool(answer.problem) for answer in answers] == [False] + [True] * 6 + [False] * 2
    assert all((len(answer.top) == 0) == bool(answer.problem) for answer in answers)
    assert answers[0].top == answers[-2].top == answers[-1].top and len(answers[0].top) == 3
    assert "not a picture" in answers[1].problem and "million pixels" in answers[4].problem
    assert not any("\n" in answer.problem for answer in answers if answer.problem)
    assert predict(run, []) == []


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
    assert not re.findall(r"""(?:src|href|srcset|action)\s*=\s*["'](?!data:)|@import|url\(|<script|<link|<iframe""", page)
    assert page.count("<img") == page.count(' alt="') == len(run.about["mistakes"]) > 0
    assert page.count("<svg") == page.count('role="img" aria-label="') == 3
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page
    for true, predicted, count in most_confused(run.about):
        assert f"<td>{true}</td><td>{predicted}</td>" in page.replace("<wbr>", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_a_phone(copy, run, pets, request, scheme):
    pytest.importorskip("playwright.sync_api")
    browser = request.getfixturevalue("browser")
    mistake = {**run.about["mistakes"][0], "breed": "american_pit_bull_terrier", "predicted": "staffordshire_bull_terrier",
               "image": "american_pit_bull_terrier_1.jpg"}
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
    change(copy, vocabulary=[evil, *run.vocabulary[1:]], mistakes=mistakes)
    page = report(copy, data=tmp_path).read_text(encoding="utf-8")
    assert "<script" not in page and "data:image" not in page
    assert page.count("picture not found") == 3 and "put the data back" in page


def test_the_report_is_made_again_without_weights_or_data(copy, tmp_path):
    (copy / MODEL).unlink()
    (copy / REPORT).unlink()
    assert "put the data back" in report(copy, data=tmp_path / "gone").read_text(encoding="utf-8")
    (copy / HISTORY).write_text("nonsense\n1\n")
    assert "no epoch" in refusal(lambda: report(copy))
    (copy / HISTORY).unlink()
    refusal(lambda: report(copy))


def test_a_loss_that_is_not_a_number_can_be_reported(copy, run):
    change(copy, metrics={**run.about["metrics"], "valid_loss": None},
           mistakes=[{**run.about["mistakes"][0], "probability": None}])
    (copy / HISTORY).write_text("epoch,stage,train_loss,valid_loss,error_rate\n1,all layers,nan,nan,0.9\n")
    assert "not a number" in report(copy).read_text(encoding="utf-8")

