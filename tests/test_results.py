"What a network answers, and what is read from it: probabilities whatever the loss is, and the right files."
import math

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from petbreeds.interpretation.results import Results, confusion, mistakes, most_confused, results_of
from petbreeds.intervals import share_interval

BREEDS = ["Birman", "Ragdoll", "pug"]


class Passing(nn.Module):
    "A network whose activations are its input."
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return x + self.bias


class Items(list):
    "Pairs of activations and label; the files are named after their places."
    @property
    def items(self):
        return [f"images/{i}.jpg" for i in range(len(self))]


def learner(activations, labels, loss=None):
    "A learner whose training part has no picture, its validation part one, its test part all."
    pairs = Items(zip(activations, map(torch.tensor, labels)))
    dls = DataLoaders.from_dsets(pairs, Items(pairs[:1]), pairs, bs=4, device="cpu", num_workers=0)
    for loader in dls.loaders:
        loader.items = loader.dataset.items
    dls.vocab = BREEDS
    return Learner(dls, Passing(), loss_func=loss or nn.CrossEntropyLoss())


def results(probabilities, labels):
    "Results of given probabilities."
    probabilities = np.array(probabilities, dtype=float)
    losses = -np.log(probabilities[range(len(labels)), labels])
    return Results(BREEDS, [f"images/{i}.jpg" for i in range(len(labels))], np.array(labels), probabilities, losses)


def flat_loss(activations, labels):
    return nn.functional.cross_entropy(activations, labels)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.2),
                                  nn.CrossEntropyLoss(reduction="sum"), flat_loss])
def test_probabilities_and_losses_do_not_depend_on_the_loss(loss):
    torch.manual_seed(0)
    activations = torch.randn(10, 3) * 4
    labels = [i % 3 for i in range(10)]
    found = results_of(learner(activations, labels, loss))
    assert found.n == 10 and list(found.labels) == labels and found.vocab == BREEDS
    np.testing.assert_allclose(found.probabilities, activations.softmax(1), atol=1e-6)
    expected = nn.functional.cross_entropy(activations, torch.tensor(labels), reduction="none")
    np.testing.assert_allclose(found.losses, expected, atol=1e-5)
    assert found.files == [f"images/{i}.jpg" for i in range(10)]


def test_a_part_can_be_named_or_numbered():
    learn = learner(torch.eye(3), [0, 1, 2])
    assert results_of(learn, "valid").n == results_of(learn, 1).n == 1
    assert results_of(learn, 2).n == results_of(learn, "test").n == 3
    with pytest.raises(ValueError):
        results_of(learn, "tset")


def test_a_part_without_pictures_is_refused_in_one_line():
    learn = learner(torch.eye(3), [0, 1, 2])
    learn.dls.loaders[1] = learn.dls.loaders[1].new(Items())
    learn.dls.loaders[1].items = []
    with pytest.raises(ValueError, match="'valid' has no pictures"):
        results_of(learn, "valid")


def test_asking_changes_neither_the_loss_nor_the_callbacks_of_the_learner():
    learn = learner(torch.eye(3), [0, 1, 2])
    before = (learn.loss_func, len(learn.cbs))
    results_of(learn)
    assert (learn.loss_func, len(learn.cbs)) == before


answers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(answers)
def test_error_confusion_and_mistakes_tell_one_story(pairs):
    rows = np.full((len(pairs), 3), 0.1)
    for row, (_, answer) in zip(rows, pairs):
        row[answer] = 0.8
    found = results(rows, [label for label, _ in pairs])
    counts = confusion(found)
    wrong = sum(label != answer for label, answer in pairs)
    assert found.wrong == wrong == counts.sum() - counts.trace() == len(mistakes(found, n=100))
    assert counts.sum() == found.n and found.error_rate == wrong / found.n
    assert found.interval == share_interval(wrong, found.n)
    confused = most_confused(counts, BREEDS, n=100)
    assert sum(count for *_, count in confused) == wrong
    assert [count for *_, count in confused] == sorted((count for *_, count in confused), reverse=True)
    assert most_confused(counts.tolist(), BREEDS, n=1) == confused[:1]


def test_the_worst_mistake_comes_first_and_says_what_it_was():
    found = results([[0.7, 0.2, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]], [1, 2, 2])
    first, second = mistakes(found)
    assert first["image"] == "images/1.jpg" and (first["breed"], first["predicted"]) == ("pug", "Birman")
    assert (first["probability"], first["probability_of_breed"]) == (0.9, 0.05)
    assert second["breed"] == "Ragdoll" and mistakes(found, n=1) == [first]


def test_a_network_that_answers_no_numbers_has_results_too():
    found = results_of(learner(torch.full((3, 3), math.nan), [0, 1, 2]))
    assert found.n == 3 and np.isnan(found.losses).all()
    assert confusion(found).sum() == 3 and len(mistakes(found)) == found.wrong
