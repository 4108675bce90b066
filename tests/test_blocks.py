"why_no_batch on each fault and on sound blocks of every kind; the exercises of chapter 3."
import math
import multiprocessing.process
import random
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.vision.all import (BBoxBlock, BBoxLblBlock, CategoryBlock, ColReader, DataBlock, FuncSplitter, GrandparentSplitter, ImageBlock,
                               IndexSplitter, ItemTransform, L, MaskBlock, MultiCategoryBlock, Normalize, Pipeline, PILImage,
                               PILImageBW, RandomResizedCrop, RandomSplitter, RatioResize, RegexLabeller, RegressionBlock,
                               Resize, TfmdDL, Transform, TransformBlock, aug_transforms, get_image_files, imagenet_stats,
                               parent_label, using_attr)
from PIL import Image
from exercises import Exercises

from petbreeds.blocks import Profile, breed_splitter, pet_block, why_no_batch
from petbreeds.layout import breed_of, usable_images

ROOT = Path(__file__).parents[1]
BREEDS = ("Bengal", "Sphynx", "beagle")


def images(folder):
    return get_image_files(folder).sorted()


def even_split(items):
    "Every fourth item is for validation."
    return [i for i in range(len(items)) if i % 4], [i for i in range(len(items)) if not i % 4]


SOUND = dict(blocks=(ImageBlock, CategoryBlock), get_items=images, get_y=breed_of, splitter=even_split, item_tfms=Resize(32))


@pytest.fixture
def pets(tmp_path):
    "Twelve noisy pictures of three breeds and three sizes."
    draw = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for breed in BREEDS:
        for number in range(1, 5):
            size = [(40, 60), (60, 40), (50, 50)][number % 3]
            Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)).save(tmp_path / "images" / f"{breed}_{number}.jpg")
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
    "no resize": (dict(item_tfms=None), ["no common size", "60 x 40 px (Bengal_", "40 x 60 px", "50 x 50 px", "(ToTensor)", "Resize"]),
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
    "get_y returns None for one": (dict(get_y=lambda file: None if file.stem == "beagle_2" else breed_of(file)), ["None for beagle_2.jpg:"]),
    "get_y returns NaN": (dict(get_y=lambda file: float("nan")), ["returns nan"]),
    "get_y returns an empty name for one": (dict(get_y=lambda file: "" if file.stem == "beagle_2" else breed_of(file)), ["'' for beagle_2.jpg:"]),
    "get_y mixes names and numbers": (dict(get_y=lambda file: breed_of(file) if file.stem[0] == "b" else 7), ["'beagle' for beagle_1.jpg and 7 for Bengal_1.jpg", "sorted"]),
    "get_y returns a list": (dict(get_y=lambda file: [breed_of(file)]), ["returns a list"]),
    "get_y returns a dict": (dict(get_y=lambda file: {"breed": 1}), ["returns a dict"]),
    "get_y returns an array": (dict(get_y=lambda file: np.array([1])), ["returns a ndarray"]),
    "get_y returns a tensor": (dict(get_y=lambda file: torch.tensor(1)), ["returns a Tensor"]),
    "get_y returns the folder": (dict(get_y=parent_label), ["'images' for every item", "nothing to tell apart"]),
    "get_y returns the whole name": (dict(get_y=lambda file: file.name), ["another label for each of 12", "'Bengal_1.jpg'"]),
    "one label where several are wanted": (dict(blocks=(ImageBlock, MultiCategoryBlock)), ["'Bengal'", "no list of labels"]),
    "a path among several labels": (dict(blocks=(ImageBlock, MultiCategoryBlock), get_y=lambda file: ["cat", file]), ["a list with a path"]),
    "class only in validation": (dict(splitter=FuncSplitter(lambda file: breed_of(file) == "beagle")),
                                 ["class only in validation", "'beagle' (beagle_1.jpg, beagle_2.jpg, beagle_3.jpg and 1 more)"]),
    "two of them": (dict(splitter=FuncSplitter(lambda file: breed_of(file) != "Bengal")), ["only in validation", "1 more such"]),
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
    "a position too far": (dict(splitter=lambda files: ([0, 1, 2, 4, 5, 8, 9], [3, 12])), ["position 12", "0 to 11"]),
    "item transform fails": (dict(item_tfms=[Resize(32), Boom]), ["Boom fails on Bengal_2.jpg", "no luck"]),
    "batch transform fails": (dict(batch_tfms=Normalize.from_stats([0.5] * 2, [0.5] * 2, cuda=False)), ["Normalize fails on a mini-batch of (8, 3, 32, 32)"]),
    "pictures that stay pictures": (dict(blocks=(TransformBlock(type_tfms=lambda file: Image.new("RGB", (32, 32))), CategoryBlock), item_tfms=None),
                                    ["cannot be stacked", "Image, TensorCategory"]),
    "arrays with the colours last": (dict(blocks=(TransformBlock(type_tfms=lambda file: np.array(Image.open(file))), CategoryBlock), item_tfms=None),
                                     ["different shapes", "(60, 40, 3)"]),
    "words where numbers are wanted": (dict(blocks=(ImageBlock, RegressionBlock)),
                                       ["block for the label", "get_y (breed_of) returns for 12 of 12 items", "and 9 more"]),
    "targets of different shapes": (dict(blocks=(ImageBlock, RegressionBlock), get_y=lambda file: [1.0] * int(file.stem[-1])),
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
    said = diagnose(pets, blocks=(ImageBlock, MaskBlock), get_y=lambda file: file if file.stem[-1] < "4" else file.with_suffix(".png"))
    assert "block for the label" in said and "3 of 12 items, Bengal_4.jpg, Sphynx_4.jpg, beagle_4.jpg (FileNotFoundError" in said


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
    "masks as positions": dict(splitter=lambda files: ([i % 4 > 0 for i in range(12)], [i % 4 == 0 for i in range(12)])),
    "a third part": dict(splitter=lambda files: ([1, 2, 5, 6, 9, 10], [3, 7, 11], [0, 4, 8])),
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
    dls.train.one_batch(), dls.valid.one_batch()


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
    assert "9 items to train on, 1 to validate, 2 left out;" in diagnose(pets, splitter=lambda files: ([1, 2, 3, 5, 6, 7, 9, 10, 11], [0]))


def test_our_own_block_is_well(pets):
    profile = Profile("folder", item_size=40, size=32, bs=8, arch="lcnet_050", weights="none", epochs=1, freeze_epochs=0, lr=1e-3)
    assert "(8, 3, 32, 32)" in why_no_batch(pet_block(profile, breed_splitter()), pets)


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


# The exercises of the chapter: its own check cells, run on its own solutions and on the usual wrong answers.

EXERCISES = Exercises("03_datablock")


@pytest.fixture
def chapter(pets):
    "What the exercises use, and the check cells; `pets` is the clean folder."
    space = {}
    exec("from fastai.vision.all import *\nfrom petbreeds.blocks import *\nfrom petbreeds.layout import *", space)
    space |= dict(clean=pets, sorted_images=images, last="beagle", math=math, fill=fill, tempfile=tempfile, random=random)
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
        return f"DataBlock(**(dict(blocks=(ImageBlock, CategoryBlock), get_items=sorted_images, get_y=breed_of, splitter=breed_splitter(), item_tfms=Resize(64)) | dict({answer})))"
    if check == "folders":
        return f"DataBlock(**(dict(blocks=(ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=GrandparentSplitter(), item_tfms=Resize(32)) | dict({answer})))"
    return answer


ANIMALS = """lambda items: (lambda held: ([i for i, f in enumerate(items) if f.stem.rsplit('_', 1)[0] not in held],
           [i for i, f in enumerate(items) if f.stem.rsplit('_', 1)[0] in held]))({held})"""


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
    ("animals", ANIMALS.format(held="{'pug_Ida', 'Bengal_Otto', 'shiba_inu_Max'}")),
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
    ("repaired", "splitter=IndexSplitter([0]), get_items=lambda folder: sorted_images(folder)[:10]", "in neither part"),
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
    ("batches", "lambda n, v, bs: (n / bs, v / bs)", "no parts"),
    ("batches", "lambda n, v, bs: (-(-v // bs), n // bs)", "training comes first"),
    ("batches", "lambda n, v, bs: (n, v)", "how often"),
    ("batches", "lambda n, v, bs: n // bs", "two numbers"),
    ("batches", "lambda n, v, bs: None", "two numbers"),
    ("animals", "RandomSplitter(seed=42)", "is in both parts"),
    ("animals", "RandomSplitter()", "differently"),
    ("animals", "breed_splitter()", "both parts|held back"),
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
