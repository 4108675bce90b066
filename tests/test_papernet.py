"PaperNet: files that are wrong, pretraining that is stopped, and how the learner and the command use it."
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
from fastai.data.transforms import Normalize
from safetensors.torch import save_file

from petbreeds.baseline import LearnerError, pet_learner, settle, wanted
from petbreeds.blocks import PROFILES, Profile, pet_dls, stats_for
from petbreeds.paperpets import BREEDS, make_paperpets
from petbreeds.paperpets.imaginary import MIN_DISTANCE, draw_imaginary, genome_distance, imaginary_breed, imaginary_breeds
from petbreeds.papernet import PAPERNET, PaperNetError, Recipe, load_papernet, papernet_info, pretrain, save_papernet

ROOT = Path(__file__).resolve().parent.parent
TINY = Recipe(arch="mobilenetv3_small_050", breeds=4, per_breed=6, held_out=1, side=48, size=32, epochs=2, bs=5)


def quiet(line): pass


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
    return pretrain(tmp_path_factory.mktemp("made"), TINY, pictures, device="cpu", say=quiet)


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    return make_paperpets(tmp_path_factory.mktemp("pets") / "paperpets", per_breed=2, scale=0.2)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    "No network, and no weights in any cache."
    monkeypatch.setattr("petbreeds.baseline._answers", lambda address, wait=5: False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kw: None)


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
    with pytest.raises(ValueError, match="give another folder"): draw_imaginary(tmp_path / "b", 3, 2, side=48)


def test_pictures_of_another_seed_are_not_taken_for_these(tmp_path):
    first = np.array(draw_imaginary(tmp_path, 1, 1, seed=0, side=32)[0])
    assert (np.array(draw_imaginary(tmp_path, 1, 1, seed=1, side=32)[0]) != first).any()
    assert (np.array(draw_imaginary(tmp_path, 1, 1, seed=0, side=32)[0]) == first).all()


@pytest.mark.parametrize("content", [b"", b"no pictures", None])
def test_damaged_pictures_are_named(tmp_path, content):
    draw_imaginary(tmp_path, 2, 1, side=32)
    file = tmp_path / "0_2.npy"
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError) as error: draw_imaginary(tmp_path, 2, 1, side=32)
    one_line(error, "0_2.npy is damaged", "delete it")


# ---------------------------------------------------------------- the file in this package
def test_the_shipped_file_says_what_it_is():
    about, recipe = papernet_info(), Recipe()
    assert PAPERNET.stat().st_size <= 6e6
    assert about["name"] == "PaperNet" and about["licence"] == "Apache-2.0" and about["accuracy"] > 0.2
    assert about["recipe"] == {**about["recipe"], "arch": recipe.arch, "breeds": recipe.breeds, "per_breed": recipe.per_breed, "seed": recipe.seed}
    assert about["arch"] == PROFILES["paper"].arch == PROFILES["folder"].arch
    assert about["mean"] != [0.485, 0.456, 0.406]
    json.dumps(about)


def test_the_wheel_holds_the_weights(tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, ROOT], check=True)
    wheel, = tmp_path.glob("*.whl")
    assert "petbreeds/weights/papernet.safetensors" in zipfile.ZipFile(wheel).namelist()


# ---------------------------------------------------------------- wrong files
def test_missing(tmp_path):
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "no.safetensors")
    one_line(error, "is missing", "petbreeds pretrain")


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated(tmp_path, keep):
    file = tmp_path / "cut.safetensors"
    file.write_bytes(PAPERNET.read_bytes()[:keep])
    with pytest.raises(PaperNetError) as error: papernet_info(file)
    one_line(error, "cut.safetensors is damaged")


def test_one_bit(tmp_path, made):
    content = bytearray(made.read_bytes())
    content[-3] ^= 4
    (tmp_path / "bit.safetensors").write_bytes(content)
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "bit.safetensors")
    one_line(error, "checksum")


def test_another_description_is_noticed(tmp_path, made):
    content = made.read_bytes().replace(b"Apache-2.0", b"Apache-3.0")
    (tmp_path / "said.safetensors").write_bytes(content)
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "said.safetensors")
    one_line(error, "checksum")


def test_foreign_files(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "foreign.safetensors")
    one_line(error, "is no PaperNet")
    (tmp_path / "text.safetensors").write_text("not weights\n")
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "text.safetensors")
    one_line(error, "is damaged")
    torch.save({"weight": torch.ones(2)}, tmp_path / "pickled.pth")
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "pickled.pth")
    one_line(error, "is damaged")


@pytest.mark.parametrize("about", ["[1]", '"words"', "3", "{}", '{"arch": null}', '{"arch": ["lcnet_050"]}'])
def test_files_that_say_something_else(tmp_path, about):
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors", {"papernet": about})
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "other.safetensors")
    one_line(error, "is no PaperNet")


def test_numbers_that_numpy_lacks(tmp_path):
    save_file({"weight": torch.ones(2, dtype=torch.bfloat16)}, tmp_path / "bf16.safetensors", {"papernet": '{"arch": "lcnet_050"}'})
    with pytest.raises(PaperNetError) as error: load_papernet(tmp_path / "bf16.safetensors")
    one_line(error, "checksum")


@pytest.mark.parametrize("said, part", [("lcnet_050", "does not fit"), ("lcnet_999", "does not know")])
def test_of_another_architecture_than_it_says(tmp_path, said, part):
    about = {**papernet_info(), "arch": said}
    file = save_papernet(tmp_path / "other.safetensors", timm.create_model("mobilenetv3_small_050", num_classes=0), about)
    with pytest.raises(PaperNetError) as error: load_papernet(file)
    one_line(error, part)


def test_a_damaged_file_never_becomes_random_weights(monkeypatch, tmp_path, pets):
    file = tmp_path / "papernet.safetensors"
    file.write_bytes(PAPERNET.read_bytes()[:-100])
    monkeypatch.setattr("petbreeds.papernet.PAPERNET", file)
    with pytest.raises(PaperNetError): pet_learner(pet_dls(pets, PROFILES["paper"], workers=0, say=quiet), say=quiet)


# ---------------------------------------------------------------- pretraining
def test_the_result_holds_the_trained_body(made):
    about = papernet_info(made)
    assert about["steps"] == TINY.epochs * TINY.steps == 8 and about["pictures"] == 24 and about["recipe"]["seed"] == TINY.seed
    assert made.with_name("history.csv").read_text().count("\n") == 1 + TINY.epochs
    torch.manual_seed(0)
    fresh = timm.create_model(TINY.arch, num_classes=0).state_dict()
    assert any(not torch.allclose(fresh[name], value) for name, value in load_papernet(made).state_dict().items() if value.is_floating_point())


def test_stopped_and_continued_is_the_same(tmp_path, pictures, made):
    class Stop(Callback):
        order = 90
        def after_epoch(self): raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt): pretrain(tmp_path, TINY, pictures, device="cpu", cbs=[Stop()], say=quiet)
    assert papernet_info(pretrain(tmp_path, TINY, pictures, device="cpu", say=quiet))["sha256"] == papernet_info(made)["sha256"]


def test_a_folder_of_another_recipe_is_refused(made):
    before = made.read_bytes()
    with pytest.raises(PaperNetError) as error: pretrain(made.parent, replace(TINY, lr=0.1), say=quiet)
    one_line(error, f"lr is {TINY.lr} there and 0.1 here", "give another folder")
    assert made.read_bytes() == before


def test_a_damaged_checkpoint(tmp_path):
    (tmp_path / "checkpoint.safetensors").write_bytes(b"nothing")
    with pytest.raises(PaperNetError) as error: pretrain(tmp_path, TINY, say=quiet)
    one_line(error, "cannot be continued")


@pytest.mark.parametrize("wrong, part", [(dict(arch="nonet"), "'nonet'"), (dict(breeds=1), "two breeds"), (dict(held_out=6), "held out"),
                                         (dict(bs=500), "do not fit")])
def test_recipes_that_make_no_sense(wrong, part):
    with pytest.raises(PaperNetError) as error: replace(TINY, **wrong)
    one_line(error, part)


# ---------------------------------------------------------------- what the learner does with it
def test_the_learner_starts_from_it_frozen_with_its_statistics(pets):
    dls = pet_dls(pets, PROFILES["paper"], workers=0, say=quiet)
    learn = pet_learner(dls, say=quiet)
    body = learn.model[0].model
    assert learn.profile.weights == "papernet"
    for name, value in load_papernet().state_dict().items():
        assert torch.equal(body.state_dict()[name].float(), value.float()), name
    assert learn.opt.frozen_idx == len(learn.opt.param_lists) - 1 >= 1
    assert not any(p.requires_grad for p in body.parameters() if p.dim() > 1) and all(p.requires_grad for p in learn.model[1].parameters())
    assert [round(v, 3) for v in next(t for t in dls.train.after_batch.fs if isinstance(t, Normalize)).mean.flatten().tolist()] == papernet_info()["mean"]


def test_statistics_belong_to_weights():
    assert stats_for("regnetx_002", "papernet") == (tuple(papernet_info()["mean"]), tuple(papernet_info()["std"]))
    assert stats_for("regnetx_002") != stats_for("regnetx_002", "papernet")


def test_a_folder_without_network_gets_it_and_is_told(pets, offline):
    said = []
    learn = pet_learner(pet_dls(pets, PROFILES["folder"], workers=0, say=quiet), say=said.append)
    assert learn.profile.weights == "papernet" and len(said) == 1 and "starting from PaperNet" in said[0] and "cannot be reached" in said[0]
    assert [round(v, 3) for v in next(t for t in learn.dls.valid.after_batch.fs if isinstance(t, Normalize)).std.flatten().tolist()] == papernet_info()["std"]


def test_another_body_without_network_starts_from_random_weights_and_says_so(offline):
    said = []
    profile = settle(wanted(PROFILES["paper"], arch="resnet18"), "cpu", said.append)
    assert profile.weights == "none" and profile.freeze_epochs == 0 and len(said) == 1
    assert "random weights" in said[0] and "PaperNet's are for regnetx_002" in said[0]


def test_papernet_for_another_body_is_refused():
    with pytest.raises(LearnerError) as error: settle(wanted(PROFILES["paper"], arch="resnet18", weights="papernet"), "cpu")
    one_line(error, "for regnetx_002, not for resnet18")


def test_asking_for_papernet_brings_its_body():
    assert wanted(PROFILES["oxford"], weights="papernet").arch == papernet_info()["arch"]
    assert isinstance(wanted(PROFILES["oxford"], weights="papernet"), Profile)


# ---------------------------------------------------------------- the command
def shell(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "petbreeds.cli", *map(str, arguments)], capture_output=True, text=True, cwd=cwd)


def test_the_command_pretrains_and_goes_on(tmp_path):
    options = ["--out", tmp_path / "net", "--arch", "mobilenetv3_small_050", "--breeds", 2, "--per-breed", 6, "--epochs", 1, "--bs", 2]
    done = shell("pretrain", *options)
    assert done.returncode == 0 and "epoch 1/1" in done.stdout and "papernet.safetensors" in done.stdout, done.stderr
    again = shell("pretrain", *options[:-4], "--epochs", 2, "--bs", 2)
    assert again.returncode == 1 and len(again.stderr.splitlines()) == 1 and "epochs is 1 there and 2 here" in again.stderr


@pytest.mark.parametrize("options, part", [(["--arch", "nonet"], "nonet"), (["--breeds", 1], "two breeds"), (["--epochs", 0], "--epochs"),
                                           (["--out", __file__], "")])
def test_the_command_explains_mistakes(options, part, tmp_path):
    done = shell("pretrain", *options, cwd=tmp_path)
    assert done.returncode in (1, 2) and len(done.stderr.splitlines()) == 1 and part in done.stderr, done.stderr


def test_the_doctor_names_the_weights():
    line, = [line for line in shell("doctor").stdout.splitlines() if line.startswith("papernet")]
    assert papernet_info()["sha256"][:12] in line and papernet_info()["arch"] in line and "imaginary breeds" in line
