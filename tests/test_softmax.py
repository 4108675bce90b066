"softmax, logsumexp and log_softmax held against PyTorch; the exercises of their chapter held against their solutions."
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from exercises import Exercises

from petbreeds import softmax as ours

NAMES = ["softmax", "log_softmax", "logsumexp"]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
INF = math.inf
SPECIAL = [0.0, -0.0, 1.0, -1.0, 88.0, 89.0, 710.0, 1e4, -1e4]


@st.composite
def activations(draw, dtypes=DTYPES, values=None, largest=1e4, shortest=0):
    "A tensor of any shape, and one of its axes, counted from either end."
    shape = draw(st.lists(st.integers(shortest, 5), max_size=4))
    scale = draw(st.sampled_from([scale for scale in (0.1, 1.0, 30.0, 1e4) if scale <= largest]))
    if values is None:
        values = st.floats(-scale, scale) | st.sampled_from([v for v in SPECIAL if abs(v) <= largest])
    n = math.prod(shape)
    x = torch.tensor(draw(st.lists(values, min_size=n, max_size=n)), dtype=torch.float64).view(shape)
    axes = max(len(shape), 1)
    return x.to(draw(st.sampled_from(dtypes))), draw(st.integers(-axes, axes - 1))


def value_and_gradient(function, x, dim):
    "The result, and the gradient of its sum with the weights -1, 0, 1, 2, -1, ..."
    x = x.clone().requires_grad_()
    result = function(x, dim)
    weights = (torch.arange(result.numel()) % 4 - 1).view_as(result)
    (weights * result).sum().backward()
    return result.detach(), x.grad


def assert_near(got, wanted, roundings, floor=0.0):
    "Equal but for a number of roundings of the type, relative to the largest value."
    finite = wanted[wanted.isfinite()]
    largest = max(1.0, finite.abs().max().item()) if finite.numel() else 1.0
    tolerance = max(roundings * torch.finfo(wanted.dtype).eps * largest, floor)
    torch.testing.assert_close(got, wanted, rtol=0, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(activations())
def test_as_exact_as_the_type_allows(name, case):
    x, dim = case
    got = value_and_gradient(getattr(ours, name), x, dim)
    wanted = value_and_gradient(getattr(torch, name), x.double(), dim)
    for part, true in zip(got, wanted):
        assert part.dtype == x.dtype
        assert_near(part, true.to(x.dtype), roundings=4, floor=1e-11)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(activations())
def test_value_agrees_with_torch_in_the_same_type(name, case):
    x, dim = case
    assert_near(getattr(ours, name)(x, dim), getattr(torch, name)(x, dim), roundings=8)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(activations(largest=1.0))  # PyTorch's own gradient of logsumexp loses digits with the size of x
def test_gradient_agrees_with_torch_in_the_same_type(name, case):
    x, dim = case
    got = value_and_gradient(getattr(ours, name), x, dim)[1]
    assert_near(got, value_and_gradient(getattr(torch, name), x, dim)[1], roundings=16)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=200)
@given(activations(values=st.sampled_from([INF, -INF, math.nan, 0.0, 3.0, -7.0]), shortest=1))
def test_infinities_and_nan_as_in_torch(name, case):
    x, dim = case
    wanted = value_and_gradient(getattr(torch, name), x, dim)
    for part, true in zip(value_and_gradient(getattr(ours, name), x, dim), wanted):
        assert torch.equal(part.isnan(), true.isnan())
        assert_near(part, true, roundings=8)


@settings(deadline=None)
@given(activations(dtypes=[torch.float32, torch.float64], shortest=1), st.floats(-1e3, 1e3))
def test_softmax_is_a_distribution_that_ignores_shifts(case, shift):
    x, dim = case
    probabilities = ours.softmax(x, dim)
    assert (probabilities >= 0).all()
    torch.testing.assert_close(probabilities.sum(dim), torch.ones_like(probabilities.sum(dim)))
    exact = x.double().round()  # whole numbers, so that the shift itself is exact
    torch.testing.assert_close(ours.softmax(exact + round(shift), dim), ours.softmax(exact, dim))


@settings(deadline=None)
@given(activations(shortest=1))
def test_logsumexp_keepdim(case):
    x, dim = case
    kept = ours.logsumexp(x, dim, keepdim=True)
    assert kept.shape == torch.logsumexp(x, dim, keepdim=True).shape
    assert torch.equal(kept.squeeze(dim), ours.logsumexp(x, dim))


@pytest.mark.parametrize("name", NAMES)
def test_second_derivative(name):
    x = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: getattr(ours, name)(x, 1), x)


@pytest.mark.parametrize("shape, dim", [((0,), 0), ((3, 0), 1), ((3, 0), 0), ((0, 3), -1), ((2, 0, 4), 2), ((), -1)])
@pytest.mark.parametrize("name", NAMES)
def test_empty_and_zero_dimensional(name, shape, dim):
    x = torch.zeros(shape)
    assert torch.equal(getattr(ours, name)(x, dim), getattr(torch, name)(x, dim))


@pytest.mark.parametrize("name", NAMES)
def test_input_is_not_changed(name):
    x = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    before = x.clone()
    getattr(ours, name)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("x, dim, kind, words", [
    (torch.zeros(6, 2), 2, IndexError, ["(6, 2)", "dimension 2", "-2 to 1"]),
    (torch.zeros(6, 2), -3, IndexError, ["(6, 2)", "dimension -3"]),
    (torch.tensor(1.0), 1, IndexError, ["()", "dimension 1", "-1 to 0"]),
    (torch.zeros(6, 2), 1.0, TypeError, ["1.0", "integer"]),
    (torch.zeros(6, 2), True, TypeError, ["True"]),
    (torch.zeros(6, 2), (0, 1), TypeError, ["(0, 1)"]),
    (torch.tensor([[1, 2, 3]]), 1, TypeError, ["torch.int64", "(1, 3)", ".float()"]),
    (torch.tensor([True]), 0, TypeError, ["torch.bool", "(1,)"]),
    (torch.zeros(2, dtype=torch.complex64), 0, TypeError, ["torch.complex64"]),
    ([1.0, 2.0], 0, TypeError, ["list", "[1.0, 2.0]"]),
])
def test_wrong_arguments_get_one_clear_line(name, x, dim, kind, words):
    with pytest.raises(kind) as error:
        getattr(ours, name)(x, dim)
    message = str(error.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize("name", NAMES)
def test_traces_as_one_graph(name):
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    compiled = torch.compile(getattr(ours, name), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, 1), getattr(torch, name)(x, 1))


# The exercises of the chapter: its own check cells, run on its own solutions and on the usual wrong answers.

EXERCISES = Exercises("05_softmax")


@pytest.fixture
def chapter():
    "What the exercises use: the module, the classes, and the check cells."
    space = {"torch": torch, "math": math} | {name: getattr(ours, name) for name in NAMES}
    return EXERCISES.namespace(**space)


@pytest.mark.parametrize("check, answer, hint", [
    ("temperature", "lambda x, T: softmax(x)", "changes nothing"),
    ("temperature", "lambda x, T: softmax(x * T)", "multiply"),
    ("temperature", "lambda x, T: softmax(x) / T", "rows sum to"),
    ("temperature", "lambda x, T: softmax(x / T, dim=0)", "last axis"),
    ("temperature", "lambda x, T: (x / T).exp() / (x / T).exp().sum(-1, keepdim=True)", "overflows"),
    ("temperature", "lambda x, T: softmax(x / (T + 1))", "table of temperatures"),
    ("temperature", "lambda x, T: softmax(x / 4) if T == 4 else softmax(x / 0.01)", "table of temperatures"),
    ("temperature", "lambda x, T: x / T + torch.zeros(7)", "RuntimeError"),
    ("temperature", "lambda x, T: 1.0", "shape of x"),
    ("way_back", "lambda p: p.nothing()", "AttributeError"),
    ("rows", "lambda x: x.nothing()", "AttributeError"),
    ("present", "lambda a, names, t: a[99]", "IndexError"),
    ("present", "lambda a, names, t: [] if a.max() < 0 or len(a) > 3 else names[t > 0.9:2]", "expected"),
    ("halves", "lambda a, b: a @ torch.zeros(3)", "RuntimeError"),
    ("halves", "lambda a, b: 1.0", "one number for each"),
    ("halves", "lambda a, b: torch.logaddexp(a, b) if len(a) == 4 else a", "expected"),
    ("way_back", "lambda p: p", "themselves"),
    ("way_back", "lambda p: p.logit()", "undoes the sigmoid"),
    ("way_back", "lambda p: p.log() - p.log().sum(-1, keepdim=True)", "nan"),
    ("way_back", "lambda p: (p + 0.1).log()", "softmax of your"),
    ("rows", "lambda x: x.exp() / x.exp().sum(dim=1)", "must match the size"),
    ("rows", "lambda x: softmax(x, dim=0)", "columns sum to 1"),
    ("rows", "lambda x: x.exp() / x.exp().sum(dim=1, keepdim=True)", "overflow"),
    ("rows", "lambda x: (x - x.max()).exp() / (x - x.max()).exp().sum(dim=1, keepdim=True)", "each row"),
    ("present", "lambda a, names, t: [n for n, p in zip(names, softmax(a)) if p >= t]", "banana"),
    ("present", "lambda a, names, t: [names[a.argmax()]] if a.max() > 0 else []", "compete"),
    ("present", "lambda a, names, t: [n for n, v in zip(names, a) if v >= t]", "not the activation"),
    ("present", "lambda a, names, t: list(names)", "0.96"),
    ("halves", "lambda a, b: a + b", "product"),
    ("halves", "lambda a, b: torch.maximum(a, b)", "too low"),
    ("halves", "lambda a, b: (a.exp() + b.exp()).log()", "overflows"),
    ("halves", "lambda a, b: a.logaddexp(b) + 1", "expected"),
])
def test_wrong_answer_gets_its_sentence(chapter, capsys, check, answer, hint):
    chapter[f"check_{check}"](eval(answer, chapter))
    said = capsys.readouterr().out
    assert said.startswith("Not yet") and re.search(hint, said), said
