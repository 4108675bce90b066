"Networks by name: whose weights they get, and what is said when there are none."

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from fastai.data.all import DataLoaders, Normalize
from fastai.metrics import error_rate
from fastai.vision.all import CrossEntropyLossFlat, vision_learner
from safetensors.torch import save_file

import petbreeds.networks
from petbreeds.files import PetsError
from petbreeds.networks import (
    LITE0,
    OWN,
    PAPERNET,
    PAPERNET_ARCH,
    NetworkError,
    arch_for,
    check_network,
    load_body,
    network,
    network_stats,
    read_body,
    save_body,
    weights_at_hand,
)

LITE = "efficientnet_lite0_imagenet"


def one_line(error, *parts):
    text = str(error.value)
    assert "\n" not in text and all(part in text for part in parts), text


@pytest.fixture
def dls():
    "Noise, of two classes; a new one for each learner, because fastai adds Normalize to it."
    noise = [(torch.rand(3, 32, 32), label) for label in (0, 1, 0, 1)]
    return DataLoaders.from_dsets(noise, noise, bs=4, num_workers=0, device="cpu")


def learner(dls, arch, **options):
    "Plain fastai."
    return vision_learner(dls, arch, n_out=2, loss_func=CrossEntropyLossFlat(), metrics=error_rate, **options)


# ---------------------------------------------------------------- plain fastai


@pytest.mark.parametrize("arch", OWN)
def test_plain_fastai_has_the_right_normalize(dls, arch):
    learn = learner(dls, arch)
    for loader in learn.dls.loaders:
        (normalise,) = [transform for transform in loader.after_batch.fs if isinstance(transform, Normalize)]
        mean, std = network_stats(arch)
        assert np.allclose(normalise.mean.flatten(), mean) and np.allclose(normalise.std.flatten(), std)


def test_plain_fastai_starts_from_papernet_with_a_frozen_body(dls):
    learn = learner(dls, "papernet")
    body = learn.model[0].model
    for name, value in load_body().state_dict().items():
        assert torch.equal(body.state_dict()[name], value), name
    assert learn.opt.frozen_idx == len(learn.opt.param_lists) - 1 >= 1
    assert not any(p.requires_grad for p in body.parameters() if p.dim() > 1)
    assert all(p.requires_grad for p in learn.model[1].parameters())
    assert network_stats("papernet") == (tuple(read_body()[1]["mean"]), tuple(read_body()[1]["std"]))


def test_plain_fastai_starts_from_imagenet(dls):
    body = learner(dls, LITE).model[0].model.state_dict()
    stored = LITE0.tensors()
    assert network_stats(LITE) == ((0.5,) * 3, (0.5,) * 3) and len(stored) == 296
    assert all(torch.equal(value, found) for value, found in zip(body.values(), stored[: len(body)], strict=True))
    whole = timm.create_model(LITE, pretrained=True)
    assert torch.equal(whole.classifier.weight, stored[-2]) and whole.num_classes == 1000


@pytest.mark.parametrize("arch", OWN)
def test_without_pretraining_the_weights_are_random(dls, arch):
    trained = timm.create_model(arch, pretrained=True, num_classes=0).state_dict()
    fresh = learner(dls, arch, pretrained=False).model[0].model.state_dict()
    name = next(name for name, value in trained.items() if value.dim() == 4)
    assert not torch.equal(trained[name], fresh[name])
    assert not [t for t in dls.train.after_batch.fs if isinstance(t, Normalize)]


def test_a_body_by_default_and_classes_where_asked():
    pictures = torch.zeros(2, 3, 64, 64)
    assert timm.create_model("papernet", pretrained=True)(pictures).shape == (2, 368)
    assert timm.create_model("papernet", pretrained=True, num_classes=5)(pictures).shape == (2, 5)
    assert timm.create_model(LITE, pretrained=True, num_classes=37)(pictures).shape == (2, 37)
    assert timm.create_model("papernet", drop_rate=0.3).drop_rate == 0.3


@pytest.mark.parametrize(
    "options, part",
    [(dict(in_chans=1), "3 channels"), (dict(pretrained_cfg_overlay={"file": "x"}), "brings its own weights")],
)
def test_options_that_the_weights_do_not_allow(options, part):
    with pytest.raises(NetworkError) as error:
        timm.create_model("papernet", pretrained=True, **options)
    one_line(error, part)


def test_importing_again_says_nothing():
    code = (
        "import importlib, sys, petbreeds.networks as n; importlib.reload(n); import timm;"
        "assert timm.create_model('papernet', pretrained=True).num_classes == 0;"
        "from petbreeds.networks import *"
    )
    done = subprocess.run([sys.executable, "-W", "always::UserWarning", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "registry" not in done.stderr, done.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        petbreeds.networks._registered(petbreeds.networks.papernet)


# ---------------------------------------------------------------- never random weights


@pytest.mark.parametrize(
    "changed, part",
    [
        (dict(package="no-such-package"), "is not installed: pip install no-such-package==0.1.0"),
        (dict(version="9.9"), "0.1.0 is installed"),
        (dict(path="nowhere.pth"), "is missing"),
        (dict(sha256="0" * 64), "is damaged"),
    ],
)
def test_the_wheel(monkeypatch, dls, changed, part):
    monkeypatch.setattr("petbreeds.networks.LITE0", replace(LITE0, **changed))
    for use in (lambda: learner(dls, LITE), lambda: weights_at_hand(LITE)):
        with pytest.raises(NetworkError) as error:
            use()
        one_line(error, part, "pip install")


@pytest.mark.parametrize(
    "keep, part", [(None, "is missing"), (0, "is damaged"), (1000, "is damaged"), (-100, "is damaged")]
)
def test_a_damaged_papernet(monkeypatch, tmp_path, dls, keep, part):
    file = tmp_path / "papernet.safetensors"
    if keep is not None:
        file.write_bytes(PAPERNET.read_bytes()[:keep])
    monkeypatch.setattr("petbreeds.networks.PAPERNET", file)
    for use in (lambda: learner(dls, "papernet"), lambda: weights_at_hand("papernet"), load_body):
        with pytest.raises(NetworkError) as error:
            use()
        one_line(error, part, "papernet.safetensors")


def test_a_papernet_of_another_architecture(monkeypatch, tmp_path, dls):
    other = timm.create_model("mobilenetv3_small_050", num_classes=0)
    file = save_body(tmp_path / "other.safetensors", other, {"arch": "mobilenetv3_small_050"})
    monkeypatch.setattr("petbreeds.networks.PAPERNET", file)
    with pytest.raises(NetworkError) as error:
        learner(dls, "papernet")
    one_line(error, "is for mobilenetv3_small_050 and not for regnetx_002")
    save_body(file, other, {"arch": PAPERNET_ARCH})
    with pytest.raises(NetworkError) as error:
        learner(dls, "papernet")
    one_line(error, "does not fit")


# ---------------------------------------------------------------- files of weights


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A body of random weights in a file."
    body = timm.create_model("mobilenetv3_small_050", num_classes=0)
    about = {"arch": "mobilenetv3_small_050", "licence": "Apache-2.0"}
    return save_body(tmp_path_factory.mktemp("made") / "made.safetensors", body, about)


def test_missing(tmp_path):
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "no.safetensors")
    one_line(error, "is missing", "petbreeds pretrain")
    assert issubclass(NetworkError, PetsError)


@pytest.mark.parametrize("keep", [0, 5, 1000, -1])
def test_truncated(tmp_path, made, keep):
    file = tmp_path / "cut.safetensors"
    file.write_bytes(made.read_bytes()[:keep])
    with pytest.raises(NetworkError) as error:
        read_body(file)
    one_line(error, "cut.safetensors is damaged")


def test_one_bit(tmp_path, made):
    content = bytearray(made.read_bytes())
    content[-3] ^= 4
    (tmp_path / "bit.safetensors").write_bytes(content)
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "bit.safetensors")
    one_line(error, "checksum")


def test_another_description_is_noticed(tmp_path, made):
    content = made.read_bytes().replace(b"Apache-2.0", b"Apache-3.0")
    (tmp_path / "said.safetensors").write_bytes(content)
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "said.safetensors")
    one_line(error, "checksum")


def test_foreign_files(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "foreign.safetensors")
    one_line(error, "is no PaperNet")
    (tmp_path / "text.safetensors").write_text("not weights\n")
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "text.safetensors")
    one_line(error, "is damaged")
    torch.save({"weight": torch.ones(2)}, tmp_path / "pickled.pth")
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "pickled.pth")
    one_line(error, "is damaged")


@pytest.mark.parametrize("about", ["[1]", '"words"', "3", "{}", '{"arch": null}', '{"arch": ["lcnet_050"]}'])
def test_files_that_say_something_else(tmp_path, about):
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors", {"papernet": about})
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "other.safetensors")
    one_line(error, "is no PaperNet")


def test_numbers_that_numpy_lacks(tmp_path):
    save_file(
        {"weight": torch.ones(2, dtype=torch.bfloat16)},
        tmp_path / "bf16.safetensors",
        {"papernet": '{"arch": "lcnet_050"}'},
    )
    with pytest.raises(NetworkError) as error:
        load_body(tmp_path / "bf16.safetensors")
    one_line(error, "checksum")


@pytest.mark.parametrize("said, part", [("lcnet_050", "does not fit"), ("lcnet_999", "does not know")])
def test_of_another_architecture_than_it_says(tmp_path, said, part):
    file = save_body(
        tmp_path / "other.safetensors", timm.create_model("mobilenetv3_small_050", num_classes=0), {"arch": said}
    )
    with pytest.raises(NetworkError) as error:
        load_body(file)
    one_line(error, part)


# ---------------------------------------------------------------- names


def test_names_of_torchvision_mean_torchvision():
    from torchvision.models import resnet34

    assert arch_for("resnet34") is resnet34 and arch_for("lcnet_050") == "lcnet_050" and arch_for(LITE) == LITE


@pytest.mark.parametrize(
    "arch, size, part",
    [
        ("resnet43", None, "did you mean resnet34"),
        ("papernett", None, "papernet"),
        ("qqq", None, "come with this package"),
        ("vit_tiny_patch16_224", 160, "224 px"),
    ],
)
def test_names_that_are_wrong(arch, size, part):
    with pytest.raises(NetworkError) as error:
        check_network(arch, size)
    one_line(error, part)


def test_names_that_are_right():
    for arch in (*OWN, "resnet18", "lcnet_050"):
        check_network(arch, 160)
    check_network("vit_tiny_patch16_224", 224)


@pytest.mark.parametrize("arch", ["resnet18", "lcnet_050", *OWN])
@pytest.mark.parametrize("head", ["fastai", "plain"])
def test_network_is_what_vision_learner_builds(dls, arch, head):
    options = petbreeds.networks.HEADS[head]
    like = learner(dls, arch_for(arch), pretrained=False, **options).model.state_dict()
    net = network(arch, 2, head)
    net.load_state_dict(like)
    weights = [parameter for parameter in net.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1]
    assert all(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in weights)


def test_a_head_that_does_not_exist():
    with pytest.raises(NetworkError) as error:
        network("papernet", 2, head="bald")
    one_line(error, "'bald'", "'fastai' or 'plain'")


def test_statistics():
    imagenet = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert network_stats("resnet34") == network_stats("papernet", pretrained=False) == imagenet
    assert network_stats("vit_tiny_patch16_224") == ((0.5,) * 3, (0.5,) * 3)
    assert network_stats("regnetx_002") != network_stats("papernet")


# ---------------------------------------------------------------- weights of others


@pytest.fixture
def offline(monkeypatch, tmp_path):
    "No network, and no weights in any cache."
    monkeypatch.setattr("petbreeds.networks._answers", lambda address, wait=5: False)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args, **kw: None)


def test_our_own_need_no_network(offline):
    assert [weights_at_hand(arch) for arch in OWN] == [None, None]


@pytest.mark.parametrize("arch", ["resnet34", "lcnet_050"])
def test_without_a_network(offline, arch):
    with pytest.raises(NetworkError) as error:
        weights_at_hand(arch)
    one_line(error, f"no pretrained weights for {arch}", "cannot be reached", f"--arch {LITE}")


def test_offline_by_wish(monkeypatch, offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(NetworkError) as error:
        weights_at_hand("lcnet_050")
    one_line(error, "HF_HUB_OFFLINE", f"--arch {LITE}")


def test_a_download_that_breaks(monkeypatch, offline):
    def broken(*args, **kwargs):
        raise RuntimeError("invalid hash value\n(expected 'b627a593', got '00')")

    monkeypatch.setattr("petbreeds.networks._answers", lambda address: True)
    monkeypatch.setattr("torch.hub.download_url_to_file", broken)
    with pytest.raises(NetworkError) as error:
        weights_at_hand("resnet34")
    one_line(error, "invalid hash value", f"--arch {LITE}")


def test_nobody_published_weights(offline):
    with pytest.raises(NetworkError) as error:
        weights_at_hand("vit_base_patch32_384")
    one_line(error, "vit_base_patch32_384", f"--arch {LITE}")


def test_what_lies_in_a_cache_is_taken(monkeypatch, offline, tmp_path):
    from torchvision.models import ResNet34_Weights

    file = tmp_path / "checkpoints" / ResNet34_Weights.DEFAULT.url.rpartition("/")[2]
    file.parent.mkdir()
    file.touch()
    assert weights_at_hand("resnet34") == file
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache", lambda *args, **kw: str(tmp_path / "model.safetensors")
    )
    (tmp_path / "model.safetensors").touch()
    assert weights_at_hand("lcnet_050") == tmp_path / "model.safetensors"
