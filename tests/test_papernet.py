"PaperNet: imaginary breeds, pretraining that is stopped, the chapter's exercises, and the command."

import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from fastai.callback.core import Callback

from exercises import Exercises
from petbreeds.files import PetsError
from petbreeds.networks import PAPERNET, NetworkError, load_body
from petbreeds.paperpets import BREEDS
from petbreeds.paperpets.imaginary import (
    MIN_DISTANCE,
    draw_imaginary,
    genome_distance,
    imaginary_breed,
    imaginary_breeds,
)
from petbreeds.papernet import papernet_info
from petbreeds.papernet.pretraining import PretrainingError, Recipe, pretrain

ROOT = Path(__file__).resolve().parent.parent
EXERCISES = Exercises("00a_papernet")
TINY = Recipe(arch="mobilenetv3_small_050", breeds=4, per_breed=6, held_out=1, side=48, size=32, epochs=2, bs=5)


def quiet(row):
    pass


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imaginary")
    draw_imaginary(folder, TINY.breeds, TINY.per_breed, TINY.seed, TINY.side)
    return folder


@pytest.fixture(scope="module")
def made(pictures, tmp_path_factory):
    "The weights of a tiny pretraining."
    return pretrain(tmp_path_factory.mktemp("made"), TINY, pictures, device="cpu", tell=quiet)


# ---------------------------------------------------------------- imaginary breeds
def test_imaginary_breeds_keep_their_distance():
    breeds = imaginary_breeds(30, seed=3)
    assert min(genome_distance(a, b) for a in breeds for b in BREEDS.values()) >= MIN_DISTANCE
    assert len({breed.name for breed in breeds}) == 30
    assert imaginary_breed(7, seed=3) == breeds[6] != imaginary_breed(7, seed=4)


def test_distance_is_symmetric_and_zero_for_itself():
    beagle, pug = BREEDS["beagle"], BREEDS["pug"]
    assert genome_distance(beagle, beagle) == 0 and genome_distance(beagle, pug) == genome_distance(pug, beagle) > 0


def test_a_set_is_completed_and_the_same_with_any_number_of_workers(tmp_path):
    first = [np.array(of_breed) for of_breed in draw_imaginary(tmp_path / "a", 3, 2, side=32, workers=1)]
    draw_imaginary(tmp_path / "b", 2, 2, side=32, workers=2)
    (tmp_path / "b" / "0_1.npy").unlink()
    again = draw_imaginary(tmp_path / "b", 3, 2, side=32, workers=2)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    with pytest.raises(ValueError, match="give another folder"):
        draw_imaginary(tmp_path / "b", 3, 2, side=48)


def test_pictures_of_another_seed_are_not_taken_for_these(tmp_path):
    first = np.array(draw_imaginary(tmp_path, 1, 1, seed=0, side=32)[0])
    assert (np.array(draw_imaginary(tmp_path, 1, 1, seed=1, side=32)[0]) != first).any()
    assert (np.array(draw_imaginary(tmp_path, 1, 1, seed=0, side=32)[0]) == first).all()


@pytest.mark.parametrize("content", [b"", b"no pictures", None])
def test_damaged_pictures_are_named(tmp_path, content):
    draw_imaginary(tmp_path, 2, 1, side=32)
    file = tmp_path / "0_2.npy"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError) as error:
        draw_imaginary(tmp_path, 2, 1, side=32)
    one_line(error, "0_2.npy is damaged", "delete it")


# ---------------------------------------------------------------- the file in this package
def test_the_shipped_file_says_what_it_is():
    about, recipe = papernet_info(), Recipe()
    assert PAPERNET.stat().st_size <= 6e6
    assert about["name"] == "PaperNet" and about["licence"] == "Apache-2.0" and about["accuracy"] > 0.2
    same = {"arch": recipe.arch, "breeds": recipe.breeds, "per_breed": recipe.per_breed, "seed": recipe.seed}
    assert about["recipe"] == {**about["recipe"], **same} and about["arch"] == recipe.arch
    assert about["mean"] != [0.485, 0.456, 0.406]
    json.dumps(about)


def test_the_wheel_holds_the_weights(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert "petbreeds/weights/papernet.safetensors" in zipfile.ZipFile(wheel).namelist()


def test_a_file_that_cannot_be_used_is_one_line(tmp_path):
    file = tmp_path / "cut.safetensors"
    for keep, part in ((None, "is missing"), (1000, "is damaged")):
        if keep:
            file.write_bytes(PAPERNET.read_bytes()[:keep])
        with pytest.raises(NetworkError) as error:
            papernet_info(file)
        one_line(error, "cut.safetensors", part, "petbreeds pretrain")


# ---------------------------------------------------------------- pretraining
def test_the_result_holds_the_trained_body(made):
    about = papernet_info(made)
    assert (
        about["steps"] == TINY.epochs * TINY.steps == 8
        and about["pictures"] == 24
        and about["recipe"]["seed"] == TINY.seed
    )
    assert made.with_name("history.csv").read_text().count("\n") == 1 + TINY.epochs
    torch.manual_seed(0)
    fresh = timm.create_model(TINY.arch, num_classes=0).state_dict()
    assert any(
        not torch.allclose(fresh[name], value)
        for name, value in load_body(made).state_dict().items()
        if value.is_floating_point()
    )


def test_stopped_and_continued_is_the_same(tmp_path, pictures, made):
    class Stop(Callback):
        order = 90

        def after_epoch(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tmp_path, TINY, pictures, device="cpu", cbs=[Stop()], tell=quiet)
    assert (
        papernet_info(pretrain(tmp_path, TINY, pictures, device="cpu", tell=quiet))["sha256"]
        == papernet_info(made)["sha256"]
    )


def test_a_folder_of_another_recipe_is_refused(made):
    before = made.read_bytes()
    with pytest.raises(PetsError) as error:
        pretrain(made.parent, replace(TINY, lr=0.1), tell=quiet)
    one_line(error, f"lr is {TINY.lr} there and 0.1 here", "give another folder")
    assert made.read_bytes() == before


def test_a_damaged_checkpoint(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(PetsError) as error:
        pretrain(tmp_path, TINY, tell=quiet)
    one_line(error, "cannot be continued")


def test_a_full_disk_is_one_line(tmp_path, pictures, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for place in ("petbreeds.checkpoint.write_whole", "petbreeds.networks.write_whole"):
        with monkeypatch.context() as patched:
            patched.setattr(place, full)
            with pytest.raises(PetsError) as error:
                pretrain(tmp_path, TINY, pictures, device="cpu", tell=quiet)
        one_line(error, "No space left", "choose another folder")


def test_a_file_in_the_place_of_the_folder_is_one_line(tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(PretrainingError) as error:
        pretrain(tmp_path / "taken", TINY, tell=quiet)
    one_line(error, "taken", "choose another folder")


def test_a_tilde_is_the_home_folder(tmp_path, pictures, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    file = pretrain("~/made", TINY, pictures, device="cpu", tell=quiet)
    assert file == tmp_path / "me" / "made" / "papernet.safetensors" and not (tmp_path / "~").exists()


def test_each_epoch_is_told(tmp_path, pictures):
    rows = []
    file = pretrain(tmp_path, TINY, pictures, device="cpu", tell=rows.append)
    assert [row["epoch"] for row in rows] == [1, 2] and all(0 <= row["error"] <= 1 for row in rows)
    assert file.with_name("history.csv").read_text().startswith("epoch,stage,train_loss,valid_loss,error\n1,")


WRONG = [
    (dict(arch="nonet"), "'nonet'"),
    (dict(breeds=1), "two breeds"),
    (dict(held_out=6), "held out"),
    (dict(bs=500), "do not fit"),
]


@pytest.mark.parametrize("wrong, part", WRONG)
def test_recipes_that_make_no_sense(wrong, part):
    with pytest.raises(PretrainingError) as error:
        replace(TINY, **wrong)
    one_line(error, part)


# ---------------------------------------------------------------- exercises


def exercise_namespace():
    "What the exercises use, and the check cells."
    return EXERCISES.namespace(
        torch=torch,
        np=np,
        BREEDS=BREEDS,
        MIN_DISTANCE=MIN_DISTANCE,
        genome_distance=genome_distance,
        imaginary_breed=imaginary_breed,
    )


@pytest.mark.parametrize(
    "answer, said",
    [
        ("check_prepared(lambda p, m, s: p.permute(0, 3, 1, 2) / 255)", "subtract the mean"),
        ("check_prepared(lambda p, m, s: (p / 255 - torch.tensor(m)) / torch.tensor(s))", "a convolution wants"),
        (
            "check_prepared(lambda p, m, s: (p.permute(0, 3, 1, 2) - torch.tensor(m).view(3, 1, 1))"
            " / torch.tensor(s).view(3, 1, 1))",
            "divide by 255",
        ),
        ("check_prepared(lambda p, m, s: p.permute(0, 3, 1, 2) / 255 - m)", "(3, 1, 1)"),
        ("check_prepared(lambda p, m, s: p.permute(0, 3, 1, 2) * 0.0)", "the values are not"),
        ("check_prepared(lambda p: p)", "Not yet"),
        ("check_too_close(lambda breed, least: [])", "too close"),
        (
            "check_too_close(lambda breed, least: sorted(name for name in BREEDS"
            " if genome_distance(breed, BREEDS[name]) < least)[::-1])",
            "nearest first",
        ),
        ("check_too_close(lambda breed, least: list(BREEDS))", "37 breeds instead of"),
        ("check_too_close(lambda breed, least: None)", "Return a list"),
        ("check_half(lambda t: t)", "still torch.float32"),
        ("check_half(lambda t: {n: v.half() for n, v in t.items()})", "became infinite"),
        ("check_half(lambda t: {n: v.half() if v.dim() > 2 else v for n, v in t.items()})", "fc.weight"),
        (
            "check_half(lambda t: {n: v.half() * 0 if v.dim() > 1 else v for n, v in t.items()})",
            "numbers of conv.weight",
        ),
        ("check_half(lambda t: {n: v.half() if v.dim() > 1 else v.float() for n, v in t.items()})", "whole number"),
        ("check_half(lambda t: None)", "Return a dictionary"),
    ],
)
def test_mistakes_get_a_hint(answer, said, capsys):
    exec(answer, exercise_namespace())
    out = capsys.readouterr().out
    assert out.startswith("Not yet") and said in out


# ---------------------------------------------------------------- the command
def shell(*arguments, cwd=None):
    command = [sys.executable, "-c", "from petbreeds.cli import main; main()"]
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_the_command_pretrains_and_goes_on(tmp_path):
    words = f"--out {tmp_path / 'net'} --arch mobilenetv3_small_050 --breeds 2 --per-breed 6 --epochs 1 --bs 2"
    options = words.split()
    done = shell("pretrain", *options)
    assert done.returncode == 0 and "epoch 1/1" in done.stdout and "papernet.safetensors" in done.stdout, done.stderr
    again = shell("pretrain", *options[:-4], "--epochs", 2, "--bs", 2)
    assert (
        again.returncode == 1 and len(again.stderr.splitlines()) == 1 and "epochs is 1 there and 2 here" in again.stderr
    )


@pytest.mark.parametrize(
    "options, part",
    [
        (["--arch", "nonet"], "nonet"),
        (["--breeds", 1], "two breeds"),
        (["--epochs", 0], "--epochs"),
        (["--out", __file__], ""),
    ],
)
def test_the_command_explains_mistakes(options, part, tmp_path):
    done = shell("pretrain", *options, cwd=tmp_path)
    assert done.returncode in (1, 2) and len(done.stderr.splitlines()) == 1 and part in done.stderr, done.stderr


def test_the_doctor_names_the_weights():
    (line,) = [line for line in shell("doctor").stdout.splitlines() if line.startswith("papernet")]
    assert papernet_info()["sha256"][:12] in line and papernet_info()["arch"] in line and "imaginary breeds" in line
