"Where a network looks, what it confuses, drawing again with one thing changed; bad input gets a clear answer."
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exercises import Exercises
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from safetensors.torch import load_file
from torch import nn

from petbreeds.files import PetsError
from petbreeds.interpretation import (
    InterpretationError, confusion, errors_by_class, grad_cam, most_confused, results_of)
from petbreeds.interpretation.attention import heat_over_area, layer_for
from petbreeds.interpretation.laboratory import (
    PER_BREED, SEED, centre_square, donor_for, laboratory_drawing, one_thing_changed)
from petbreeds.intervals import share_interval
from petbreeds.networks import network
from petbreeds.paperpets import BREEDS, Changes, draw_pet

EXERCISES = Exercises("07_interpretation")
STORED = Path(__file__).parents[1] / "bench" / "results" / "laboratory.safetensors"
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def small():
    "A network with maps of 8x8, as plain as can be."
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.ReLU(), nn.Conv2d(5, 6, 3, padding=1))
    return nn.Sequential(body, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)))


@pytest.fixture
def pictures():
    torch.manual_seed(1)
    return torch.randn(3, 3, 32, 32)


def refused(call, *words):
    "A refusal in one line that holds some words."
    with pytest.raises(InterpretationError) as caught:
        call()
    said = str(caught.value)
    assert isinstance(caught.value, PetsError) and "\n" not in said
    assert all(word in said for word in words), said


# ---- Grad-CAM

@pytest.mark.parametrize("classes", [None, [0, 1, 3]])
def test_the_maps_are_those_of_captum(small, pictures, classes):
    captum = pytest.importorskip("captum.attr")
    small.eval()
    target = small(pictures).argmax(1) if classes is None else torch.tensor(classes)
    expected = captum.LayerGradCam(small, small[0]).attribute(pictures.requires_grad_(), target=target,
                                                              relu_attributions=True)
    torch.testing.assert_close(grad_cam(small, pictures, classes), expected[:, 0].detach())


def test_a_frozen_network_has_maps_and_keeps_its_state(small, pictures):
    frozen = network("papernet", 37, head="plain").requires_grad_(False).train()
    frozen[0].eval()
    maps = grad_cam(frozen, torch.randn(2, 3, 128, 128))
    assert maps.shape == (2, 8, 8) and (maps >= 0).all() and not maps.requires_grad
    assert frozen[1].training and not frozen[0].training
    assert not any(layer._forward_hooks for layer in frozen.modules())
    small.zero_grad()
    grad_cam(small, pictures)
    assert all(weights.grad is None for weights in small.parameters()) and pictures.grad is None


def test_works_where_gradients_are_off(small, pictures):
    with torch.no_grad():
        assert grad_cam(small, pictures).shape == (3, 8, 8)


def test_a_network_without_convolutions_is_told_what_is_needed(pictures):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4))
    refused(lambda: grad_cam(flat, pictures), "needs a network with convolutions", "papernet")


def test_maps_that_are_too_coarse_or_no_maps_are_refused(small, pictures):
    refused(lambda: grad_cam(small, pictures[..., :16, :16]), "8x8", "finest of this network have 4")
    refused(lambda: grad_cam(small, pictures, layer=small[1]), "Sequential gives none")
    refused(lambda: grad_cam(small, pictures, layer=nn.Conv2d(3, 3, 1)), "Conv2d gives none")


def test_activations_that_are_no_numbers_are_refused(small, pictures):
    refused(lambda: grad_cam(small, pictures * torch.nan), "not a number")
    refused(lambda: grad_cam(small[0], pictures, layer=small[0][0]), "a number for each class")


def test_a_hook_goes_away_after_an_error(small):
    with pytest.raises(RuntimeError):
        grad_cam(small, torch.randn(1, 5, 32, 32), layer=small[0])
    assert not any(layer._forward_hooks for layer in small.modules())


@pytest.mark.parametrize("arch, size, sides", [("papernet", 128, (8, 8)), ("resnet34", 128, (8, 8)),
                                               ("efficientnet_lite0_imagenet", 224, (14, 14))])
def test_the_layer_is_the_latest_that_is_fine_enough(arch, size, sides):
    net = network(arch, 5)
    pictures = torch.zeros(1, 3, size, size)
    assert grad_cam(net, pictures, [0], layer_for(net, pictures)).shape[1:] == sides


def test_heat_over_area_does_not_depend_on_the_scale_and_knows_empty_maps():
    maps = torch.rand(3, 8, 8)
    maps[2] = 0
    masks = torch.zeros(3, 64, 64)
    masks[:, :32] = 1
    found = heat_over_area(maps, masks)
    torch.testing.assert_close(found, heat_over_area(7 * maps, masks), equal_nan=True)
    torch.testing.assert_close(found[0], 2 * maps[0, :4].sum() / maps[0].sum())
    assert found.isnan().tolist() == [False, False, True]
    assert heat_over_area(maps, masks * 0).isnan().all()
    refused(lambda: heat_over_area(maps, masks[:2]), "3 maps and 2 masks")


# ---- answers

class Items(list):
    @property
    def items(self):
        return [f"images/{i}.jpg" for i in range(len(self))]


class Passing(nn.Module):
    "A network whose activations are its input."
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.bias


def learner(pairs, vocab, loss=None):
    pairs = Items(pairs)
    dls = DataLoaders.from_dsets(pairs, pairs, bs=64, device="cpu", num_workers=0)
    for loader in dls.loaders:
        loader.items = loader.dataset.items
    if vocab is not None:
        dls.vocab = vocab
    return Learner(dls, Passing(), loss_func=loss or nn.MSELoss())


def test_a_learner_without_probabilities_is_refused():
    numbers = [(torch.randn(1), torch.randn(1)) for _ in range(4)]
    refused(lambda: results_of(learner(numbers, None), "valid"), "no probabilities", "CategoryBlock")
    several = [(torch.randn(3), torch.ones(3)) for _ in range(4)]
    refused(lambda: results_of(learner(several, ["a", "b", "c"], nn.BCEWithLogitsLoss()), "valid"), "one label")
    refused(lambda: results_of(learner(numbers, None), "test"), "no part 'test'", "2 parts")


def test_answers_that_are_no_numbers_are_counted_and_reported(caplog):
    pairs = [(torch.tensor([torch.nan, 1.0]), torch.tensor(i % 2)) for i in range(4)]
    pairs[0] = torch.tensor([0.0, 1.0]), torch.tensor(1)
    found = results_of(learner(pairs, ["Birman", "pug"], nn.CrossEntropyLoss()), "valid")
    assert found.unknown == 3
    assert "3 of 4 answers are no numbers" in caplog.text and "lower learning rate" in caplog.text


def test_a_breed_without_a_validation_picture_has_no_error():
    rows = errors_by_class([[2, 1, 0], [0, 4, 0], [0, 0, 0]], ["Birman", "pug", "boxer"])
    assert [row["breed"] for row in rows] == ["Birman", "pug", "boxer"]
    assert rows[0] == {"breed": "Birman", "wrong": 1, "n": 3, "error": 1 / 3,
                       "low": share_interval(1, 3)[0], "high": share_interval(1, 3)[1]}
    assert (rows[2]["error"], rows[2]["low"], rows[2]["high"]) == (None, 0.0, 1.0)


def test_min_val_is_the_least_count_that_is_listed():
    counts = np.array([[5, 2, 1], [3, 5, 0], [0, 1, 5]])
    assert [count for *_, count in most_confused(counts, "abc", min_val=2)] == [3, 2]
    assert most_confused(counts, "abc", n=None, min_val=0) == most_confused(counts, "abc")
    assert counts[0, 0] == 5  # the diagonal of the caller's matrix is not touched


THOUSAND = """
import resource, warnings
warnings.simplefilter("ignore")
import torch
from test_interpretation import learner
from petbreeds.interpretation import confusion, errors_by_class, most_confused, results_of
from torch import nn
n, n_classes = 20_000, 1000
rows = torch.randn(n, n_classes)
pairs = list(zip(rows, torch.arange(n) % n_classes))
found = results_of(learner(pairs, [f"class {i}" for i in range(n_classes)], nn.CrossEntropyLoss()), "valid")
counts = confusion(found)
assert counts.shape == (n_classes, n_classes) and counts.sum() == n
assert len(errors_by_class(counts, found.vocab)) == n_classes and most_confused(counts, found.vocab)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured by `resource`")
def test_a_thousand_classes_need_less_than_two_gigabytes():
    done = subprocess.run([sys.executable, "-c", THOUSAND], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split()[-1]) < 2


# ---- drawing again

def test_without_changes_a_drawing_is_what_it_was():
    assert (draw_pet("pug", 3).rgb == draw_pet("pug", 3, changes=Changes()).rgb).all()


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("part", ["light", "background", "coat"])
def test_the_animal_stays_where_it_was(part, number):
    before = laboratory_drawing("Siamese", number)
    after = laboratory_drawing("Siamese", number, one_thing_changed("Siamese", number)[part])
    assert (before.trimap == after.trimap).all() and before.head == after.head
    assert (np.asarray(before.picture) != np.asarray(after.picture)).any()


def test_a_change_has_dice_of_its_own():
    pictures = [draw_pet("beagle", 4, changes=Changes(background=dice)).rgb for dice in (1, 1, 2)]
    assert (pictures[0] == pictures[1]).all() and (pictures[0] != pictures[2]).any()


def test_another_coat_changes_the_animal_and_not_its_surroundings():
    before, after = draw_pet("pug", 5), draw_pet("pug", 5, changes=Changes(ears="Siamese"))
    far = (before.trimap == 2) & (after.trimap == 2)
    assert (before.rgb == after.rgb).all(2)[far].mean() > 0.9
    assert (before.trimap != after.trimap).any()


@pytest.mark.parametrize("changes, said", [(dict(ears="beegle"), "did you mean beagle"),
                                           (dict(coat="no"), "no breed called 'no'"),
                                           (dict(light=1), "a neutral picture has no light")])
def test_changes_that_cannot_be_drawn_are_refused(changes, said):
    with pytest.raises(ValueError, match=said):
        draw_pet("pug", neutral=True, changes=Changes(**changes))


@pytest.mark.parametrize("gene", ["ears", "coat"])
def test_a_donor_differs_and_is_of_the_same_species(gene):
    for breed in BREEDS:
        donor = BREEDS[donor_for(breed, 1, gene)]
        assert donor.name != breed and donor.species == BREEDS[breed].species
        if gene == "ears":
            assert donor.ear != BREEDS[breed].ear


def test_the_laboratory_has_a_seed_of_its_own():
    assert SEED != 0 and PER_BREED == 100


def test_masks_are_cut_as_validation_cuts_pictures():
    mask = np.zeros((60, 100), dtype=np.uint8)
    mask[:, 20:80] = 1
    assert centre_square([mask, mask.T], 30).float().mean() == 1
    assert centre_square([1 - mask], 30).float().mean() == 0


# ---- what is stored

def test_the_stored_answers_belong_to_the_stored_heads():
    stored = load_file(STORED)
    assert stored["weight"].shape[1:] == (37, 368) and stored["bias"].shape == stored["weight"].shape[:2]
    assert stored["answers"].shape == (len(stored["weight"]), 37 * PER_BREED)
    first = stored["log_probabilities"].float()
    assert (first.argmax(1) == stored["answers"][0]).float().mean() > 0.999
    torch.testing.assert_close(first.exp().sum(1), torch.ones(len(first)), atol=2e-3, rtol=0)


def test_each_stored_network_errs_as_measured():
    measured = json.loads(STORED.with_suffix(".json").read_text())
    labels = np.repeat(np.arange(37), PER_BREED)
    errors = [(answers.numpy() != labels).mean() for answers in load_file(STORED)["answers"]]
    assert errors == pytest.approx(measured["results"]["error"]["each"], abs=1e-4)


# ---- exercises

@pytest.fixture
def namespace():
    return EXERCISES.namespace(torch=torch, np=np, random=random)


def chance_once(n, cells):
    return 1 - (1 - 1 / cells) ** (n - 1)


WRONG = [
    ("check_recall", lambda counts: counts.diagonal() / counts.sum(0), "precision"),
    ("check_recall", lambda counts: 1 - counts.diagonal() / counts.sum(1), "the error of each class"),
    ("check_recall", lambda counts: counts.diagonal() / counts.sum(), "by all pictures"),
    ("check_recall", lambda counts: counts.diagonal(), "that is a count"),
    ("check_recall", lambda counts: counts.missing, "it fails (AttributeError"),
    ("check_recall", lambda counts: None, "expected 3 shares"),
    ("check_chance", lambda n, cells: float(np.prod(1 - np.arange(n) / cells)), "none is shared"),
    ("check_chance", lambda n, cells: n / cells, "looks at one mistake"),
    ("check_chance", chance_once, "looks at one mistake"),
    ("check_chance", lambda n, cells: 2.0, "avoids both"),
    ("check_chance", lambda n, cells: None, "returns no number"),
    ("check_middle", lambda maps: maps[:, 2:6, 2:6].sum((1, 2)) / maps.sum((1, 2)), "share of the heat"),
    ("check_middle", lambda maps: maps[:, 2:6, 2:6].sum((1, 2)) / maps.sum((1, 2)) / 16, "number of places"),
    ("check_middle", lambda maps: maps[:, 2:6, 2:6].sum() / maps.sum() * 4, "numbers, got ()"),
    ("check_middle", lambda maps: 4 * maps[:, :4, :4].sum((1, 2)) / maps.sum((1, 2)), "middle four"),
    ("check_middle", lambda maps: maps.nothing, "it fails (AttributeError"),
]


@pytest.mark.parametrize("check, answer, hint", WRONG)
def test_a_wrong_answer_gets_the_name_of_its_mistake(check, answer, hint, namespace, capsys):
    namespace[check](answer)
    said = capsys.readouterr().out
    assert said.startswith("Not yet: ") and hint in said, said
