"""presize held against fastai, both ways against each other, the measurement against cases with a known answer; the
exercises of the chapter."""
import importlib
import math
import random
import re
import sys
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
import torch
from fastai.vision import augment
from fastai.vision.all import (PadMode, Pipeline, PILImage, Rotate, TensorImage, Warp, Zoom, rotate_mat,
                               setup_aug_tfms, zoom_mat)
from hypothesis import given, settings
from hypothesis import strategies as st
from exercises import Exercises

from petbreeds import presizing
from petbreeds.paperpets import draw_pet
from petbreeds.presizing import classic_augment, compare_augment, item_batch, presize

ROOT = Path(__file__).parents[1]
SIDE, SIZE = 96, 48
STILL = dict(rotate=0.0, zoom=1.0, warp=(0.0, 0.0))


@pytest.fixture(scope="module")
def items():
    "Four drawn pets as square items."
    breeds = ("Bengal", "beagle", "pug", "Persian")
    return item_batch([draw_pet(breed, 1, size=(128, 96)).rgb for breed in breeds], SIDE)


def fetches(function):
    "How often `function` interpolates."
    with mock.patch.object(augment, "_grid_sample", wraps=augment._grid_sample) as fetch:
        function()
    return fetch.call_count


@settings(deadline=None, max_examples=50)
@given(st.floats(-90, 90), st.floats(0.5, 3), st.floats(-0.4, 0.4), st.floats(-0.4, 0.4), st.integers(8, SIDE),
       st.sampled_from([PadMode.Zeros, PadMode.Border, PadMode.Reflection]))
def test_presize_is_the_pipeline_of_fastai(items, turn, grow, across, down, size, pad_mode):
    how = dict(p=1.0, size=size, pad_mode=pad_mode)
    theirs = Pipeline(setup_aug_tfms([Rotate(draw=turn, **how), Zoom(draw=grow, draw_x=0.5, draw_y=0.5, **how),
                                      Warp(draw_x=across, draw_y=down, **how)]))
    ours = presize(items, size, turn, grow, (across, down), pad_mode)
    torch.testing.assert_close(ours, TensorImage(theirs(items)), rtol=0, atol=1e-5)


def test_one_interpolation_against_four(items):
    assert fetches(lambda: presize(items, SIZE)) == 1
    assert fetches(lambda: classic_augment(items, SIZE)) == 4


@settings(deadline=None, max_examples=50)
@given(st.floats(-60, 60), st.floats(0.8, 2), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_both_ways_have_one_geometry(turn, grow, across, down):
    "On slopes, which no interpolation blurs, they agree wherever neither invents."
    line = torch.linspace(0, 1, SIDE)
    slopes = torch.stack([line.expand(SIDE, SIDE), line[:, None].expand(SIDE, SIDE), (line + line[:, None]) / 2])[None]
    how = SIZE, turn, grow, (across, down)
    sheet = torch.ones_like(slopes)
    real = torch.minimum(*(way(sheet, *how, PadMode.Zeros) for way in (presize, classic_augment))) > 0.999
    assert real.float().mean() > 0.2
    torch.testing.assert_close(presize(slopes, *how)[real], classic_augment(slopes, *how)[real], rtol=0, atol=3e-3)


def test_another_order_is_another_geometry(items):
    order = ("rotate", "zoom", "warp")
    assert (classic_augment(items, SIZE, order=order) - classic_augment(items, SIZE)).abs().mean() > 0.02


def test_nothing_asked_nothing_done(items):
    for way in (presize, classic_augment):
        torch.testing.assert_close(way(items, SIDE, **STILL), items, rtol=0, atol=1e-3)


def test_each_picture_its_own_geometry(items):
    turns = torch.tensor([0.0, 10.0, 20.0, 30.0])
    for way in (presize, classic_augment):
        together = way(items, SIZE, rotate=turns)
        for i, turn in enumerate(turns.tolist()):
            torch.testing.assert_close(together[i:i + 1], way(items[i:i + 1], SIZE, rotate=turn), rtol=0, atol=1e-5)


def test_turns_are_clockwise_and_a_right_angle_is_exact():
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    got = presize(picture, 32, rotate=90.0, zoom=1.0, warp=(0.0, 0.0))
    torch.testing.assert_close(got.as_subclass(torch.Tensor), picture.rot90(-1, (2, 3)), rtol=0, atol=1e-4)


def test_inputs_are_not_changed(items):
    before = items.clone()
    presize(items, SIZE), classic_augment(items, SIZE), compare_augment(items, SIZE, bs=2)
    assert torch.equal(items, before)


@pytest.mark.parametrize("way", [presize, classic_augment, compare_augment])
@pytest.mark.parametrize("wrong, size, words", [
    (torch.rand(3, 9, 9), 8, ["(3, 9, 9)", "item_batch"]),
    (torch.rand(1, 3, 9, 8), 8, ["(1, 3, 9, 8)", "square"]),
    (torch.zeros(1, 3, 9, 9, dtype=torch.uint8), 8, ["torch.uint8", "floats"]),
    ("cat.jpg", 8, ["str", "item_batch"]),
    (torch.rand(1, 3, 9, 9), 10, ["10", "side of the items, 9"]),
    (torch.rand(1, 3, 9, 9), 1, ["from 2", "got 1"]),
    (torch.rand(1, 3, 9, 9), 4.0, ["4.0"]),
    (torch.rand(1, 3, 9, 9), (4, 4), ["(4, 4)"]),
])
def test_wrong_arguments_get_one_clear_line(way, wrong, size, words):
    with pytest.raises(ValueError) as error:
        way(wrong, size)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


def test_item_batch_takes_files_pictures_and_arrays(tmp_path):
    array = draw_pet("pug", 1, size=(80, 60)).rgb
    picture = PILImage.create(array)
    picture.save(tmp_path / "pug_1.png")
    batch = item_batch([tmp_path / "pug_1.png", str(tmp_path / "pug_1.png"), picture, array], 40)
    assert batch.shape == (4, 3, 40, 40) and batch.is_floating_point() and 0 <= batch.min() and batch.max() <= 1
    assert all(torch.equal(batch[0], other) for other in batch[1:])


def test_compare_finds_what_the_chapter_says(items):
    table = compare_augment(items, SIZE, bs=3)
    assert set(table.index.get_level_values("way")) == {"presized", "in turn", "difference"}
    mean = table["mean"]
    assert mean["sharpness, reference = 1", "presized"] > mean["sharpness, reference = 1", "in turn"]
    assert mean["error, grey levels", "presized"] < mean["error, grey levels", "in turn"]
    assert 0 < mean["invented, %", "presized"] < mean["invented, %", "in turn"] < 30
    assert (table["n"][:-3] == 4).all() and (table["n"][-3:] == 6).all()
    assert ((table["low"] <= table["mean"]) & (table["mean"] <= table["high"])).all()
    for measure in table.index.get_level_values("measure").unique():
        difference = mean[measure, "presized"] - mean[measure, "in turn"]
        assert mean[measure, "difference"] == pytest.approx(difference, abs=1e-4)


def test_compare_repeats_and_does_not_depend_on_batches(items):
    seen = [compare_augment(items, SIZE, bs=bs, seed=seed).drop("time, ms a batch", level="measure")
            for bs, seed in ((2, 0), (4, 0), (4, 1))]
    pd.testing.assert_frame_equal(seen[0], seen[1], atol=1e-3, rtol=1e-3)
    assert (seen[1]["mean"] - seen[2]["mean"]).abs().max() > 1e-3


def test_without_geometry_nothing_is_invented_and_the_ways_agree(items):
    mean = compare_augment(items, SIDE, rotate=0.0, zoom=1.0, warp=0.0)["mean"]
    for way in ("presized", "in turn"):
        assert mean["invented, %", way] == pytest.approx(0, abs=1e-3)
    assert mean["sharpness, reference = 1", "difference"] == pytest.approx(0, abs=0.02)


def test_compare_needs_two_pictures(items):
    with pytest.raises(ValueError, match="two pictures or more, got 1"):
        compare_augment(items[:1], SIZE)


def test_reference_is_an_area_mean():
    "A chequered item shrunk to half is even grey, which single samples would miss."
    chequered = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float().expand(1, 3, 64, 64)
    grey = presizing._reference(TensorImage(chequered), 32, presizing._steps(0.0, 1.0, (0.0, 0.0)))[..., 2:-2, 2:-2]
    assert (grey - 0.5).abs().max() < 0.1


def test_sharpness_and_error_count_only_inside():
    picture = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    inside = torch.ones(2, 1, 20, 20, dtype=torch.bool)
    inside[..., 10:] = False
    spoilt = torch.where(inside, picture, 7.0)
    picture, spoilt = TensorImage(picture), TensorImage(spoilt)
    torch.testing.assert_close(presizing._sharpness(picture, inside), presizing._sharpness(spoilt, inside))
    assert torch.equal(presizing._error(picture, spoilt, inside), torch.zeros(2))
    torch.testing.assert_close(presizing._error(picture + 0.1, picture, inside), torch.full((2,), 25.5))


@pytest.fixture
def bench(monkeypatch):
    "The script that trains the ways against each other."
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    yield importlib.import_module("presizing")
    sys.modules.pop("presizing")


def test_bench_splits_a_composed_transform_into_the_same_geometry(bench, items):
    tfms = setup_aug_tfms([Warp(draw_x=0.1, draw_y=-0.1, p=1.0), Rotate(draw=20.0, p=1.0),
                           Zoom(draw=1.3, draw_x=0.2, draw_y=0.7, p=1.0)])
    split = bench.one_by_one(tfms[0])
    assert len(split) == 3 and fetches(lambda: Pipeline(split)(items)) == 3
    smooth = torch.nn.functional.avg_pool2d(items, 15, stride=1)
    torch.testing.assert_close(TensorImage(Pipeline(split)(smooth))[..., 20:-20, 20:-20],
                               TensorImage(Pipeline(tfms)(smooth))[..., 20:-20, 20:-20], rtol=0, atol=0.02)


def test_bench_compares_equal_seeds(bench):
    runs = {"presized": [(0.5, 1), (0.3, 1)], "small": [(0.6, 2), (0.4, 2)], "in turn": [(0.5, 3), (0.5, 3)]}
    first, small, in_turn = bench.rows(runs, dict.fromkeys(runs, 128))
    assert first["error"][1] == 0.4 and first["more_than_presized"] is None
    assert small["more_than_presized"] == [0.1, 0.1, 0.1]
    low, middle, high = in_turn["more_than_presized"]
    assert middle == 0.1 and low < 0 < high


# The exercises of the chapter: its own check cells, run on its own solutions and on the usual wrong answers.

EXERCISES = Exercises("02_presizing")


@pytest.fixture
def chapter():
    "What the exercises use, and the check cells."
    space = {"torch": torch, "math": math, "random": random, "presize": presize, "PadMode": PadMode,
             "rotate_mat": rotate_mat, "zoom_mat": zoom_mat}
    return EXERCISES.namespace(**space)


@pytest.mark.parametrize("check, answer", [
    ("kept", "lambda w, h: min(w / h, h / w)"),
    ("kept", "lambda w, h: min(w, h)**2 / (w * h)"),
    ("kept", "lambda w, h: round(min(w, h) / max(w, h), 3)"),
    ("zoom", "lambda d: math.sqrt(2) * math.cos(math.radians(45 - abs(d)))"),
    ("zoom", "lambda d: torch.tensor(math.radians(d)).cos().abs() + torch.tensor(math.radians(d)).sin().abs()"),
    ("zoom", "lambda d: math.sqrt(1 + abs(math.sin(2 * math.radians(d))))"),
    ("compose", "lambda first, second: torch.matmul(first, second)"),
    ("compose", "lambda first, second: (first @ second)[:2]"),
    ("compose", "lambda first, second: torch.einsum('ij,jk->ik', first, second)"),
    ("invented", "lambda t: (t(torch.ones(1, 1, 300, 300), PadMode.Zeros) < 0.5).float().mean()"),
    ("invented", "lambda t: 1 - t(torch.ones(2, 3, 128, 128), PadMode.Zeros).mean().item()"),
    ("invented", "lambda t: t(torch.full((1, 3, 256, 256), -1.), PadMode.Zeros).mean() + 1"),
])
def test_other_right_answers_pass(chapter, capsys, check, answer):
    chapter[f"check_{check}"](eval(answer, chapter))
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize("check, answer, hint", [
    ("kept", "lambda w, h: h / w", "tall pictures"),
    ("kept", "lambda w, h: 100 * min(w, h) / max(w, h)", "0 to 1"),
    ("kept", "lambda w, h: 1 - min(w, h) / max(w, h)", "is lost"),
    ("kept", "lambda w, h: (min(w, h) / max(w, h))**2", "Only one side"),
    ("kept", "lambda w, h: 1", "pad or squish"),
    ("kept", "lambda w, h: 0.7", "expected 0.5"),
    ("kept", "lambda w, h: 'half'", "ValueError"),
    ("kept", "lambda w, h: {(500, 250): .5, (250, 500): .5, (300, 300): 1, (500, 375): .75}.get((w, h), 0)", "got 0"),
    ("zoom", "lambda d: d.cos()", "AttributeError"),
    ("compose", "lambda first, second: first @ torch.ones(5)", "RuntimeError"),
    ("invented", "lambda t: t(1)", "TypeError"),
    ("zoom", "lambda d: abs(math.cos(d)) + abs(math.sin(d))", "radians"),
    ("zoom", "lambda d: math.cos(math.radians(d)) + math.sin(math.radians(d))", "which way"),
    ("zoom", "lambda d: math.sqrt(2)", "not the least"),
    ("zoom", "lambda d: 1 / math.cos(math.radians(d))", "is invented"),
    ("zoom", "lambda d: 1.2", "is invented"),
    ("zoom", "lambda d: 0", "is invented"),
    ("compose", "lambda first, second: second @ first", "first of the coordinates"),
    ("compose", "lambda first, second: first * second", "number by number"),
    ("compose", "lambda first, second: first + second", "a sum"),
    ("compose", "lambda first, second: first", "expected"),
    ("invented", "lambda t: t(torch.ones(1, 3, 256, 256), PadMode.Zeros).mean()", "which is real"),
    ("invented", "lambda t: 1 - t(torch.ones(1, 3, 256, 256), PadMode.Border).mean()", "other kinds of padding"),
    ("invented", "lambda t: 100 * (1 - t(torch.ones(1, 3, 256, 256), PadMode.Zeros).mean())", "percentages"),
    ("invented", "lambda t: (t(torch.rand(1, 3, 256, 256), PadMode.Zeros) < 0.5).float().mean()", "not invented"),
    ("invented", "lambda t: (1 - t(torch.ones(1, 3, 256, 256), PadMode.Zeros).mean()) / 2", "expected"),
])
def test_wrong_answer_gets_its_sentence(chapter, capsys, check, answer, hint):
    chapter[f"check_{check}"](eval(answer, chapter))
    said = capsys.readouterr().out
    assert said.startswith("Not yet") and re.search(hint, said), said
