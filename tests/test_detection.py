"""A detector's boxes as the parts of an item: torchvision's SSDlite, trained for seconds, on drawn boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.stats import entropy as entropy_of
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.ssd import SSD
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou, nms

from tasks.infer.disagreement import bald
from tasks.infer.dropout import evaluating
from tasks.infer.parts import AGGREGATIONS, Localisation, aggregate, localisation_spread, matches, of_parts
from tasks.infer.samples import Accumulator
from tasks.infer.uncertainty import entropy

SIDE = 128
#: Of classes 1 and 2; 0 is the background, which is grey.
COLOURS = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.1, 0.9]])
BATCH, STEPS, PASSES, ITEMS = 8, 100, 6, 24


@dataclass(frozen=True)
class Scene:
    image: Tensor
    boxes: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Found:
    """What the detector says of one item: boxes (B, 4), log-probabilities (B, 2) of the classes, and the anchors."""

    boxes: npt.NDArray[np.float64]
    logs: npt.NDArray[np.float32]
    anchors: Tensor


@dataclass(frozen=True)
class Everywhere:
    """Of n items and A anchors each: boxes (n, A, 4), probability of an object (n, A), log-probabilities of its class.

    The latter, (n, A, 2), are those given that there is an object.
    """

    boxes: Tensor
    objects: Tensor
    logs: Tensor


def scene(draw: torch.Generator, torn: float) -> Scene:
    """Two boxes that do not meet; a share ``torn`` is half of the next class's colour, and may be of either class."""

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=draw))

    image = 0.5 + 0.02 * torch.randn(3, SIDE, SIDE, generator=draw)
    boxes, labels = torch.zeros(0, 4), []
    while len(boxes) < 2:
        width, height = integer(SIDE // 4, SIDE // 2), integer(SIDE // 4, SIDE // 2)
        left, top = integer(0, SIDE - width), integer(0, SIDE - height)
        box = torch.tensor([[left, top, left + width, top + height]], dtype=torch.float32)
        if box_iou(box, boxes).sum() > 0:
            continue
        colour = integer(0, 2)
        other = 1 - colour if integer(0, 100) < 100 * torn else colour
        shade = (COLOURS[colour] + COLOURS[other]) / 2
        image[:, top : top + height, left : left + width] = shade[:, None, None]
        boxes, labels = torch.cat([boxes, box]), [*labels, 1 + (colour, other)[integer(0, 2)]]
    return Scene(image.clamp(0, 1), boxes, torch.tensor(labels))


def scenes(count: int, seed: int, torn: float = 0.0) -> list[Scene]:
    draw = torch.Generator().manual_seed(seed)
    return [scene(draw, torn) for _ in range(count)]


def untrained() -> SSD:
    """The detector at half its width and for small images, with dropout before both of its heads' last layers."""
    model = ssdlite320_mobilenet_v3_large(
        weights=None,
        weights_backbone=None,
        num_classes=3,
        width_mult=0.5,
        norm_layer=partial(nn.BatchNorm2d, eps=0.001, momentum=0.1),
    )
    model.transform = GeneralizedRCNNTransform(
        SIDE, SIDE, [0.5] * 3, [0.5] * 3, size_divisible=1, fixed_size=(SIDE, SIDE)
    )
    for head in (model.head.classification_head, model.head.regression_head):
        for block in head.module_list:
            block.insert(1, nn.Dropout(0.1))
    return model


@pytest.fixture(scope="module")
def model() -> SSD:
    """Trained; torchvision trains it with dropout and batch normalisation as they are in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = untrained()
        data = scenes(256, seed=1, torn=0.25)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.008)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.008, total_steps=STEPS)
        for _ in range(STEPS):
            batch = [data[row] for row in torch.randperm(len(data))[:BATCH].tolist()]
            answers = [{"boxes": item.boxes, "labels": item.labels} for item in batch]
            loss = sum(model([item.image for item in batch], answers).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
    return model.eval()


@torch.no_grad()
def everywhere(model: SSD, items: list[Scene]) -> Everywhere:
    """What torchvision's detector makes of all anchors before it sorts them out."""
    images, _ = model.transform([item.image for item in items])
    features = list(model.backbone(images.tensors).values())
    outputs = model.head(features)
    anchors = model.anchor_generator(images, features)
    boxes = [
        model.box_coder.decode_single(moves, corners)
        for moves, corners in zip(outputs["bbox_regression"], anchors, strict=True)
    ]
    logits = outputs["cls_logits"]
    return Everywhere(
        torch.stack(boxes), 1 - logits.softmax(dim=2)[:, :, 0], torch.log_softmax(logits[:, :, 1:], dim=2)
    )


def found(every: Everywhere) -> list[Found]:
    """Per item the anchors that are likely to be objects, without those that a likelier one covers."""
    results = []
    for boxes, objects, logs in zip(every.boxes, every.objects, every.logs, strict=True):
        likely = torch.nonzero(objects >= 0.3).squeeze(1)
        kept = likely[nms(boxes[likely], objects[likely], 0.4)]
        results.append(Found(boxes[kept].double().numpy(), logs[kept].numpy(), kept))
    return results


def sampled(model: SSD, items: list[Scene], rate: float, monkeypatch: pytest.MonkeyPatch) -> list[Everywhere]:
    """``PASSES`` passes that drop units at ``rate``; batch normalisation stays in evaluation mode."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            monkeypatch.setattr(module, "p", rate)
    with torch.random.fork_rng(), evaluating(model, drawing=True):
        torch.manual_seed(3)
        return [everywhere(model, items) for _ in range(PASSES)]


def localised(references: list[Found], passes: Sequence[list[Found]]) -> list[Localisation]:
    return [
        localisation_spread(reference.boxes, [results[item].boxes for results in passes])
        for item, reference in enumerate(references)
    ]


def counts_of(items: list[Found]) -> npt.NDArray[np.int64]:
    return np.array([len(item.boxes) for item in items])


def hits(items: list[Scene], results: list[Found]) -> int:
    """How many boxes were drawn that the detector has in its place and of its class."""
    total = 0
    for item, result in zip(items, results, strict=True):
        taken = matches(item.boxes.numpy(), result.boxes)
        right = result.logs[taken[taken >= 0]].argmax(axis=1) + 1 == item.labels.numpy()[taken >= 0]
        total += int(right.sum())
    return total


@pytest.fixture(scope="module")
def clear() -> list[Scene]:
    return scenes(ITEMS, seed=2)


@pytest.fixture(scope="module")
def clear_found(model: SSD, clear: list[Scene]) -> list[Found]:
    return found(everywhere(model, clear))


def test_the_detector_finds_the_boxes_of_an_item_and_not_those_of_another(clear, clear_found) -> None:
    own = hits(clear, clear_found)
    assert own >= ITEMS  # of twice as many
    assert own > 3 * hits([*clear[1:], clear[0]], clear_found)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_items_whose_boxes_may_be_of_either_class_score_higher(model: SSD, clear_found, how: str) -> None:
    # The same boxes at the same places, but for their colours.
    torn_found = found(everywhere(model, scenes(ITEMS, seed=2, torn=1.0)))
    score = of_parts(entropy, how)
    plain, torn = (
        score(np.concatenate([item.logs for item in items]), counts_of(items)) for items in (clear_found, torn_found)
    )
    assert torn.mean() > 1.2 * plain.mean()


def test_item_scores_are_those_of_a_loop_over_each_items_boxes(clear_found) -> None:
    slow = [[float(entropy_of(np.exp(box.astype(np.float64)))) for box in item.logs] for item in clear_found]
    logs, counts = np.concatenate([item.logs for item in clear_found]), counts_of(clear_found)
    for how, reduce in (("mean", lambda parts: sum(parts) / len(parts)), ("max", max), ("sum", sum)):
        expected = [reduce(parts) if parts else 0.0 for parts in slow]
        np.testing.assert_allclose(of_parts(entropy, how)(logs, counts), expected, rtol=1e-5, atol=1e-9)


def test_without_dropout_nothing_moves_at_all(model: SSD, clear, clear_found, monkeypatch) -> None:
    passes = [found(every) for every in sampled(model, clear, 0.0, monkeypatch)]
    results = localised(clear_found, passes)
    assert sum(len(result.spread) for result in results) >= ITEMS
    assert {value for result in results for value in result.spread.tolist()} == {0.0}
    assert {value for result in results for value in result.found.tolist()} == {1.0}


def test_boxes_move_more_the_more_is_dropped(model: SSD, clear, clear_found, monkeypatch) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    means = []
    for rate in (0.02, 0.1, 0.3):
        passes = [found(every) for every in sampled(model, clear, rate, monkeypatch)]
        results = localised(clear_found, passes)
        shares = np.concatenate([result.found for result in results])
        assert shares.max() == 1.0
        assert shares.mean() > 0.5
        spread = np.concatenate([result.spread for result in results])
        assert np.array_equal(np.isnan(spread), shares == 0)
        # What no pass found has no spread; as a part's score that would leave its item without one.
        items = aggregate(np.nan_to_num(spread), counts_of(clear_found), "mean")
        means.append(items.mean())
    assert 0 < means[0] < means[1] < means[2] < 0.5
    # Drawing has left the trained network, with the statistics of its batch normalisation, as it was.
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_order_of_boxes_and_of_items_does_not_matter(model: SSD, clear, clear_found, monkeypatch) -> None:
    passes = [found(every) for every in sampled(model, clear, 0.1, monkeypatch)]
    turned = [Found(item.boxes[::-1], item.logs[::-1], item.anchors.flip(0)) for item in clear_found[::-1]]
    turned_passes = [results[::-1] for results in passes[::-1]]
    for how in AGGREGATIONS:
        plain, other = (
            aggregate(np.concatenate([result.spread for result in localised(items, found)]), counts_of(items), how)
            for items, found in ((clear_found, passes), (turned, turned_passes))
        )
        np.testing.assert_allclose(other[::-1], plain, rtol=1e-9)


def test_disagreement_of_the_passes_about_each_box_makes_an_items_score(
    model: SSD, clear, clear_found, monkeypatch
) -> None:
    # The anchors of the boxes found without dropout stand for these in every pass.
    every = sampled(model, clear, 0.1, monkeypatch)
    logs = torch.stack(
        [torch.cat([one.logs[row, item.anchors] for row, item in enumerate(clear_found)]) for one in every]
    )
    accumulator = Accumulator(logs.shape[1], logs.shape[2], torch.device("cpu"))
    accumulator.add(logs)
    counts = counts_of(clear_found)
    scores = of_parts(bald, "max")(accumulator.samples(), counts)
    p = np.exp(logs.double().numpy())
    parts = entropy_of(p.mean(axis=0), axis=1) - entropy_of(p, axis=2).mean(axis=0)
    ends = np.cumsum(counts)
    expected = [parts[end - count : end].max(initial=0.0) for end, count in zip(ends, counts, strict=True)]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-7)
    assert scores.max() > 1e-4
