"pet_learner: the same seed gives the same numbers, a learner is its own, and what cannot be had is one clear line."
import io
import urllib.error
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.data.transforms import Normalize
from fastai.metrics import error_rate
from fastai.vision.all import RandomResizedCropGPU
from fastai.vision.learner import vision_learner
from petbreeds.baseline import pet_learner
from petbreeds.blocks import FROM_SCRATCH, Profile, pet_dls
from petbreeds.networks import NetworkError, network, network_stats
from PIL import Image

TINY = Profile("folder", item_size=40, size=32, bs=4, arch="lcnet_050", pretrained=False,
               schedule=replace(FROM_SCRATCH, epochs=2, lr=1e-3), precision="fp32")
OURS = replace(TINY, arch="papernet", pretrained=True)
EXAMPLE = "--arch efficientnet_lite0_imagenet"
pytestmark = pytest.mark.usefixtures("one_thread")


def draw(folder, counts):
    "Noisy pictures of breeds, in the layout of the Oxford archive without its lists."
    random = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    for breed, count in counts.items():
        for number in range(1, count + 1):
            pixels = random.integers(0, 256, (45, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{breed}_{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    "Three breeds of ten pictures."
    return draw(tmp_path_factory.mktemp("pets"), {"Bombay": 10, "beagle": 10, "shiba_inu": 10})


@pytest.fixture
def dls(pets):
    return pet_dls(pets, TINY, workers=0, device="cpu")


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


def fitted(learn, epochs=2):
    "The learner after some epochs, in silence."
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, 1e-3)
    return learn


def trained(path, seed, workers=0):
    return fitted(pet_learner(pet_dls(path, TINY, seed=seed, workers=workers, device="cpu")))


def normalisation(dls):
    "Mean and standard deviation that each loader normalises with, if it does."
    found = [[tfm for tfm in dl.after_batch.fs if isinstance(tfm, Normalize)] for dl in dls.loaders]
    return [[(tfm.mean.flatten().tolist(), tfm.std.flatten().tolist()) for tfm in tfms] for tfms in found]


def same_weights(first, second):
    return all(torch.equal(value, second.model.state_dict()[name]) for name, value in first.model.state_dict().items())


# Repeatable

@pytest.mark.parametrize("workers", [0, 2])
def test_one_seed_gives_the_same_numbers_bit_for_bit(pets, workers):
    first, second = trained(pets, 3, workers), trained(pets, 3, workers)
    assert first.recorder.values == second.recorder.values
    assert same_weights(first, second)


def test_another_seed_gives_other_numbers(pets):
    assert trained(pets, 3).recorder.values != trained(pets, 4).recorder.values


def test_the_seed_can_be_given(dls):
    assert same_weights(pet_learner(dls, seed=1), pet_learner(dls, seed=1))
    assert not same_weights(pet_learner(dls, seed=1), pet_learner(dls, seed=2))
    assert pet_learner(dls).repeatable_epochs.seed == dls.seed == 42


def test_an_epoch_does_not_depend_on_what_was_drawn_before_it(pets):
    "What --resume relies on: the second epoch draws the same whether or not the first ran in this process."
    def pictures(learn):
        learn.repeatable_epochs.done = 1
        learn.repeatable_epochs.before_train()
        return next(iter(learn.dls.train))[0]
    fresh = pet_learner(pet_dls(pets, TINY, seed=5, workers=0, device="cpu"))
    assert torch.equal(pictures(trained(pets, 5)), pictures(fresh))


# A learner is its own

def nothing(dls):
    "Changes nothing."


def another_pet_learner(dls):
    fitted(pet_learner(dls, OURS, seed=9), 1)


def a_plain_learner(dls):
    fitted(vision_learner(dls, "papernet", metrics=error_rate, path="."), 1)


def a_search_for_a_rate(dls):
    search = pet_learner(dls)
    with search.no_bar(), search.no_logging():
        search.lr_find(num_it=10, show_plot=False)


@pytest.mark.parametrize("disturb", [another_pet_learner, a_plain_learner, a_search_for_a_rate])
def test_what_others_do_with_the_same_dls_changes_nothing(dls, disturb, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # lr_find saves a file
    expected = fitted(pet_learner(dls))
    learn = pet_learner(dls)
    before = normalisation(learn.dls)
    disturb(dls)
    assert normalisation(learn.dls) == before
    assert fitted(learn).recorder.values == expected.recorder.values
    assert same_weights(learn, expected)


def test_a_search_for_a_rate_on_the_learner_itself_changes_nothing(dls, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    expected = fitted(pet_learner(dls))
    learn = pet_learner(dls)
    with learn.no_bar(), learn.no_logging():
        learn.lr_find(num_it=10, show_plot=False)
    assert learn.repeatable_epochs.done == 0
    assert fitted(learn).recorder.values == expected.recorder.values
    assert learn.repeatable_epochs.done == 2


def test_dls_is_not_changed(dls):
    before = dls.loaders, [list(dl.after_batch.fs) for dl in dls.loaders]
    learn = fitted(pet_learner(dls, OURS), 1)
    assert (dls.loaders, [list(dl.after_batch.fs) for dl in dls.loaders]) == before
    assert normalisation(dls) == [[], [], []]
    assert (learn.dls.profile, learn.dls.seed, learn.dls.path) == (dls.profile, dls.seed, dls.path)
    assert learn.dls.table is dls.table and len(learn.dls.loaders) == 3


def test_a_normalize_that_is_there_already_is_replaced(dls):
    vision_learner(dls, "papernet", path=".")
    learn = pet_learner(dls)
    mean, std = network_stats("lcnet_050")
    for ((found_mean, found_std),) in normalisation(learn.dls):
        assert np.allclose(found_mean, mean) and np.allclose(found_std, std)


# As in plain fastai

def test_predict_takes_pictures_in_every_form(dls, pets):
    learn = fitted(pet_learner(dls), 1)
    file = pets / "images" / "beagle_1.jpg"
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    forms = [file, str(file), file.read_bytes(), picture, np.array(picture)]
    with learn.no_bar():
        answers = [learn.predict(form) for form in forms]
    for name, _, probabilities in answers:
        assert name in dls.vocab and torch.allclose(probabilities, answers[0][2], atol=1e-5)


def test_a_loader_of_other_pictures(dls, pets):
    learn = pet_learner(dls)
    files = sorted((pets / "images").glob("beagle*"))
    with learn.no_bar():
        of_strings, _ = learn.get_preds(dl=learn.dls.test_dl([str(file) for file in files]))
        of_paths, _ = learn.get_preds(dl=learn.dls.test_dl([Path(file) for file in files]))
    assert torch.equal(of_strings, of_paths) and of_strings.shape == (10, 3)
    assert torch.allclose(of_strings.sum(1), torch.ones(10))


def test_three_parts_are_judged(dls):
    learn = fitted(pet_learner(dls), 1)
    table = dls.table
    with learn.no_bar():
        for ds_idx, part in ((1, "valid"), (2, "test")):
            probabilities, targets = learn.get_preds(ds_idx=ds_idx)
            assert [dls.vocab[i] for i in targets] == table.label[table.part == part].tolist()
            loss, error = learn.validate(ds_idx=ds_idx)
            assert error == pytest.approx(float((probabilities.argmax(1) != targets).float().mean()))


def test_the_test_part_is_not_augmented(dls):
    learn = pet_learner(dls)
    for dl in learn.dls.loaders[1:]:
        assert torch.equal(dl.one_batch()[0], dl.one_batch()[0])
    assert not torch.equal(learn.dls.train.one_batch()[0], learn.dls.train.one_batch()[0])
    assert any(isinstance(tfm, RandomResizedCropGPU) for tfm in learn.dls.train.after_batch.fs)


def test_training_without_validation_pictures(tmp_path):
    few = pet_dls(draw(tmp_path / "few", {"beagle": 3, "Bombay": 3}), TINY, workers=0, device="cpu")
    assert not len(few.valid_ds)
    learn = fitted(pet_learner(few), 1)
    assert np.isfinite(learn.recorder.losses).all()
    with learn.no_bar():
        assert learn.validate(ds_idx=2)[1] in (0, 0.5, 1)


# Networks, weights, heads

@pytest.mark.parametrize("arch", ["resnet34", "lcnet_050"])
def test_weights_that_cannot_be_had_are_one_clear_line(dls, offline, arch):
    with pytest.raises(NetworkError) as error:
        pet_learner(dls, replace(TINY, arch=arch, pretrained=True))
    one_line(error, f"no pretrained weights for {arch}", "cannot be reached", EXAMPLE)


def test_offline_by_wish(dls, monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError) as error:
        pet_learner(dls, replace(TINY, pretrained=True))
    one_line(error, "HF_HUB_OFFLINE", EXAMPLE)


def test_a_download_that_breaks_is_one_clear_line(dls, monkeypatch, offline):
    def broken(*args, **kwargs):
        raise RuntimeError("invalid hash value\n(expected 'b627a593', got '00')")
    monkeypatch.setattr("petbreeds.networks._answers", lambda address: True)
    monkeypatch.setattr("torch.hub.download_url_to_file", broken)
    with pytest.raises(NetworkError) as error:
        pet_learner(dls, replace(TINY, arch="resnet34", pretrained=True))
    one_line(error, "invalid hash value", EXAMPLE)


@pytest.mark.parametrize("arch", ["papernet", "efficientnet_lite0_imagenet"])
def test_our_own_weights_need_no_network(dls, offline, arch):
    profile = replace(TINY, arch=arch, pretrained=True)
    learn = pet_learner(dls, profile)
    stem = next(iter(learn.model[0].parameters()))
    other_stem = next(iter(pet_learner(dls, profile, seed=7).model[0].parameters()))
    assert not stem.requires_grad and learn.model[1][-1].weight.requires_grad
    assert torch.equal(stem, other_stem)


def test_cached_weights_are_used_and_the_body_is_frozen(dls, monkeypatch, tmp_path):
    "A cache filled by hand stands for the published weights."
    import timm
    from safetensors.torch import save_file
    published = timm.create_model("lcnet_050").state_dict()
    file = tmp_path / "model.safetensors"
    save_file({name: value.contiguous() for name, value in published.items()}, file)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kwargs: str(file))
    learn = pet_learner(dls, replace(TINY, pretrained=True))
    assert torch.equal(learn.model[0].model.conv_stem.weight, published["conv_stem.weight"])
    assert not learn.model[0].model.conv_stem.weight.requires_grad and learn.model[1][-1].weight.requires_grad
    network("lcnet_050", n_classes=3, head="plain").load_state_dict(learn.model.state_dict())


@pytest.mark.parametrize("arch, said", [("resnet43", "did you mean resnet34"), ("vit_tiny_patch16_224", "224 px")])
def test_networks_that_cannot_be(dls, arch, said):
    with pytest.raises(NetworkError) as error:
        pet_learner(dls, replace(TINY, arch=arch))
    one_line(error, said)


@pytest.mark.parametrize("arch", ["resnet18", "lcnet_050"])
def test_from_scratch_everything_learns_below_a_plain_head(dls, arch):
    learn = pet_learner(dls, replace(TINY, arch=arch))
    assert all(parameter.requires_grad for parameter in learn.model.parameters())
    network(arch, n_classes=3, head="plain").load_state_dict(learn.model.state_dict())
    assert len([layer for layer in learn.model[1] if isinstance(layer, torch.nn.Linear)]) == 1


@pytest.mark.parametrize("profile", [replace(TINY, arch="resnet18"), TINY, OURS, replace(OURS, pretrained=False),
                                     replace(OURS, arch="efficientnet_lite0_imagenet")])
def test_channels_last_and_normalisation_fit_the_network(dls, profile):
    learn = pet_learner(dls, profile)
    weights = [parameter for parameter in learn.model.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1]
    assert all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in weights)
    mean, std = network_stats(profile.arch, profile.pretrained)
    for ((found_mean, found_std),) in normalisation(learn.dls):
        assert np.allclose(found_mean, mean) and np.allclose(found_std, std)


def test_normalisation_follows_plain_fastai(pets):
    "For a pretrained network it is the one that vision_learner would add."
    plain = vision_learner(pet_dls(pets, OURS, workers=0, device="cpu"), "papernet", path=".")
    ours = pet_learner(pet_dls(pets, OURS, workers=0, device="cpu"))
    assert np.allclose(normalisation(plain.dls), normalisation(ours.dls))


# Number formats

def test_auto_becomes_the_precision_in_use(dls, monkeypatch):
    monkeypatch.setattr("petbreeds.baseline.fastest_precision", lambda model, device: "bf16")
    learn = pet_learner(dls, replace(TINY, precision="auto"))
    assert learn.profile == replace(TINY, precision="bf16") and hasattr(learn, "processor_bf16")
    assert not hasattr(pet_learner(dls), "processor_bf16")


def test_bf16_on_the_processor_ends_with_each_mini_batch(dls):
    learn = fitted(pet_learner(dls, replace(TINY, precision="bf16")), 1)
    with learn.no_bar():
        probabilities, _ = learn.get_preds(dl=learn.dls.test_dl(dls.table.path.tolist()))  # no labels, no loss
    assert probabilities.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def test_bytes_stand_for_a_picture(dls):
    "A picture that never was a file."
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), "orange").save(stream, format="PNG")
    learn = pet_learner(dls)
    with learn.no_bar():
        assert learn.predict(stream.getvalue())[0] in dls.vocab
