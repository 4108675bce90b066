"why_no_batch on each fault and on sound blocks of every kind; profiles; pet_dls; the exercises of chapter 3."
import json
import logging
import math
import multiprocessing.process
import random
import re
import shutil
import tempfile
import unicodedata
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from itertools import product
from pathlib import Path
from textwrap import fill
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import (BBoxBlock, BBoxLblBlock, CategoryBlock, ColReader, DataBlock, FuncSplitter,
                               GrandparentSplitter, ImageBlock,
                               ItemTransform, MaskBlock, MultiCategoryBlock, Normalize, Pipeline, PILImage,
                               PILImageBW, RandomResizedCrop, RandomResizedCropGPU, RandomSplitter, RatioResize,
                               RegexLabeller,
                               RegressionBlock, Resize, TensorImage, TfmdDL, Transform, TransformBlock, aug_transforms,
                               error_rate, get_image_files, imagenet_stats, parent_label, using_attr, vision_learner)
from PIL import Image
from exercises import Exercises

from petbreeds.blocks import (FROM_SCRATCH, PROFILES, OpenPicture, Profile, Schedule, batch_size, pet_block, pet_dls,
                              pet_rows,
                              profile_for, split_by_part, why_no_batch, with_options, workers_for)
from petbreeds.blocks import profiles
from petbreeds.files import PetsError
from petbreeds.layout import DataError, breed_of, usable_images

ROOT = Path(__file__).parents[1]
BREEDS = ("Bengal", "Sphynx", "beagle")


def images(folder):
    return get_image_files(folder).sorted()


def even_split(items):
    "Every fourth item is for validation."
    return [i for i in range(len(items)) if i % 4], [i for i in range(len(items)) if not i % 4]


SOUND = dict(blocks=(ImageBlock, CategoryBlock), get_items=images, get_y=breed_of, splitter=even_split,
             item_tfms=Resize(32))


@pytest.fixture
def pets(tmp_path):
    "Twelve noisy pictures of three breeds and three sizes."
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for breed in BREEDS:
        for number in range(1, 5):
            size = [(40, 60), (60, 40), (50, 50)][number % 3]
            Image.fromarray(draw.integers(0, 255, (*size, 3),
                                          dtype=np.uint8)).save(tmp_path / "images" / f"{breed}_{number}.jpg")
    return tmp_path


def diagnose(source, **changes):
    said = why_no_batch(DataBlock(**{**SOUND, **changes}), source)
    assert "\n" not in said and "no fault that why_no_batch knows" not in said
    return said


def boom(*_):
    raise RuntimeError("no luck\nand a second line")


class Boom(ItemTransform):
    def encodes(self, x):
        raise RuntimeError("no luck")


FAULTS = {
    "no resize": (dict(item_tfms=None),
                  ["no common size", "60 x 40 px (Bengal_", "40 x 60 px", "50 x 50 px", "(ToTensor)", "Resize"]),
    "a resize that keeps shapes": (dict(item_tfms=RatioResize(30)), ["no common size", "RatioResize, ToTensor"]),
    "get_items finds nothing": (dict(get_items=lambda folder: []), ["get_items finds nothing", "check the path"]),
    "get_items forgotten": (dict(get_items=None), ["no get_items", "get_image_files"]),
    "get_items raises": (dict(get_items=boom), ["get_items fails", "RuntimeError: no luck"]),
    "pattern that does not match": (dict(get_y=using_attr(RegexLabeller(r"(\w+)_[123]\.jpg$"), "name")),
                                    ["get_y", "fails on 3 of 12", "Bengal_4.jpg, Sphynx_4.jpg, beagle_4.jpg"]),
    "get_y raises": (dict(get_y=boom), ["get_y (boom) fails on 12 of 12", "and 9 more", "no luck"]),
    "get_x raises": (dict(get_x=boom), ["get_x (boom) fails"]),
    "get_y forgotten": (dict(get_y=None), ["get_y (none given) returns a path", "Bengal_1.jpg"]),
    "get_y for another type": (dict(get_y=Transform(lambda x: x)), ["returns a path"]),
    "get_y returns None": (dict(get_y=lambda file: None), ["returns None"]),
    "get_y returns None for one": (dict(get_y=lambda file: None if file.stem == "beagle_2" else breed_of(file)),
                                   ["None for beagle_2.jpg:"]),
    "get_y returns NaN": (dict(get_y=lambda file: float("nan")), ["returns nan"]),
    "get_y returns an empty name for one": (dict(get_y=lambda file: "" if file.stem == "beagle_2" else breed_of(file)),
                                            ["'' for beagle_2.jpg:"]),
    "get_y mixes names and numbers": (dict(get_y=lambda file: breed_of(file) if file.stem[0] == "b" else 7),
                                      ["'beagle' for beagle_1.jpg and 7 for Bengal_1.jpg", "sorted"]),
    "get_y returns a list": (dict(get_y=lambda file: [breed_of(file)]), ["returns a list"]),
    "get_y returns a dict": (dict(get_y=lambda file: {"breed": 1}), ["returns a dict"]),
    "get_y returns an array": (dict(get_y=lambda file: np.array([1])), ["returns a ndarray"]),
    "get_y returns a tensor": (dict(get_y=lambda file: torch.tensor(1)), ["returns a Tensor"]),
    "get_y returns the folder": (dict(get_y=parent_label), ["'images' for every item", "nothing to tell apart"]),
    "get_y returns the whole name": (dict(get_y=lambda file: file.name),
                                     ["another label for each of 12", "'Bengal_1.jpg'"]),
    "one label where several are wanted": (dict(blocks=(ImageBlock, MultiCategoryBlock)),
                                           ["'Bengal'", "no list of labels"]),
    "a path among several labels": (dict(blocks=(ImageBlock, MultiCategoryBlock), get_y=lambda file: ["cat", file]),
                                    ["a list with a path"]),
    "class only in validation": (dict(splitter=FuncSplitter(lambda file: breed_of(file) == "beagle")),
                                 ["class only in validation",
                                  "'beagle' (beagle_1.jpg, beagle_2.jpg, beagle_3.jpg and 1 more)"]),
    "two of them": (dict(splitter=FuncSplitter(lambda file: breed_of(file) != "Bengal")),
                    ["only in validation", "1 more such"]),
    "one of several labels only in validation": (
        dict(blocks=(ImageBlock, MultiCategoryBlock), get_y=lambda file: ["pet", breed_of(file)],
             splitter=FuncSplitter(lambda file: breed_of(file) == "beagle")), ["only in validation", "'beagle'"]),
    "a vocabulary that lacks a class": (dict(blocks=(ImageBlock, CategoryBlock(vocab=["Bengal", "Sphynx"]))),
                                        ["not in the vocabulary", "'beagle'", "add it to vocab"]),
    "empty validation": (dict(splitter=RandomSplitter(valid_pct=0)), ["empty split", "no item for validation"]),
    "empty training": (dict(splitter=RandomSplitter(valid_pct=1)), ["empty split", "no item for training"]),
    "folders that are not there": (dict(splitter=GrandparentSplitter()), ["empty split", "no item for training"]),
    "splitter raises": (dict(splitter=boom), ["splitter fails", "no luck"]),
    "splitter returns items": (dict(splitter=lambda files: (files[:9], files[9:])), ["splitter fails", "positions"]),
    "splitter returns one list": (dict(splitter=lambda files: [[0, 1, 2]]), ["1 list"]),
    "items in both parts": (dict(splitter=lambda files: (range(12), range(9, 12))), ["3 of 12 items into both"]),
    "items in training and test": (dict(splitter=lambda files: (range(9), [9], range(8, 12))),
                                   ["1 of 12 items into both training and test"]),
    "three parts, none to train on": (dict(splitter=lambda files: ([], [0], range(1, 12))), ["no item for training"]),
    "a position too far": (dict(splitter=lambda files: ([0, 1, 2, 4, 5, 8, 9], [3, 12])), ["position 12", "0 to 11"]),
    "item transform fails": (dict(item_tfms=[Resize(32), Boom]), ["Boom fails on Bengal_2.jpg", "no luck"]),
    "batch transform fails": (dict(batch_tfms=Normalize.from_stats([0.5] * 2, [0.5] * 2, cuda=False)),
                              ["Normalize fails on a mini-batch of (8, 3, 32, 32)"]),
    "pictures that stay pictures": (dict(blocks=(TransformBlock(type_tfms=lambda file: Image.new("RGB", (32, 32))),
                                                 CategoryBlock), item_tfms=None),
                                    ["cannot be stacked", "Image, TensorCategory"]),
    "arrays with the colours last": (dict(blocks=(TransformBlock(type_tfms=lambda file: np.array(Image.open(file))),
                                                  CategoryBlock), item_tfms=None),
                                     ["different shapes", "(60, 40, 3)"]),
    "words where numbers are wanted": (dict(blocks=(ImageBlock, RegressionBlock)),
                                       ["block for the label", "get_y (breed_of) returns for 12 of 12 items",
                                        "and 9 more"]),
    "targets of different shapes": (dict(blocks=(ImageBlock, RegressionBlock),
                                         get_y=lambda file: [1.0] * int(file.stem[-1])),
                                    ["different shapes", "(2,)"]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_gets_its_words(pets, fault):
    changes, words = FAULTS[fault]
    said = diagnose(pets, **changes)
    assert all(word in said for word in words), said
    assert "all is well" not in said and str(pets) not in said.replace(f" {pets}:", "")


@pytest.mark.parametrize("fault, spoil", [
    ("cut in its header", lambda file: file.write_bytes(file.read_bytes()[:20])),
    ("cut in its data", lambda file: file.write_bytes(file.read_bytes()[:-600])),
    ("empty", lambda file: file.write_bytes(b"")),
    ("no picture", lambda file: file.write_text("hello")),
])
def test_unreadable_files_are_all_named(pets, fault, spoil):
    for name in ("Bengal_2.jpg", "beagle_1.jpg"):
        spoil(pets / "images" / name)
    said = diagnose(pets)
    assert said.startswith("unreadable: 2 of 12 items, ") and "Bengal_2.jpg" in said and "beagle_1.jpg" in said
    assert str(pets) not in said
    assert diagnose(pets, get_items=usable_images).startswith("all is well: 7 items")


def test_file_without_label_is_named(pets):
    shutil.copy(pets / "images" / "beagle_1.jpg", pets / "images" / "holiday.jpg")
    assert "fails on 1 of 13 items: holiday.jpg (DataError" in diagnose(pets)


def test_targets_that_are_not_there(pets):
    said = diagnose(pets, blocks=(ImageBlock, MaskBlock),
                    get_y=lambda file: file if file.stem[-1] < "4" else file.with_suffix(".png"))
    assert "block for the label" in said
    assert "3 of 12 items, Bengal_4.jpg, Sphynx_4.jpg, beagle_4.jpg (FileNotFoundError" in said


def test_no_such_folder(pets):
    assert "there is no such folder" in diagnose(pets / "pictuers")


@pytest.mark.parametrize("where", ["training", "validation"])
def test_mixed_modes_are_found_in_either_part(pets, where):
    number = {"training": 2, "validation": 1}[where]
    Image.new("L", (40, 40)).save(pets / "images" / f"Bengal_{number}.jpg")
    as_stored = (TransformBlock(type_tfms=partial(PILImage.create, mode=None)), CategoryBlock)
    said = diagnose(pets, blocks=as_stored)
    assert "mixed modes" in said and f"1 in Bengal_{number}.jpg, 3 in" in said
    assert diagnose(pets).startswith("all is well")  # ImageBlock makes all of them RGB


def table_of(folder):
    files = images(folder)
    return pd.DataFrame({"name": files.attrgot("name"), "breed": files.map(breed_of)}, index=range(100, 112))


def boxes(file):
    return [[0.0, 0.0, 10.0, 10.0]] * int(file.stem[-1])


SOUND_KINDS = {
    "plain": {},
    "augmented and normalised": dict(batch_tfms=[*aug_transforms(size=24), Normalize.from_stats(*imagenet_stats)]),
    "statistics from a mini-batch": dict(batch_tfms=Normalize()),
    "random crops": dict(item_tfms=RandomResizedCrop(24)),
    "grey": dict(blocks=(ImageBlock(PILImageBW), CategoryBlock)),
    "masks as positions": dict(splitter=lambda files: ([i % 4 > 0 for i in range(12)],
                                                       [i % 4 == 0 for i in range(12)])),
    "a third part": dict(splitter=lambda files: ([1, 2, 5, 6, 9, 10], [3, 7, 11], [0, 4, 8])),
    "a third part, and no second": dict(splitter=lambda files: ([1, 2, 5, 6, 9, 10], [], [0, 4, 8])),
    "unknown classes allowed": dict(blocks=(ImageBlock, CategoryBlock(add_na=True)),
                                    splitter=FuncSplitter(lambda file: breed_of(file) == "beagle")),
    "several labels": dict(blocks=(ImageBlock, MultiCategoryBlock), get_y=lambda file: ["pet", breed_of(file)]),
    "numbers": dict(blocks=(ImageBlock, RegressionBlock), get_y=lambda file: float(file.stem[-1])),
    "masks": dict(blocks=(ImageBlock, MaskBlock), get_y=lambda file: file),
    "boxes, which are padded": dict(blocks=(ImageBlock, BBoxBlock, BBoxLblBlock), n_inp=1,
                                    get_y=[boxes, lambda file: [breed_of(file)] * int(file.stem[-1])]),
    "input alone": dict(blocks=(ImageBlock,), get_y=None),
    "two inputs": dict(blocks=(ImageBlock, ImageBlock, CategoryBlock), n_inp=2),
    "several getters": dict(get_y=Pipeline([lambda file: file.name, breed_of])),
    "default splitter": dict(splitter=None),
}


@pytest.mark.parametrize("kind", SOUND_KINDS)
def test_sound_blocks_of_all_kinds_are_well(pets, kind):
    "And fastai agrees."
    changes = SOUND_KINDS[kind]
    said = diagnose(pets, **changes)
    assert said.startswith("all is well: "), said
    dls = DataBlock(**{**SOUND, **changes}).dataloaders(pets, bs=4, num_workers=0)
    for loader in dls:
        if len(loader.dataset):
            loader.one_batch()


def test_table_as_source(pets):
    how = dict(get_items=None, get_x=ColReader("name", pref=pets / "images"), get_y=ColReader("breed"))
    table = table_of(pets)
    assert diagnose(table, **how).startswith("all is well: 9 items to train on, 3 to validate")
    table.loc[103, "breed"] = float("nan")
    assert "returns nan for row 103:" in diagnose(table, **how)
    table.loc[103, "breed"] = "Bengal"
    table.loc[105, "name"] = "gone.jpg"
    said = diagnose(table, **how)
    assert "unreadable: 1 of 12 items, row 105" in said and "FileNotFoundError" in said


def test_small_training_sets_are_told_of_the_default_size(pets):
    assert "bs=9 or less" in diagnose(pets)
    dls = DataBlock(**SOUND).dataloaders(pets, num_workers=0)
    assert len(dls.train) == 0  # which is why
    many = diagnose(pets, get_items=lambda folder: images(folder) * 10)
    assert "bs=" not in many


def test_items_left_out_are_counted(pets):
    assert "9 items to train on, 1 to validate, 2 left out;" in diagnose(pets,
                                                                         splitter=lambda files: ([1, 2, 3, 5, 6, 7, 9,
                                                                                                  10, 11], [0]))


def test_a_third_part_is_counted(pets):
    said = diagnose(pets, splitter=lambda files: ([1, 2, 5, 6, 9, 10], [], [0, 4, 8]))
    assert said.startswith("all is well: 6 items to train on, 0 to validate, 3 to test, 3 left out;")


def test_a_class_that_only_the_test_has_is_named(pets):
    only = [i for i in range(12) if i >= 8]  # all beagles
    said = diagnose(pets, splitter=lambda files: (range(2, 8), [0, 1], only))
    assert "'beagle' (beagle_1.jpg" in said and "no training item has it" in said


TINY = Profile("folder", item_size=40, size=32, bs=8, arch="papernet", pretrained=False, schedule=Schedule(1, 1e-3, 0))


def test_our_own_block_is_well(pets):
    said = why_no_batch(pet_block(TINY), pets)
    assert said.startswith("all is well: 9 items to train on, 0 to validate, 3 to test;") and "(8, 3, 32, 32)" in said


def test_nothing_is_changed(pets, monkeypatch):
    "Neither the block, nor the random generators, nor a file; no process is started."
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", boom)
    block = DataBlock(**{**SOUND, "splitter": RandomSplitter(), "batch_tfms": [*aug_transforms(size=24), Normalize()]})
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    first = why_no_batch(block, pets)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert block.type_tfms[1][0].vocab is None and block.batch_tfms[-1].mean is None
    assert first.startswith("all is well") and why_no_batch(block, pets) == first


def test_vocabulary_of_an_earlier_source_is_told(pets, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(pets / "images", other)
    for file in images(other):
        file.rename(file.with_name(file.name.replace("Bengal", "pug")))
    block = DataBlock(**SOUND)
    block.dataloaders(pets / "images", bs=4, num_workers=0)
    assert "not in the vocabulary that the block has: 'pug'" in why_no_batch(block, other)
    with pytest.raises(KeyError, match="pug"):
        block.dataloaders(other, bs=4, num_workers=0).train.one_batch()


def test_only_blocks_are_examined(pets):
    with pytest.raises(TypeError, match="got DataLoaders; give the recipe"):
        why_no_batch(DataBlock(**SOUND).dataloaders(pets, bs=4, num_workers=0), pets)


def test_what_it_does_not_know_it_says(pets):
    class Odd(TfmdDL):
        def __init__(self, *args, **kwargs):
            raise ArithmeticError("odd")
    said = why_no_batch(DataBlock(**SOUND, dl_type=Odd), pets)
    assert said.startswith("ArithmeticError: odd; ") and "summary" in said


# Profiles

def test_each_source_says_what_it_is(tmp_path):
    "In a file; the name of the folder plays no part."
    for name, source in {"paperpets.json": "paper", "petbreeds.json": "oxford"}.items():
        folder = tmp_path / f"oxford-iiit-pet-{source}"
        folder.mkdir()
        (folder / name).write_text(json.dumps({"source": source}))
        assert profile_for(folder) == PROFILES[source]
    (tmp_path / "paperpets").mkdir()
    assert profile_for(tmp_path / "paperpets") == PROFILES["folder"]
    assert profile_for("paper") == PROFILES["paper"] and profile_for("oxford") == PROFILES["oxford"]


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_make_sense(name):
    profile = PROFILES[name]
    assert profile.name == name and profile.item_size > profile.size and profile.pretrained
    assert Profile(**{**asdict(profile), "schedule": Schedule(**asdict(profile)["schedule"])}) == profile


@pytest.mark.parametrize("option, value",
                         [("epochs", 7), ("epochs", 0), ("lr", 0.1)])
@pytest.mark.parametrize("from_scratch", [False, True])
def test_what_a_user_asks_for_is_never_overwritten(option, value, from_scratch):
    changed = with_options(PROFILES["paper"], from_scratch=from_scratch, **{option: value})
    before = FROM_SCRATCH if from_scratch else PROFILES["paper"].schedule
    assert changed.schedule == replace(before, **{option: value})
    assert changed.pretrained is not from_scratch


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("size", [32, 100, 224, 512])
def test_items_keep_their_proportion(name, size):
    before = PROFILES[name]
    after = with_options(before, size=size)
    assert after.size == size and abs(after.item_size - size * before.item_size / before.size) <= 0.5
    assert replace(after, size=before.size, item_size=before.item_size) == before


def test_other_options():
    paper = PROFILES["paper"]
    assert with_options(paper) == paper
    assert with_options(paper, arch="resnet34", bs=5) == replace(paper, arch="resnet34", bs=5)


# pet_dls

def draw(folder, counts, lists=None):
    "Pictures of breeds, and lists if `lists` says what is in them: {part: names}."
    (folder / "images").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for breed, count in counts.items():
        for number in range(1, count + 1):
            pixels = draw.integers(0, 255, (50, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{breed}_{number}.jpg")
    for part, names in (lists or {}).items():
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"{part}.txt").write_text("".join(f"{name} 1 1 1\n" for name in names))
    return folder


def counts_of(dls):
    return [len(loader.dataset) for loader in dls]


def make(folder, profile=TINY, **how):
    return pet_dls(folder, profile, workers=0, device="cpu", **how)


def test_three_parts(tmp_path):
    "Of ten pictures two are for the test, and a fifth of the rest for validation."
    dls = make(draw(tmp_path / "pets", {"beagle": 10, "Bombay": 10}))
    assert counts_of(dls) == [12, 4, 4]
    assert dls.vocab == ["Bombay", "beagle"]
    assert dls.profile == TINY and dls.seed == 42 and dls.path == tmp_path / "pets"
    for loader, part in zip(dls, ("train", "valid", "test")):
        rows = dls.table[dls.table["part"] == part]
        assert list(loader.dataset.items["file"]) == list(rows["file"])
        assert all(breed_of(file) == label for file, label in zip(rows["file"], rows["label"]))


def test_lists_decide_the_test(tmp_path):
    names = [f"{breed}_{number}" for breed in ("beagle", "Bombay") for number in range(1, 11)]
    folder = draw(tmp_path / "pets", {"beagle": 11, "Bombay": 10}, {"trainval": names[::2], "test": names[1::2]})
    dls = make(folder)
    assert counts_of(dls) == [8, 2, 10]
    assert {Path(file).stem for file in dls[2].dataset.items["file"]} == set(names[1::2])
    assert dls.table["part"].tolist().count("") == 1  # beagle_11, which is in no list


@pytest.mark.parametrize("part", [1, 2])
def test_pictures_that_judge_do_not_change(tmp_path, part):
    dls = make(draw(tmp_path / "pets", {"beagle": 10, "Bombay": 10}))
    assert torch.equal(dls[part].one_batch()[0], dls[part].one_batch()[0])
    assert not torch.equal(dls.train.one_batch()[0], dls.train.one_batch()[0])
    assert len(dls[part].dataset) == 4 and sum(len(labels) for _, labels in dls[part]) == 4


@pytest.mark.parametrize("part", [1, 2])
def test_crops_treat_the_test_like_validation(part):
    batch = TensorImage(torch.rand(2, 3, 60, 90))
    middle = RandomResizedCropGPU(32, min_scale=0.2)(batch, split_idx=part)
    assert torch.equal(middle, RandomResizedCropGPU(32, min_scale=0.9)(batch, split_idx=1))
    picture = PILImage.create(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8))
    assert np.array_equal(Resize(32)(picture, split_idx=part), Resize(32)(picture, split_idx=1))


def test_one_crop_for_the_whole_mini_batch():
    "What the chapter says of RandomResizedCropGPU, and why items are cropped before."
    batch = TensorImage(torch.rand(1, 3, 64, 64)).repeat(4, 1, 1, 1)
    cropped = RandomResizedCropGPU(32, min_scale=0.2)(batch, split_idx=0)
    assert all(torch.equal(row, cropped[0]) for row in cropped)


def test_the_seed_fixes_split_order_and_augmentation(tmp_path):
    folder = draw(tmp_path / "pets", {"beagle": 20, "Bombay": 20})
    first, again, other = (make(folder, seed=seed) for seed in (7, 7, 8))
    assert first.table.equals(again.table) and not first.table.equals(other.table)
    first, again = (make(folder, seed=7).train.one_batch() for _ in range(2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def test_no_normalize_in_the_block_and_the_network_brings_its_own(pets):
    dls = make(pets)
    assert not any(isinstance(tfm, Normalize) for tfm in dls.after_batch.fs)
    learn = vision_learner(dls, "papernet", metrics=error_rate)
    assert [type(tfm) for tfm in learn.dls.after_batch.fs].count(Normalize) == 1


def test_an_epoch_without_validation_and_a_test_after_it(pets):
    "Nine pictures train, none validates, three are the test."
    dls = make(pets)
    assert counts_of(dls) == [9, 0, 3]
    learn = vision_learner(dls, "papernet", metrics=error_rate)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1, 1e-3)
        loss, error = learn.validate(ds_idx=2)
        probabilities, labels = learn.get_preds(ds_idx=2)
    assert math.isfinite(loss) and 0 <= error <= 1
    assert probabilities.shape == (3, 3) and [dls.vocab[i] for i in labels] == list(dls[2].dataset.items["label"])


# New pictures, as plain fastai takes them

def as_tensor_image(file):
    return TensorImage(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))


WAYS = {"path": Path, "string": str, "bytes": Path.read_bytes, "Pillow": Image.open, "fastai": PILImage.create,
        "array": lambda file: np.array(Image.open(file)),
        "tensor": lambda file: torch.from_numpy(np.array(Image.open(file))),
        "TensorImage": as_tensor_image}


@pytest.mark.parametrize("way", WAYS)
def test_pictures_in_every_form(pets, way):
    dls = make(pets)
    learn = vision_learner(dls, "papernet", metrics=error_rate)
    files = images(pets / "images")[:3]
    items = [WAYS[way](file) for file in files]
    batch, expected = (dls.test_dl(some, bs=3, num_workers=0).one_batch()[0] for some in (items, files))
    assert batch.shape == (3, 3, 32, 32) and torch.equal(batch, expected)
    with learn.no_bar():
        label, number, probabilities = learn.predict(items[0])
    assert label == dls.vocab[int(number)] and abs(float(probabilities.sum()) - 1) < 1e-5


def test_rows_with_labels_are_a_test_set(pets):
    dls = make(pets)
    rows = pet_rows(pets)
    _, labels = dls.test_dl(rows, with_labels=True, bs=12, num_workers=0).one_batch()
    assert [dls.vocab[i] for i in labels] == list(rows["label"])


def test_what_cannot_be_opened_is_refused_in_one_line(pets, tmp_path):
    (tmp_path / "notes.jpg").write_text("no picture")
    with pytest.raises(PetsError) as error:
        OpenPicture()(tmp_path / "notes.jpg")
    assert "\n" not in str(error.value) and "notes.jpg" in str(error.value)


def test_pictures_come_upright_in_rgb_and_over_white(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (60, 40)).save(tmp_path / "lying.jpg", exif=exif)
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    lying, clear = OpenPicture()(tmp_path / "lying.jpg"), OpenPicture()(tmp_path / "clear.png")
    assert type(lying) is PILImage and lying.size == (40, 60) and lying.mode == "RGB"
    assert clear.getpixel((3, 3)) == (255, 255, 255)


# Bad data

def one_line(error, *words):
    assert "\n" not in str(error.value) and all(word in str(error.value) for word in words), str(error.value)


def test_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError) as error:
        make(tmp_path)
    one_line(error, str(tmp_path))


def test_one_breed(tmp_path):
    with pytest.raises(DataError) as error:
        make(draw(tmp_path / "a", {"beagle": 6}))
    one_line(error, "only one breed, beagle", "two breeds")


def test_breed_without_training_picture(tmp_path):
    trained = [f"{breed}_{number}" for breed in ("beagle", "Bombay") for number in (1, 2)]
    folder = draw(tmp_path / "a", {"beagle": 3, "Bombay": 3, "pug": 2},
                  {"trainval": trained, "test": ["beagle_3", "pug_1", "pug_2"]})
    with pytest.raises(DataError) as error:
        make(folder)
    one_line(error, "no training picture of pug", str(folder))


def notices(caplog, level="INFO"):
    return [record.getMessage() for record in caplog.records if record.name == "petbreeds"
            and record.levelno >= getattr(logging, level)]


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="petbreeds")
    return caplog


def test_a_breed_with_one_picture_trains_and_counts_in_no_error(tmp_path, said):
    dls = make(draw(tmp_path / "a", {"beagle": 10, "Bombay": 10, "pug": 1}))
    assert "only one usable picture of pug: it trains, and counts in no error" in notices(said, "WARNING")
    assert "pug" in dls.vocab and "pug_1" in [Path(file).stem for file in dls.train_ds.items["file"]]
    assert not any("pug" in line for line in notices(said) if "only one" not in line)


def test_breeds_that_an_error_leaves_out_are_said(tmp_path, said):
    make(draw(tmp_path / "a", {"beagle": 10, "Bombay": 10, "pug": 3}))
    assert "no validation picture of pug: the validation error says nothing about them" in notices(said)
    assert not any("no test picture" in line for line in notices(said))


def test_nothing_to_validate_is_said(pets, said):
    make(pets)
    assert any(line.startswith("no validation pictures") for line in notices(said))


def test_lists_without_a_test_picture_of_a_breed(tmp_path, said):
    trained = [f"{breed}_{number}" for breed in ("beagle", "Bombay") for number in (1, 2)]
    make(draw(tmp_path / "a", {"beagle": 3, "Bombay": 2}, {"trainval": trained, "test": ["beagle_3"]}))
    assert "no test picture of Bombay: the test error says nothing about them" in notices(said)


def test_a_sound_folder_needs_no_warning(tmp_path, said):
    make(draw(tmp_path / "a", {"beagle": 20, "Bombay": 20}), replace(TINY, bs=2))
    assert notices(said, "WARNING") == []


def test_two_pictures_are_the_least(tmp_path, said):
    dls = make(draw(tmp_path / "a", {"beagle": 1, "Bombay": 1}))
    assert counts_of(dls) == [2, 0, 0] and len(list(dls.train)) == 1
    assert any(line == "only 2 training pictures: mini-batches of 2 instead of 8" for line in notices(said))


@pytest.mark.parametrize("bs", [1, 10, 500])
def test_mini_batch_that_does_not_fit(pets, bs):
    with pytest.raises(DataError) as error:
        make(pets, bs=bs)
    one_line(error, f"mini-batches of {bs}", "2 to 9")


@pytest.mark.parametrize("n_train, size", [(2, 2), (17, 2), (40, 5), (64, 8), (5000, 8)])
def test_small_sets_get_smaller_mini_batches(n_train, size):
    assert batch_size(TINY, n_train) == size and n_train // size >= min(8, n_train // 2)


def test_last_mini_batch_of_one_is_dropped(pets):
    assert [len(labels) for _, labels in make(pets, bs=8).train] == [8]  # of nine


def test_parts_follow_the_column():
    rows = pd.DataFrame({"part": ["test", "train", "", "valid", "train"]})
    assert split_by_part(rows) == [[1, 4], [3], [0]]


def test_labels_keep_their_letters(tmp_path):
    "Names that a Mac has written in another normal form are the same breed."
    folder = draw(tmp_path / "a", {"malm\u00f6_hund": 4, "beagle": 4})
    for file in sorted((folder / "images").glob("malm*"))[:2]:
        file.rename(file.with_name(unicodedata.normalize("NFD", file.name)))
    assert make(folder).vocab == ["beagle", "malm\u00f6_hund"]


def test_workers(monkeypatch):
    monkeypatch.setattr("petbreeds.blocks.defaults.cpus", 32)
    assert (workers_for("cpu"), workers_for("cuda")) == (2, 16)
    monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "spawn")
    assert workers_for("cuda") == 0


# The exercises of the chapter: its own check cells, run on its own solutions and on the usual wrong answers.

EXERCISES = Exercises("03_datablock")


def by_breed(items):
    "Every fourth picture of each breed is for validation: what a split that knows breeds, and no animals, does."
    breeds = [Path(item).stem.split("_")[0] for item in items]
    valid = [i for i, breed in enumerate(breeds) if breeds[:i].count(breed) % 4 == 0]
    return [i for i in range(len(items)) if i not in valid], valid


@pytest.fixture
def chapter(pets):
    "What the exercises use, and the check cells; `pets` is the clean folder."
    space = {}
    exec("from fastai.vision.all import *\nfrom petbreeds.blocks import *\nfrom petbreeds.layout import *", space)
    space |= dict(clean=pets, sorted_images=images, last="beagle", math=math, fill=fill, tempfile=tempfile,
                  random=random,
                  product=product, deepcopy=deepcopy, by_breed=by_breed)
    space |= dict.fromkeys(("repaired", "by_folder", "batches_of", "my_splitter"), ...)
    for source in EXERCISES.sources:
        if found := re.search(r"^def tell\(.*?(?=^\S)", source, re.M | re.S):
            exec(found[0], space)
    return EXERCISES.namespace(**space)


def test_every_exercise_has_a_solution():
    assert len(EXERCISES.solutions) == len(EXERCISES.checks) == 4


@pytest.mark.parametrize("solution", EXERCISES.solutions)
def test_solution_passes(chapter, capsys, solution):
    exec(solution, chapter)
    assert capsys.readouterr().out.startswith("Correct")


def given(check, answer):
    "A block of exercise 1 or 2 with some arguments replaced; answers of other exercises as they are."
    if check == "repaired":
        return ("DataBlock(**(dict(blocks=(ImageBlock, CategoryBlock), get_items=sorted_images, get_y=breed_of, "
                f"splitter=RandomSplitter(seed=3), item_tfms=Resize(64)) | dict({answer})))")
    if check == "folders":
        return ("DataBlock(**(dict(blocks=(ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, "
                f"splitter=GrandparentSplitter(), item_tfms=Resize(32)) | dict({answer})))")
    return answer


ANIMALS = """lambda items: (lambda held: ([i for i, f in enumerate(items) if f.stem.rsplit('_', 1)[0] not in held],
           [i for i, f in enumerate(items) if f.stem.rsplit('_', 1)[0] in held]))({held})"""
FIRST_OF_EACH = ("{min(g.stem.rsplit('_', 1)[0] for g in items if g.stem.rsplit('_', 2)[0] == f.stem.rsplit('_', 2)[0])"
                 " for f in items}")


@pytest.mark.parametrize("check, answer", [
    ("repaired", "splitter=RandomSplitter(seed=1)"),
    ("repaired", "item_tfms=Resize(64, method='squish')"),
    ("repaired", "item_tfms=Resize(90), batch_tfms=aug_transforms(size=64)"),
    ("repaired", "blocks=(ImageBlock, CategoryBlock(vocab=['beagle', 'Sphynx', 'Bengal'], sort=False))"),
    ("folders", "get_y=lambda file: file.parts[-2]"),
    ("folders", "splitter=FuncSplitter(lambda file: file.parent.parent.name == 'valid')"),
    ("folders", "get_items=lambda folder: get_files(folder, extensions='.jpg')"),
    ("batches", "lambda n, v, bs: [n // bs, -(-v // bs)]"),
    ("batches", "lambda n, v, bs: (int(n / bs), (v + bs - 1) // bs)"),
    ("animals", ANIMALS.format(held=FIRST_OF_EACH)),
])
def test_other_right_answers_pass(chapter, capsys, check, answer):
    chapter[f"check_{check}"](eval(given(check, answer), chapter))
    assert capsys.readouterr().out.startswith("Correct")


@pytest.mark.parametrize("check, answer, hint", [
    ("repaired", "item_tfms=None", "no common size"),
    ("repaired", "get_y=parent_label", "nothing to tell apart"),
    ("repaired", "get_y=lambda file: species_of(file)", "no breeds"),
    ("repaired", "splitter=FuncSplitter(lambda file: breed_of(file) == last)", "only in validation"),
    ("repaired", "splitter=RandomSplitter(valid_pct=0)", "no item for validation"),
    ("repaired", "splitter=IndexSplitter([0]), get_items=lambda folder: sorted_images(folder)[:10]", "in one part"),
    ("repaired", "item_tfms=Resize(128)", "of 128 px"),
    ("folders", "get_y=breed_of", "breed_of"),
    ("folders", "get_y=lambda file: file.parent.parent.name", "only in validation|parts"),
    ("folders", "get_y=lambda file: file.parent.parent.name, splitter=RandomSplitter(seed=42)", "are parts"),
    ("folders", "get_y=lambda file: file.parent", "a path"),
    ("folders", "get_y=lambda file: file.parent.name.lower()", "expected Bengal"),
    ("folders", "splitter=RandomSplitter(seed=42)", "not chance"),
    ("folders", "splitter=GrandparentSplitter('valid', 'train')", "train/ and valid/"),
    ("folders", "item_tfms=None", "no common size"),
    ("folders", "item_tfms=Resize(64)", "of 64 px"),
    ("batches", "lambda n, v, bs: (n // bs, v // bs)", "validation the last"),
    ("batches", "lambda n, v, bs: (-(-n // bs), -(-v // bs))", "training the last"),
    ("batches", "lambda n, v, bs: (n // bs, v // bs + 1)", "divides evenly"),
    ("batches", "lambda n, v, bs: (n / bs, v / bs)", "is no mini-batch"),
    ("batches", "lambda n, v, bs: (-(-v // bs), n // bs)", "training comes first"),
    ("batches", "lambda n, v, bs: (n, v)", "how often"),
    ("batches", "lambda n, v, bs: n // bs", "two numbers"),
    ("batches", "lambda n, v, bs: None", "two numbers"),
    ("animals", "RandomSplitter(seed=42)", "is in both parts"),
    ("animals", "RandomSplitter()", "differently"),
    ("animals", "by_breed", "is in both parts"),
    ("animals", ANIMALS.format(held="{'pug_Ida', 'Bengal_Otto', 'shiba_inu_Max'}"),
     "expected one animal of each breed"),
    ("animals", "lambda items: 1 / 0", "raises ZeroDivisionError"),
    ("batches",
     "lambda n, v, bs: {(100, 30, 8): (12, 4), (96, 32, 8): (12, 4), (7, 3, 8): (0, 1), (740, 740, 32): (23, 24)}[n, "
     "v, bs]",
     "KeyError"),
    ("batches", "lambda n: n", "TypeError"),
    ("animals", "FuncSplitter(lambda file: file.stem.startswith('pug'))", "a breed is only in validation"),
    ("animals", "FuncSplitter(lambda file: '_Otto_' in file.stem and 'pug' in file.stem)", "one animal of each breed"),
    ("animals", "RandomSplitter(valid_pct=0, seed=1)", "none"),
    ("animals", "FuncSplitter(lambda file: '_Otto_' in file.stem or '_Ida_' in file.stem)", "one animal of each breed"),
    ("animals", "lambda items: ([0, 1], [2, 3])", "each position"),
    ("animals", "lambda items: None", "two lists of positions"),
    ("animals", "lambda items: (items[9:], items[:9])", "no paths"),
])
def test_wrong_answer_gets_its_sentence(chapter, capsys, check, answer, hint):
    chapter[f"check_{check}"](eval(given(check, answer), chapter))
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("Not yet") and re.search(hint, said), said


# Room for workers

def test_shared_memory_that_is_short_means_fewer_workers(monkeypatch, tmp_path, caplog):
    profile = with_options(PROFILES["folder"], size=320)
    monkeypatch.setattr(profiles, "SHARED", tmp_path)

    def free(megabytes):
        monkeypatch.setattr(profiles.shutil, "disk_usage", lambda path: SimpleNamespace(free=megabytes * 2**20))
    with caplog.at_level("INFO", "petbreeds"):
        free(64)  # what a container has
        assert profiles.workers_with_room(2, profile, 64) == 0
        assert "shared memory is short" in caplog.text and "--shm-size" in caplog.text
        assert profiles.workers_with_room(2, PROFILES["paper"], 32) == 2
        free(4096)
        caplog.clear()
        assert profiles.workers_with_room(2, profile, 64) == 2 and not caplog.text
        monkeypatch.setattr(profiles, "SHARED", tmp_path / "none")  # as on macOS
        free(0)
        assert profiles.workers_with_room(2, profile, 64) == 2
