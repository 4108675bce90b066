"""Transfer: a head fitted on features trains the head and nothing else, and what does not fit is one clear line; the
chapter's own check cells, run on right answers and on the usual wrong ones."""
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from exercises import Exercises
from fastai.vision.all import ImageDataLoaders, Resize, error_rate
from fastai.vision.learner import vision_learner
from PIL import Image
from torch import nn

from petbreeds.baseline import pet_learner
from petbreeds.blocks import pet_dls, profile_for, with_options
from petbreeds.interpretation.results import results_of
from petbreeds.intervals import mean_interval
from petbreeds.transfer import (
    BatchNormAtRest, Features, TransferError, balanced_loss, body_features, features, fit_head)
from petbreeds.transfer.folds import cross_validated
from petbreeds.transfer.views import crop_box

EXERCISES = Exercises("09_transfer")
ROOT = Path(__file__).parents[1]
COLOURS = {"Abyssinian": (200, 120, 40), "Bombay": (20, 20, 30), "beagle": (120, 80, 200), "pug": (90, 200, 90)}
pytestmark = pytest.mark.usefixtures("one_thread")


def draw(folder, counts):
    "Pictures that a colour tells apart, in the layout of the Oxford archive without its lists."
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for number_of_class, (breed, count) in enumerate(counts.items()):
        colour = COLOURS.get(breed, rng.integers(0, 256, 3))
        for number in range(1, count + 1):
            pixels = np.clip(rng.normal(colour, 30, (45, 60, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{breed}_{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("pets"), dict.fromkeys(COLOURS, 10))


def learner(folder, bs=None, seed=42, **options):
    "A learner on pictures of 48 px that tells nothing while it trains."
    profile = with_options(profile_for(folder), arch="papernet", size=48, **options)
    learn = pet_learner(pet_dls(folder, profile, bs=bs, seed=seed, workers=0, device="cpu"))
    learn.remove_cbs(learn.cbs.filter(lambda callback: callback.name == "progress"))
    learn.logger = lambda *_: None
    return learn


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


# ---- the head and nothing else

def test_fit_head_trains_the_head_and_leaves_the_body_bit_for_bit(pets):
    learn = learner(pets)
    learn.model.train()
    learn.model[0].eval()
    body, head = map(state, learn.model)
    fitted = fit_head(learn)
    assert same(body, state(learn.model[0])) and not same(head, state(learn.model[1]))
    assert not learn.model[0].training
    assert fitted.model[-1] is learn.model[1][-1] and len(fitted.recorder.values) == 30
    assert results_of(learn, "valid").error_rate == fitted.recorder.values[-1][-1] < 0.3


def test_one_seed_one_result(pets):
    first, again, other = learner(pets), learner(pets), learner(pets, seed=7)
    for learn in (first, again, other):
        fit_head(learn, views=2, epochs=3)
    assert same(state(first.model), state(again.model)) and not same(state(first.model), state(other.model))


def test_a_search_for_a_rate_before_changes_nothing(pets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain, searched = learner(pets), learner(pets)
    searched.lr_find(num_it=5, show_plot=False)
    for learn in (plain, searched):
        fit_head(learn, epochs=3)
    assert same(state(plain.model), state(searched.model))


def test_features_are_those_of_fastai_s_own_pipeline(pets):
    learn = learner(pets)
    found = body_features(learn, part="test")
    pictures, labels = zip(*learn.dls[2])
    body = learn.model[0].eval()
    with torch.no_grad():
        maps = torch.cat([body(some) for some in pictures])
    assert torch.equal(found.y, torch.cat(labels).as_subclass(torch.Tensor))
    assert (found.x - maps.mean((2, 3))).norm() < 0.03 * found.x.norm()  # bfloat16 keeps three digits


def test_views_come_view_by_view_and_each_is_its_own(pets):
    learn = learner(pets)
    n = len(learn.dls.train_ds)
    found = body_features(learn, views=3)
    assert found.x.shape[0] == 3 * n and torch.equal(found.y[:n], found.y[n:2 * n])
    assert not torch.allclose(found.x[:n], found.x[n:2 * n], rtol=1e-2)
    one = body_features(learn, views=1)
    assert (one.x - found.x[:n]).norm() < 0.01 * one.x.norm()  # whatever else is looked at


def test_progress_is_told(pets):
    class Told:
        seen = []

        def looked(self, done, total):
            self.seen.append((done, total))
    learn = learner(pets)
    body_features(learn, views=2, cbs=[Told()])
    assert Told.seen[-1] == (2 * len(learn.dls.train_ds),) * 2


def test_other_people_s_loaders_keep_their_pipeline(pets):
    dls = ImageDataLoaders.from_name_re(
        pets, list((pets / "images").iterdir()), r"([A-Za-z]+)_\d+", item_tfms=Resize(48), bs=8, num_workers=0)
    learn = vision_learner(dls, "papernet", metrics=error_rate)
    with learn.no_bar(), learn.no_logging():
        fitted = fit_head(learn, epochs=5)
    assert len(body_features(learn, views=2).y) == 2 * len(dls.train_ds) and len(fitted.recorder.values) == 5


def test_batch_normalisation_at_rest(pets):
    learn = learner(pets)
    norms = [layer for layer in learn.model.modules() if isinstance(layer, nn.BatchNorm2d)]
    learn.unfreeze()
    before = [norm.running_mean.clone() for norm in norms]
    learn.fit(1, 1e-3, cbs=BatchNormAtRest())
    assert all(map(torch.equal, before, (norm.running_mean for norm in norms)))
    learn.fit(1, 1e-3)
    assert not any(map(torch.equal, before, (norm.running_mean for norm in norms)))


# ---- small and uneven sets

@pytest.mark.parametrize("counts", [
    {"pug": 1, "beagle": 9, "Bombay": 9}, {"pug": 4, "beagle": 4}, {"pug": 2, "beagle": 100},
    {f"breed{number}": 2 for number in range(400)}], ids=["one picture", "two classes", "1 to 50", "400 classes"])
@pytest.mark.parametrize("balance", [False, True])
def test_sets_as_people_bring_them(tmp_path, counts, balance):
    learn = learner(draw(tmp_path, counts), balance=balance)
    fitted = fit_head(learn, epochs=2)
    assert np.isfinite(fitted.recorder.values[-1][0])
    assert 0 <= results_of(learn, "test").error_rate <= 1


def test_balanced_loss_weighs_classes_and_not_pictures():
    labels = torch.tensor([0] * 8 + [1] * 2)
    weights = balanced_loss(labels, 2).func.weight
    assert torch.allclose(weights, torch.tensor([0.625, 2.5]))
    assert weights[labels].sum().item() == pytest.approx(10)


def test_cross_validation_leaves_the_head_alone(tmp_path):
    learn = learner(draw(tmp_path, {"pug": 4, "beagle": 4, "Bombay": 2}))
    before = state(learn.model)
    wrong, n = cross_validated(learn, body_features(learn, 2), epochs=5)
    assert 0 <= wrong <= n == len(learn.dls.train_ds) - 1  # of Bombay one picture trains, and is never held back
    assert same(before, state(learn.model))


def test_features_at_hand_give_the_same_head(pets):
    computed, given = learner(pets), learner(pets)
    fit_head(computed, epochs=2)
    fit_head(given, epochs=2, train=body_features(given))
    assert same(state(computed.model), state(given.model))


# ---- what does not fit

def refusal(action):
    "The one line of a TransferError."
    with pytest.raises(TransferError) as caught:
        action()
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


@pytest.fixture
def blind(monkeypatch):
    "Fails if a picture is opened."
    def look(*args):
        raise AssertionError("a picture was opened")
    monkeypatch.setattr(features, "random_view", look)


@pytest.mark.parametrize("views", [0, -1, 1.5])
def test_views_that_make_no_sense(pets, blind, views):
    assert "choose 1 or more" in refusal(lambda: fit_head(learner(pets), views=views))


def test_mini_batches_larger_than_the_set(pets, blind):
    learn = learner(pets)
    learn.dls.train.bs = 500
    assert "mini-batches of 500 do not fit" in refusal(lambda: fit_head(learn))


def test_too_many_features_for_the_memory(pets, blind):
    assert "GB" in refusal(lambda: fit_head(learner(pets), views=10**6))


@pytest.mark.parametrize("head, words", [
    (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(7, 4)), "does not fit"),
    (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(368, 9)), "does not fit"),
    (nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no weights to fit"),
    (nn.Sequential(nn.Linear(368, 4)), "does not pool"), (nn.Linear(368, 4), "not a body and a head")])
def test_heads_that_do_not_fit(pets, blind, head, words):
    learn = learner(pets)
    learn.model[1] = head
    assert words in refusal(lambda: fit_head(learn))


def test_random_bodies_are_noticed(pets, caplog):
    fit_head(learner(pets, from_scratch=True), epochs=1)
    assert "random weights" in caplog.text
    caplog.clear()
    fit_head(learner(pets), epochs=1)
    assert "random weights" not in caplog.text


def test_boxes_stay_in_pictures_of_any_shape():
    rng = np.random.default_rng(0)
    for width, height in ((1, 1), (3, 900), (900, 3), (250, 188)):
        for _ in range(200):
            left, top, right, bottom = crop_box(width, height, rng)
            assert 0 <= left < right <= width + 1e-9 and 0 <= top < bottom <= height + 1e-9


# ---- what was measured

def test_stored_intervals_are_those_of_the_stored_errors():
    stored = json.loads((ROOT / "bench" / "results" / "transfer.json").read_text(encoding="utf-8"))
    assert stored["date"] and stored["torch"] and stored["seeds"] >= 3
    for name, row in stored["results"].items():
        mean, low, high = mean_interval(row["errors"])
        assert len(row["errors"]) == stored["seeds"], name
        assert row["error"] == pytest.approx([low, mean, high], abs=1e-4), name


# ---- exercises

@pytest.fixture
def chapter():
    return EXERCISES.namespace(torch=torch, nn=nn, F=nn.functional, math=math, random=random, Features=Features)


def by_angle(features, labels, new):
    means = torch.stack([features[labels == label].mean(0) for label in range(labels.max() + 1)])
    return (nn.functional.normalize(new) @ nn.functional.normalize(means).T).argmax(1)


def half_of(model, more):
    weights = list(model.parameters())
    for number, one in enumerate(weights):
        one.requires_grad_(number >= (len(weights) + more) // 2)


@pytest.mark.parametrize("check, answer, hint", [
    ("nearest_mean", lambda x, y, new: y[torch.cdist(new, x).argmin(1)], "Take means first"),
    ("nearest_mean", lambda x, y, new: 1 / 0, "it fails"),
    ("nearest_mean", lambda x, y, new: by_angle(x, y, new), "compares angles"),
    ("most_views", lambda epochs, head, share: share * epochs * (1 + head) / (1 + epochs * head), "whole"),
    ("most_views", lambda epochs, head, share: 1 + int(share * epochs * (1 + head) / (1 + epochs * head)), "too much"),
    ("most_views", lambda epochs, head, share: int(share * epochs), "more rows to learn"),
    ("most_views", lambda epochs, head, share: 50, "what does one view cost"),
    ("most_views", lambda epochs, head, share: None, "no number"),
    ("freeze_half", lambda model: half_of(model, 1), "the middle one learns"),
    ("freeze_half", lambda model: model.requires_grad_(False), "second half must learn"),
    ("freeze_half", lambda model: None, "one by one")])
def test_wrong_answers_get_a_hint(chapter, capsys, check, answer, hint):
    chapter[f"check_{check}"](answer)
    said = capsys.readouterr().out
    assert said.startswith("Not yet") and hint in said
