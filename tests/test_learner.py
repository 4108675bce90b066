"Mini-batches and learners: the same seed gives the same numbers, and bad input gives one clear line."
import urllib.error
from dataclasses import replace

import numpy as np
import pytest
import torch
from fastai.data.transforms import Normalize
from petbreeds.baseline import (LearnerError, error_interval, fastest_precision, fit_stages, imagenet_file, pet_learner,
                                pet_model, pet_stages)
from petbreeds.blocks import Profile, open_picture, pet_dls, stats_for
from petbreeds.layout import DataError
from PIL import Image

TINY = Profile("folder", item_size=40, size=32, bs=8, arch="lcnet_050", weights="none", epochs=2, freeze_epochs=0, lr=1e-3)


def quiet(line):
    "Takes a notice and says nothing."


def draw(folder, counts, size=(60, 45), lists=False):
    "Noisy pictures in the layout of the Oxford archive: `counts` of each breed, split in halves if `lists`."
    random = np.random.default_rng(0)
    images, annotations = folder / "images", folder / "annotations"
    images.mkdir(parents=True)
    parts = {"trainval": [], "test": []}
    for breed, count in counts.items():
        for number in range(1, count + 1):
            Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(images / f"{breed}_{number}.jpg")
            parts["test" if number % 2 else "trainval"].append(f"{breed}_{number} 1 1 1")
    if lists:
        annotations.mkdir()
        for part, lines in parts.items():
            (annotations / f"{part}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    "Three breeds of eight pictures with an official split."
    return draw(tmp_path_factory.mktemp("pets"), {"Bombay": 8, "beagle": 8, "shiba_inu": 8}, lists=True)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    "No network, and no weights in any cache."
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no network")
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))


def one_line(error, *parts):
    "The message is one line that holds all `parts`."
    message = str(error.value)
    assert "\n" not in message
    assert all(part in message for part in parts), message


def trained(path, seed, done=0, state=None, workers=0):
    "Two epochs of training; with `done` and `state` only those that are left."
    learn = pet_learner(pet_dls(path, TINY, seed=seed, workers=workers, say=quiet), say=quiet)
    if state:
        learn.model.load_state_dict(state["model"])
        learn.create_opt()
        learn.opt.load_state_dict(state["opt"])
    with learn.no_bar(), learn.no_logging():
        fit_stages(learn, done=done)
    return learn


# Repeatable

@pytest.mark.parametrize("workers", [0, 2])
def test_one_seed_gives_the_same_numbers_bit_for_bit(pets, workers):
    first, second = trained(pets, 3, workers=workers), trained(pets, 3, workers=workers)
    assert first.recorder.values == second.recorder.values
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_another_seed_gives_other_numbers(pets):
    assert trained(pets, 3).recorder.values != trained(pets, 4).recorder.values


def test_an_epoch_does_not_depend_on_what_was_drawn_before_it(pets):
    "What --resume relies on: the second epoch draws the same whether or not the first ran in this process."
    def pictures(learn):
        learn.repeatable_epochs.done = 1
        learn.repeatable_epochs.before_train()
        return next(iter(learn.dls.train))[0]
    fresh = pet_learner(pet_dls(pets, TINY, seed=5, workers=0, say=quiet), say=quiet)
    assert torch.equal(pictures(trained(pets, 5)), pictures(fresh))


def test_validation_pictures_do_not_change(pets):
    dls = pet_dls(pets, TINY, workers=0, say=quiet)
    assert torch.equal(dls.valid.one_batch()[0], dls.valid.one_batch()[0])
    assert not torch.equal(dls.train.one_batch()[0], dls.train.one_batch()[0])


# Bad data

def test_empty_folder(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError) as error:
        pet_dls(tmp_path, TINY, say=quiet)
    one_line(error, str(tmp_path))


def test_one_breed(tmp_path):
    with pytest.raises(DataError) as error:
        pet_dls(draw(tmp_path / "a", {"beagle": 4}), TINY, say=quiet)
    one_line(error, "only one breed, beagle", "two breeds")


def test_one_picture_of_a_breed(tmp_path):
    with pytest.raises(DataError) as error:
        pet_dls(draw(tmp_path / "a", {"beagle": 4, "Bombay": 1}), TINY, say=quiet)
    one_line(error, "only one usable picture of Bombay")


def test_breed_without_training_picture(tmp_path):
    folder = draw(tmp_path / "a", {"beagle": 4, "Bombay": 4, "pug": 4}, lists=True)
    lists = folder / "annotations"
    moved = [line for line in (lists / "trainval.txt").read_text().splitlines() if line.startswith("pug")]
    (lists / "trainval.txt").write_text((lists / "trainval.txt").read_text().replace("\n".join(moved), ""))
    (lists / "test.txt").write_text((lists / "test.txt").read_text() + "\n".join(moved) + "\n")
    with pytest.raises(DataError) as error:
        pet_dls(folder, TINY, say=quiet)
    one_line(error, "no training picture of pug")


def test_breed_without_validation_picture_is_said(tmp_path):
    folder = draw(tmp_path / "a", {"beagle": 4, "Bombay": 4, "pug": 2}, lists=True)
    lists = folder / "annotations"
    (lists / "trainval.txt").write_text((lists / "trainval.txt").read_text() + "pug_1 1 1 1\n")
    (lists / "test.txt").write_text((lists / "test.txt").read_text().replace("pug_1 1 1 1\n", ""))
    said = []
    dls = pet_dls(folder, TINY, workers=0, say=said.append)
    assert any("no validation picture of pug" in line for line in said) and dls.notices == said
    assert len(dls.vocab) == 3


def test_without_annotations_the_split_is_random_and_this_is_said(tmp_path):
    folder, said = draw(tmp_path / "a", {"beagle": 5, "Bombay": 5}), []
    dls = pet_dls(folder, TINY, seed=7, workers=0, say=said.append)
    assert dls.split == "random" and len(dls.valid_ds) == 2
    assert any("no official split" in line and "seed 7" in line for line in said)
    assert pet_dls(folder, TINY, seed=7, workers=0, say=quiet).valid_ds.items == dls.valid_ds.items


def test_four_pictures_train(tmp_path):
    "Two training pictures: the mini-batch shrinks, is not of one picture, and this is said."
    folder, said = draw(tmp_path / "a", {"beagle": 2, "Bombay": 2}), []
    learn = pet_learner(pet_dls(folder, TINY, workers=0, say=said.append), say=quiet)
    assert learn.dls.bs == 2 and any("mini-batches of 2 instead of 8" in line for line in said)
    with learn.no_bar(), learn.no_logging():
        fit_stages(learn, pet_stages(learn.profile, epochs=1))
    assert learn.recorder.values[-1][-1] in (0, 0.5, 1)


@pytest.mark.parametrize("bs", [1, 500])
def test_mini_batch_that_does_not_fit(pets, bs):
    with pytest.raises(DataError) as error:
        pet_dls(pets, TINY, bs=bs, say=quiet)
    one_line(error, f"mini-batches of {bs}", "2 to 12")


def test_last_mini_batch_of_one_is_dropped(pets):
    dls = pet_dls(pets, TINY, bs=11, workers=0, say=quiet)  # 12 training pictures
    assert [len(labels) for _, labels in dls.train] == [11]


def test_unknown_split(pets):
    with pytest.raises(DataError) as error:
        pet_dls(pets, TINY, valid="offical", say=quiet)
    one_line(error, "offical", "'random'")


# Pictures

@pytest.mark.parametrize("mode, suffix, form", [("L", "jpg", "JPEG"), ("CMYK", "jpg", "JPEG"), ("RGBA", "jpg", "PNG"),
                                                ("P", "jpg", "GIF"), ("1", "jpg", "PNG"), ("LA", "png", "PNG")])
def test_every_kind_of_picture_becomes_rgb(tmp_path, mode, suffix, form):
    file = tmp_path / f"beagle_1.{suffix}"
    Image.new("RGB", (300, 200), (200, 100, 50)).convert("RGBA" if mode == "RGBA" else mode).save(file, format=form)
    picture = open_picture(file, size=64)
    assert picture.mode == "RGB" and min(picture.size) >= 64


def test_transparent_becomes_white(tmp_path):
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert open_picture(tmp_path / "a.png").getpixel((3, 3)) == (255, 255, 255)


def test_a_camera_held_upright_is_obeyed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be shown upright
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert open_picture(tmp_path / "a.jpg").size == (40, 80)


# Networks and weights

@pytest.mark.parametrize("arch", ["resnet34", "lcnet_050"])
def test_imagenet_without_a_network_is_one_clear_line(pets, offline, arch):
    dls = pet_dls(pets, TINY, workers=0, say=quiet)
    with pytest.raises(LearnerError) as error:
        pet_learner(dls, arch=arch, weights="imagenet")
    one_line(error, f"no ImageNet weights for {arch}", "cannot be reached", "choose weights 'papernet' or 'none'")


def test_offline_by_wish(monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LearnerError) as error:
        imagenet_file("lcnet_050")
    one_line(error, "HF_HUB_OFFLINE")


def test_a_download_that_breaks_is_one_clear_line(monkeypatch, offline):
    def broken(*args, **kwargs):
        raise RuntimeError("invalid hash value\n(expected 'b627a593', got '00')")
    monkeypatch.setattr("petbreeds.baseline._answers", lambda address: True)
    monkeypatch.setattr("torch.hub.download_url_to_file", broken)
    with pytest.raises(LearnerError) as error:
        imagenet_file("resnet34")
    one_line(error, "invalid hash value", "choose weights 'papernet' or 'none'")


def test_auto_falls_back_to_random_weights_and_says_so(pets, offline):
    said = []
    learn = pet_learner(pet_dls(pets, TINY, workers=0, say=quiet), weights="auto", say=said.append)
    assert learn.profile.weights == "none" and learn.notices == said and len(said) == 1
    assert "starting from random weights" in said[0] and "\n" not in said[0]
    assert all(parameter.requires_grad for parameter in learn.model.parameters())


def test_cached_imagenet_weights_are_used_and_the_body_is_frozen(pets, monkeypatch, tmp_path):
    "A cache filled by hand stands for the published weights."
    import timm
    from safetensors.torch import save_file
    published = timm.create_model("lcnet_050").state_dict()
    save_file({name: value.contiguous() for name, value in published.items()}, tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: str(tmp_path / "model.safetensors"))
    learn = pet_learner(pet_dls(pets, TINY, workers=0, say=quiet), weights="imagenet", say=quiet)
    assert torch.equal(learn.model[0].model.conv_stem.weight, published["conv_stem.weight"])
    assert not learn.model[0].model.conv_stem.weight.requires_grad and learn.model[1][-1].weight.requires_grad
    pet_model("lcnet_050", n_classes=3, weights="imagenet").load_state_dict(learn.model.state_dict())


@pytest.mark.parametrize("asked, said", [(dict(arch="resnet43"), "did you mean resnet34"), (dict(weights="imagnet"), "'imagenet'"),
                                         (dict(arch="vit_tiny_patch16_224"), "224 px")])
def test_unknown_wishes(pets, asked, said):
    with pytest.raises(LearnerError) as error:
        pet_learner(pet_dls(pets, TINY, workers=0, say=quiet), **asked)
    one_line(error, said)


@pytest.mark.parametrize("arch", ["resnet18", "lcnet_050"])
def test_channels_last_and_normalisation_fit_the_network(pets, arch):
    learn = pet_learner(pet_dls(pets, TINY, workers=0, say=quiet), arch=arch, say=quiet)
    weights = [parameter for parameter in learn.model.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1]
    assert all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in weights)
    for loader in learn.dls.loaders:
        (normalise,) = [transform for transform in loader.after_batch.fs if isinstance(transform, Normalize)]
        assert np.allclose(normalise.mean.flatten(), stats_for(arch)[0]) and np.allclose(normalise.std.flatten(), stats_for(arch)[1])


def test_normalisation_follows_another_network(pets):
    profile = replace(TINY, size=224, item_size=224)
    learn = pet_learner(pet_dls(pets, profile, workers=0, say=quiet), arch="vit_tiny_patch16_224", say=quiet)
    for loader in learn.dls.loaders:
        (normalise,) = [transform for transform in loader.after_batch.fs if isinstance(transform, Normalize)]
        assert torch.equal(normalise.mean.flatten(), torch.tensor([0.5, 0.5, 0.5]))


@pytest.mark.parametrize("processor, arch, precision", [
    ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "resnet18", "bf16"),
    ({"avx512_bf16": True, "cpu_name": "AMD EPYC"}, "lcnet_050", "fp32"),  # depthwise
    ({"avx512_bf16": True, "amx_bf16": False, "cpu_name": "Intel Xeon"}, "resnet18", "fp32"),
    ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, "resnet18", "bf16"),
    ({}, "resnet18", "fp32"),
])
def test_number_format_follows_the_processor(monkeypatch, processor, arch, precision):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor, raising=False)
    assert fastest_precision(pet_model(arch, 37), "cpu") == precision


def test_bf16_on_the_processor_ends_with_each_mini_batch(pets):
    learn = pet_learner(pet_dls(pets, replace(TINY, precision="bf16"), workers=0, say=quiet), say=quiet)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(learn.dls.valid_ds.items))  # no labels, no loss
    assert probabilities.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def test_pet_model_is_the_network_that_is_trained(pets):
    learn = pet_learner(pet_dls(pets, TINY, workers=0, say=quiet), say=quiet)
    pet_model("lcnet_050", n_classes=3).load_state_dict(learn.model.state_dict())


def test_random_weights_train_in_one_stage():
    profile = replace(TINY, weights="imagenet")
    assert [stage.frozen for stage in pet_stages(profile, freeze_epochs=1)] == [True, False]
    assert [stage.frozen for stage in pet_stages(TINY, freeze_epochs=1)] == [False]


def test_interval_covers_as_often_as_it_says():
    "Of 4,000 samples of 200 pictures at a true error of 8 %, 95 % of the intervals hold 8 %, give or take."
    wrong = np.random.default_rng(0).binomial(200, 0.08, 4000)
    ends = {count: error_interval(int(count), 200) for count in set(wrong)}
    covered = np.mean([ends[count][0] <= 0.08 <= ends[count][1] for count in wrong])
    assert 0.93 < covered < 0.97
