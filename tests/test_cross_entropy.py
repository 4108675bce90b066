"The losses of chapter 6 against PyTorch's, over what hypothesis can think of; and the solutions of its exercises."
import copy
import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from exercises import Exercises
from petbreeds.cross_entropy import CrossEntropy, cross_entropy, likelihood, nll_loss, plain_cross_entropy
from petbreeds.softmax import log_softmax, softmax

ROOT = Path(__file__).resolve().parent.parent
EXERCISES = Exercises("06_cross_entropy")
TOLERANCE = {torch.float16: (2e-3, 1e-3), torch.bfloat16: (1.6e-2, 1e-2),  # dtype: (relative, absolute)
             torch.float32: (1e-5, 1e-5), torch.float64: (1e-10, 1e-10)}
SIZES = (0.01, 1., 30., 1e3, 1e4)  # largest activation
inf = float("inf")


@st.composite
def problems(draw, infinities=False):
    "A float64 input, a target and settings, all of which PyTorch's loss takes."
    n_classes, more = draw(st.integers(1, 7)), draw(st.lists(st.integers(1, 3), max_size=2))
    shape = draw(st.sampled_from([(n_classes,), (draw(st.integers(0, 5)), n_classes, *more)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = (torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1) * draw(st.sampled_from(SIZES))
    if infinities:
        x[torch.rand(shape, generator=generator) < 0.2] = draw(st.sampled_from([inf, -inf]))
    target = torch.randint(0, n_classes, shape[1:] if len(shape) == 1 else (shape[0], *shape[2:]), generator=generator)
    ignore_index = draw(st.sampled_from([-100, 0, n_classes - 1, 255]))
    if ignore_index in (-100, 255):
        target[torch.rand(target.shape, generator=generator) < draw(st.sampled_from([0., 0.3, 1.]))] = ignore_index
    weight = torch.rand(n_classes, generator=generator, dtype=torch.float64) + 0.1
    weight[torch.rand(n_classes, generator=generator) < draw(st.sampled_from([0., 0.5]))] = 0
    if draw(st.booleans()):  # the same numbers, otherwise laid out in memory
        x = x.movedim(0, -1).contiguous().movedim(-1, 0)
    return x, target, {"weight": draw(st.sampled_from([None, weight])), "ignore_index": ignore_index,
                       "reduction": draw(st.sampled_from(["none", "mean", "sum"]))}


def value_and_gradient(loss, x, target, dtype, arguments):
    x = x.to(dtype, copy=True).requires_grad_()
    weight = arguments["weight"]
    value = loss(x, target, **{**arguments, "weight": None if weight is None else weight.to(dtype)})
    value.backward(torch.ones_like(value))
    return value.detach(), x.grad


def assert_same(ours, theirs, exact, dtype):
    "Equal to PyTorch's float64 answer; with 32 or 64 bits also to its own (its 16-bit sums overflow and round off)."
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    relative, absolute = TOLERANCE[dtype]
    for wanted in [exact.to(dtype)] + [theirs] * (dtype.itemsize > 2):
        torch.testing.assert_close(ours, wanted, rtol=relative, atol=absolute, equal_nan=True)


def assert_agrees(ours, theirs, x, target, dtype, arguments):
    x = x.to(dtype).double()  # rounded once, so that all three see the same numbers
    plain = x.contiguous()  # PyTorch's nll_loss refuses other layouts of (N, C, d1, d2) in its backward pass
    exact = value_and_gradient(theirs, plain, target, torch.float64, arguments)
    for trio in zip(value_and_gradient(ours, x, target, dtype, arguments),
                    value_and_gradient(theirs, plain, target, dtype, arguments), exact):
        assert_same(*trio, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=150, deadline=None)
@given(problem=problems(), label_smoothing=st.sampled_from([0., 0.1, 1.]))
def test_cross_entropy_is_pytorchs(dtype, problem, label_smoothing):
    x, target, arguments = problem
    assert_agrees(cross_entropy, F.cross_entropy, x, target, dtype, arguments | {"label_smoothing": label_smoothing})


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_nll_loss_is_pytorchs(dtype, problem):
    x, target, arguments = problem
    assert_agrees(nll_loss, F.nll_loss, -x.abs(), target, dtype, arguments)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@settings(max_examples=100, deadline=None)
@given(problem=problems(infinities=True))
def test_infinite_activations(dtype, problem):
    x, target, arguments = problem
    assert_agrees(cross_entropy, F.cross_entropy, x, target, dtype, arguments)


@settings(max_examples=50, deadline=None)
@given(problem=problems(), label_smoothing=st.sampled_from([0., 0.3]))
def test_class_form_is_functional_form(problem, label_smoothing):
    x, target, arguments = problem
    arguments = arguments | {"label_smoothing": label_smoothing}
    expected = cross_entropy(x, target, **arguments)
    torch.testing.assert_close(CrossEntropy(**arguments)(x, target), expected, equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_gradient_is_softmax_minus_one_hot(problem):
    x, target, _ = problem
    dim = 0 if x.dim() == 1 else 1
    target = target.clamp(0, x.shape[dim] - 1)
    x.requires_grad_()
    cross_entropy(x, target, reduction="sum").backward()
    one_hot = F.one_hot(target, x.shape[dim]).movedim(-1, dim)
    torch.testing.assert_close(x.grad, softmax(x.detach(), dim) - one_hot, rtol=1e-10, atol=1e-10)


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_likelihood_is_what_nll_takes_the_log_of(problem):
    x, target, _ = problem
    dim = 0 if x.dim() == 1 else 1
    x, target = x.clamp(-5, 5), target.clamp(0, x.shape[dim] - 1)
    probs = softmax(x, dim)
    torch.testing.assert_close(-likelihood(probs, target).log(), nll_loss(log_softmax(x, dim), target, reduction="sum"))
    of_each = -likelihood(probs, target, reduction="none").log()
    torch.testing.assert_close(of_each, cross_entropy(x, target, reduction="none"))


def test_second_derivatives():
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    target = torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradgradcheck(lambda x: cross_entropy(x, target, label_smoothing=0.1), x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_targets_of_any_integer_type(dtype):
    x, target = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    assert cross_entropy(x, target.to(dtype)) == cross_entropy(x, target)


def test_all_ignored_is_nan_as_in_pytorch():
    x, target = torch.randn(4, 3), torch.full((4,), -100)
    assert cross_entropy(x, target).isnan() and F.cross_entropy(x, target).isnan()
    assert cross_entropy(x, target, reduction="sum") == 0


def test_mean_of_items_that_weigh_nothing_is_nan_as_in_pytorch():
    x, target, weight = torch.zeros(2, 3), torch.tensor([0, 0]), torch.tensor([0., 1., 1.])
    for label_smoothing in (0., 0.1):
        for loss in (cross_entropy, F.cross_entropy):
            assert loss(x, target, weight, label_smoothing=label_smoothing).isnan()


def test_shapes_alone_on_the_meta_device():
    x, target = torch.zeros(4, 3, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    assert cross_entropy(x, target).shape == () and cross_entropy(x, target, reduction="none").shape == (4,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_returns_what_pytorch_returns(dtype):
    x, target = torch.randn(4, 3, dtype=dtype), torch.tensor([0, 2, 1, 1])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = cross_entropy(x, target), F.cross_entropy(x, target)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


x43, target4 = torch.zeros(4, 3), torch.tensor([0, 2, 1, 1])


@pytest.mark.parametrize("arguments, error, parts", [
    ((x43, torch.tensor([0, 7, 1, 1])), IndexError, ["target 7", "(4, 3)", "0 to 2"]),
    ((x43, torch.tensor([0, -1, 1, 1])), IndexError, ["target -1", "(4, 3)", "0 to 2"]),
    ((x43, target4.float()), TypeError, ["torch.float32", "whole numbers"]),
    ((x43, target4 > 0), TypeError, ["torch.bool", "whole numbers"]),
    ((x43, [0, 2, 1, 1]), TypeError, ["target", "list"]),
    ((x43.long(), target4), TypeError, ["input", "torch.int64"]),
    ((x43, target4[:3]), ValueError, ["(3,)", "(4, 3)", "expected shape (4,)"]),
    ((x43, target4[:1]), ValueError, ["(1,)", "(4, 3)", "expected shape (4,)"]),
    ((x43, target4[None]), ValueError, ["(1, 4)", "(4, 3)"]),
    ((torch.zeros(4, 3, 5), target4), ValueError, ["(4,)", "(4, 3, 5)", "expected shape (4, 5)"]),
    ((torch.tensor(1.), torch.tensor(0)), ValueError, ["shape ()"]),
    ((x43, target4, torch.ones(4)), ValueError, ["weight", "(4,)", "(4, 3)", "(3,)"]),
    ((x43, target4, [1, 1, 1]), TypeError, ["weight", "list"]),
    ((x43, target4, None, -100, "avg"), ValueError, ["'avg'", "'mean'"]),
], ids=lambda value: str(value)[:40])
def test_wrong_input(arguments, error, parts):
    for loss in (cross_entropy, nll_loss):
        with pytest.raises(error) as raised:
            loss(*arguments)
        message = str(raised.value)
        assert all(part in message for part in parts), message
        assert "\n" not in message


@pytest.mark.parametrize("label_smoothing", [-0.1, 1.1])
def test_wrong_label_smoothing(label_smoothing):
    with pytest.raises(ValueError, match=str(label_smoothing)):
        cross_entropy(x43, target4, label_smoothing=label_smoothing)


def test_likelihood_refuses_mean():
    with pytest.raises(ValueError, match="'mean'.*'prod'"):
        likelihood(x43, target4, reduction="mean")


def test_typed_tensors_of_fastai():
    from fastai.torch_core import TensorCategory, TensorImage
    x = torch.randn(4, 3)
    typed = cross_entropy(TensorImage(x), TensorCategory(target4), torch.ones(3), label_smoothing=0.1)
    assert typed == cross_entropy(x, target4, torch.ones(3), label_smoothing=0.1)


def test_module_moves_copies_and_keeps_its_weight():
    loss = CrossEntropy(weight=torch.tensor([1., 2., 3.]), label_smoothing=0.1)
    assert loss.double().weight.dtype == torch.float64
    assert copy.deepcopy(loss)(x43.double(), target4) == loss(x43.double(), target4)
    assert "label_smoothing=0.1" in repr(loss)
    assert repr(nn.CrossEntropyLoss()) == "CrossEntropyLoss()" and "weight" in loss.state_dict()


def test_compiled_in_one_graph_is_the_same():
    torch._dynamo.reset()
    compiled = torch.compile(cross_entropy, fullgraph=True, backend="aot_eager")
    x, target = torch.randn(8, 5, requires_grad=True), torch.randint(0, 5, (8,))
    compiled(x, target).backward()
    gradient, x.grad = x.grad, None
    cross_entropy(x, target).backward()
    torch.testing.assert_close(gradient, x.grad)


def exercise_namespace():
    "What the exercises use, and the check cells."
    names = dict(F=F, Tensor=Tensor, torch=torch, log=math.log, softmax=softmax, cross_entropy=cross_entropy)
    return EXERCISES.namespace(**names)


ONE_HOT = "F.one_hot(targ, acts.shape[1])"
PICKED = "softmax(acts, 1)[range(len(targ)), targ]"


@pytest.mark.parametrize("answer, said", [
    ("check_first_loss(lambda n: 1 / n)", "probability"),
    ("check_first_loss(lambda n: -log(n))", "other sign"),
    ("check_first_loss(lambda n: 1 - 1 / n)", "error rate"),
    ("check_first_loss(lambda n: log(n) / log(2))", "bits"),
    ("check_first_loss(lambda n: log(120))", "4.7875 for 120"),
    ("check_first_loss(lambda n: 12)", "12.0000 for 120"),
    ("check_first_loss(lambda n: 'much')", "ValueError"),
    ("check_first_loss(lambda n: n.log())", "AttributeError"),
    ("check_by_hand(lambda acts, targ: -cross_entropy(acts, targ))", "sign is missing"),
    ("check_by_hand(lambda acts, targ: cross_entropy(acts, targ, reduction='sum'))", "sum over the batch"),
    (f"check_by_hand(lambda acts, targ: -{PICKED}.mean())", "logarithm is missing"),
    ("check_by_hand(lambda acts, targ: -acts[range(len(targ)), targ].mean())", "picked activations"),
    ("check_by_hand(lambda acts, targ: cross_entropy(acts, targ) / log(2))", "bits"),
    (f"check_by_hand(lambda acts, targ: -{PICKED}.mean().log())", "log first"),
    ("check_by_hand(lambda acts, targ: cross_entropy(acts, targ, reduction='none'))", "shape ()"),
    ("check_by_hand(lambda acts, targ: acts.sum())", "expected"),
    ("check_by_hand(lambda acts, targ: torch.tensor(1.8045))", "expected"),
    ("check_by_hand(lambda acts, targ: acts[:, 99].mean())", "IndexError"),
    (f"check_gradient(lambda acts, targ: softmax(acts, 1) - {ONE_HOT})", "gradient of the sum"),
    (f"check_gradient(lambda acts, targ: ({ONE_HOT} - softmax(acts, 1)) / len(targ))", "sign"),
    ("check_gradient(lambda acts, targ: softmax(acts, 1) / len(targ))", "what was true"),
    (f"check_gradient(lambda acts, targ: (acts - {ONE_HOT}) / len(targ))", "from the probabilities"),
    (f"check_gradient(lambda acts, targ: (softmax(acts, 1) - {ONE_HOT}) / acts.numel())", "mean is over rows"),
    ("check_gradient(lambda acts, targ: acts[0])", "one slope for each activation"),
    ("check_gradient(lambda acts, targ: acts)", "Not yet"),
    ("check_gradient(lambda acts, targ: acts.zero_())", "changed the activations"),
    ("check_gradient(lambda acts, targ: acts @ acts.nothing)", "AttributeError"),
    ("check_weights(lambda counts: torch.ones(len(counts)) / counts)", "Scale them"),
    ("check_weights(lambda counts: counts)", "wrong way round"),
    ("check_weights(lambda counts: torch.ones(len(counts)))", "57%, 29%, 14%"),
    ("check_weights(lambda counts: torch.tensor([3 / 7, 6 / 7, 12 / 7]))", "expected 5 weights"),
    ("check_weights(lambda counts: [1, 2])", "expected 3 weights"),
    ("check_weights(lambda counts: counts.nothing)", "AttributeError"),
])
def test_checks_name_the_mistake(answer, said, capsys):
    exec(answer, exercise_namespace())
    printed = capsys.readouterr().out
    assert said in printed and printed.startswith("Not yet")


@settings(max_examples=50, deadline=None)
@given(problem=problems())
def test_the_two_lines_are_the_same_loss(problem):
    x, target, _ = problem
    if x.dim() == 2 and len(x):
        target = target.clamp(0, x.shape[1] - 1)
        torch.testing.assert_close(plain_cross_entropy(x, target), F.cross_entropy(x, target))


def test_bench_measured_what_the_chapter_says():
    measured = json.loads((ROOT / "bench" / "results" / "cross_entropy.json").read_text())
    kinds = {(tuple(row["shape"]), row["mode"]) for row in measured["results"] if row["loss"] == "petbreeds"}
    assert kinds == {(shape, mode) for shape in ((4096, 37), (512, 1000)) for mode in ("eager", "compiled")}
    assert {"processor", "cores", "threads", "torch", "python", "load_before"} <= set(measured)


def test_bench_found_us_within_the_budget():
    measured = json.loads((ROOT / "bench" / "results" / "cross_entropy.json").read_text())
    ours = [row for row in measured["results"] if row["loss"] == "petbreeds"]
    assert measured["budget"] == {"eager": 3.0, "compiled": 1.3}
    assert all(row["time_ratio"][1] <= measured["budget"][row["mode"]] for row in ours)
