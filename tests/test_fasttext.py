"""fastText's classifier."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional

from tasks.config_train import FastTextConfig, TrainConfig
from tasks.models.bags import Bags
from tasks.models.fasttext import FastText, build
from tasks.models.forward import predict
from tasks.models.taps import head_of, penultimate
from tasks.models.view import View
from tasks.train.examples import Examples
from tasks.train.fit import fit

WIDTH, CLASSES, DIM = 40, 3, 5
CPU = View(torch.device("cpu"), (), ())


def bags(count: int = 30, shortest: int = 0) -> Bags:
    generator = np.random.default_rng(0)
    offsets = np.concatenate([[0], np.cumsum(generator.integers(shortest, 8, count))])
    return Bags(offsets, generator.integers(0, WIDTH, offsets[-1]).astype(np.int32), WIDTH)


def model(seed: int = 0) -> FastText:
    """With embeddings that are not zeros."""
    torch.manual_seed(seed)
    made = FastText(WIDTH, CLASSES, DIM)
    nn.init.normal_(made.embedding.weight)
    return made


def test_features_are_the_means_of_the_rows_and_the_outputs_linear_in_them() -> None:
    made, items = model(), bags()
    with penultimate(build_like(made)) as seen:
        outputs = made(items.tensor())
    rows = made.embedding.weight.detach().numpy().astype(np.float64)
    for item in range(len(items)):
        chosen = items.features[items.offsets[item] : items.offsets[item + 1]]
        mean = rows[chosen].mean(axis=0) if len(chosen) else np.zeros(DIM)
        np.testing.assert_allclose(seen[0][item], mean, atol=1e-6)
        np.testing.assert_allclose(outputs[item].detach(), made.head.weight.detach().numpy() @ mean, atol=1e-5)


def build_like(made: FastText) -> nn.Module:
    """The model with its taps."""
    made.taps = build((WIDTH,), CLASSES, FastTextConfig(dim=DIM)).taps  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_is_that_of_dense_autograd(dtype) -> None:
    made, items = model().to(dtype), bags()
    labels = torch.arange(len(items)) % CLASSES
    functional.cross_entropy(made(items.tensor()), labels).backward()
    sparse, of_head = made.embedding.weight.grad, made.head.weight.grad
    assert sparse.is_coalesced()
    assert sparse._nnz() == len(np.unique(items.features))

    counts = np.zeros((len(items), WIDTH))
    for item in range(len(items)):
        np.add.at(counts[item], items.features[items.offsets[item] : items.offsets[item + 1]], 1)
    shares = torch.from_numpy(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)).to(dtype)
    weight = made.embedding.weight.detach().clone().requires_grad_()
    head = made.head.weight.detach().clone().requires_grad_()
    functional.cross_entropy(shares @ weight @ head.T, labels).backward()
    torch.testing.assert_close(sparse.to_dense(), weight.grad)
    torch.testing.assert_close(of_head, head.grad)


def test_gradients_of_several_batches_add_up() -> None:
    made, items = model(), bags()
    gradients = []
    for rows in (np.arange(20), np.arange(10, 30)):
        made.zero_grad()
        made(items[rows].tensor()).square().sum().backward()
        gradients.append(made.embedding.weight.grad.to_dense())
    made(items[np.arange(20)].tensor()).square().sum().backward()
    summed = made.embedding.weight.grad
    torch.testing.assert_close(summed.to_dense(), sum(gradients))
    before = made.embedding.weight.detach().clone()
    torch.optim.SGD(made.parameters(), 1.0).step()
    torch.testing.assert_close(made.embedding.weight.detach(), before - sum(gradients))


def test_a_step_moves_the_rows_of_the_batch_and_no_others() -> None:
    made, items = model(), bags(3, shortest=1)
    before = made.embedding.weight.detach().clone()
    functional.cross_entropy(made(items.tensor()), torch.tensor([0, 1, 2])).backward()
    torch.optim.SGD(made.parameters(), 1.0).step()
    moved = (made.embedding.weight.detach() != before).any(dim=1).nonzero()[:, 0]
    assert moved.tolist() == np.unique(items.features).tolist()


def test_a_batch_of_empty_bags_alone_is_answered_with_zeros_and_trains_nothing() -> None:
    empty = Bags(np.zeros(4, np.int64), np.empty(0, np.int32), WIDTH)
    made = model()
    outputs = made(empty.tensor())
    assert torch.equal(outputs, torch.zeros(3, CLASSES))
    outputs.sum().backward()
    assert made.embedding.weight.grad._nnz() == 0
    torch.optim.SGD(made.parameters(), 1.0).step()


def test_features_without_labelled_texts_add_nothing() -> None:
    made = FastText(WIDTH, CLASSES, DIM)
    assert not made.embedding.weight.any()
    assert made.head.weight.all()


def test_bf16_and_inference_give_nearly_the_same() -> None:
    made, items = model(), bags()
    exact = made(items.tensor()).detach()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        rough = made.eval()(items.tensor())
    torch.testing.assert_close(rough.float(), exact, atol=0.1, rtol=0.1)


def test_bf16_trains() -> None:
    made, items = model(), bags()
    with torch.autocast("cpu", torch.bfloat16):
        loss = functional.cross_entropy(made(items.tensor()).float(), torch.arange(len(items)) % CLASSES)
    loss.backward()
    assert made.embedding.weight.grad.dtype == torch.float32


def test_weights_survive_safetensors() -> None:
    made, other = model(), FastText(WIDTH, CLASSES, DIM)
    other.load_state_dict(load(save(made.state_dict())))
    assert torch.equal(other(bags().tensor()), made(bags().tensor()))


def test_it_is_built_on_the_meta_device_and_says_where_its_head_is() -> None:
    with torch.device("meta"):
        made = build((10**9,), 7, FastTextConfig(dim=DIM))
    assert head_of(made).weight.shape == (7, DIM)
    assert made.embedding.weight.shape == (10**9, DIM)


def learnable(count: int) -> Examples:
    """Each class has features of its own among those of all."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, count)
    features = np.stack([10 + 3 * labels, 11 + 3 * labels, *generator.integers(0, 10, (6, count))], axis=1)
    return Examples(Bags(np.arange(0, 8 * count + 1, 8), features.ravel().astype(np.int32), WIDTH), labels)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns_by_the_training_loop_and_equal_seeds_give_equal_weights(precision) -> None:
    examples, view = learnable(200), View(torch.device("cpu"), (), (), precision=precision)
    settings = TrainConfig(
        model="fasttext", epochs=5, batch_size=32, optimizer="sgd", momentum=0, lr=8, schedule="linear"
    )
    trained = [fit(lambda: FastText(WIDTH, CLASSES, DIM), examples, None, settings, view, 3)[0] for _ in range(2)]
    scores = predict(trained[0], examples.items, view)
    assert np.mean(scores.argmax(axis=1) == examples.labels) > 0.95
    for name, weight in trained[0].state_dict().items():
        assert torch.equal(weight, trained[1].state_dict()[name])
