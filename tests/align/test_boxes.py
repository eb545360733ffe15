import numpy as np
import pytest
import torch
import torch.nn.functional as F

from scn_fastai.align import boxes as B


def random_boxes(generator, n, limit=100.0):
    corner = torch.rand(n, 2, generator=generator) * limit
    return torch.cat([corner, corner + 2 + torch.rand(n, 2, generator=generator) * limit / 2], 1)


def test_the_pyramid_goes_on_as_long_as_a_window_fits():
    for height, width in [(11, 300), (20, 20), (48, 48), (480, 640)]:
        scales = B.pyramid(height, width)
        assert all(round(min(height, width) * scale, 6) >= 12 for scale in scales)
        assert np.allclose([b / a for a, b in zip(scales, scales[1:], strict=False)], 0.709)
        assert not scales or min(height, width) * scales[-1] * 0.709 < 12
    assert B.pyramid(11, 300) == []


def test_candidates_are_the_windows_above_the_threshold(tiny):
    prob, shift = torch.rand(2, 5, 7, generator=tiny), torch.rand(2, 4, 5, 7, generator=tiny)
    boxes, score, own, image = B.candidates(prob, shift, 0.5, 0.8)
    expected = [
        (b, [(2 * x + 1) // 0.5, (2 * y + 1) // 0.5, (2 * x + 12) // 0.5, (2 * y + 12) // 0.5], prob[b, y, x])
        for b in range(2)
        for y in range(5)
        for x in range(7)
        if prob[b, y, x] >= 0.8
    ]
    assert len(expected) > 5 and image.tolist() == [b for b, _, _ in expected]
    assert boxes.tolist() == [box for _, box, _ in expected] and score.tolist() == [s for _, _, s in expected]
    assert own.shape == (len(expected), 4)


def test_a_square_keeps_middle_and_longer_side(tiny):
    boxes = random_boxes(tiny, 20)
    square = B.squared(boxes)
    sides = square[:, 2:] - square[:, :2]
    torch.testing.assert_close(sides, (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True).expand(-1, 2))
    torch.testing.assert_close(square[:, :2] + square[:, 2:], boxes[:, :2] + boxes[:, 2:])


@pytest.mark.parametrize("most", [0.2, 0.5, 0.9])
def test_what_lies_in_a_surer_box_goes(tiny, most):
    boxes, scores = random_boxes(tiny, 40), torch.rand(40, generator=tiny)
    image = torch.arange(40) % 3
    kept = []
    for row in sorted(range(40), key=lambda k: -scores[k]):  # greedily, as plain loops
        for other in kept:
            if image[row] != image[other]:
                continue
            a, b = boxes[row], boxes[other]
            across = [float(min(a[2 + k], b[2 + k]) - max(a[k], b[k]) + 1) for k in (0, 1)]
            areas = [float((x[2] - x[0] + 1) * (x[3] - x[1] + 1)) for x in (a, b)]
            if max(across[0], 0) * max(across[1], 0) / min(areas) > most:
                break
        else:
            kept.append(row)
    assert B.keep_unnested(boxes, scores, image, most).tolist() == kept
    assert 3 <= len(kept) < 40


def test_of_equal_scores_the_smaller_box_stays():
    boxes = torch.tensor([[0.0, 0, 99, 99], [1, 1, 98, 98], [0, 0, 90, 90]])
    assert B.keep_unnested(boxes, torch.tensor([0.9, 0.9, 0.8]), torch.zeros(3), 0.7).tolist() == [1]


def test_pictures_do_not_hide_each_others_boxes():
    boxes, scores = torch.tensor([[0.0, 0, 9, 9]] * 4), torch.tensor([0.9, 0.8, 0.7, 0.6])
    image = torch.tensor([0, 0, 1, 1])
    assert B.keep_apart(boxes, scores, image, 0.5).tolist() == [0, 2]
    assert B.keep_unnested(boxes, scores, image, 0.5).tolist() == [0, 2]
    assert B.keep_unnested(boxes[:0], scores[:0], image[:0], 0.5).tolist() == []


def test_cut_outs_are_area_means_of_the_clipped_box(tiny):
    images = torch.randint(0, 256, (2, 3, 50, 70), generator=tiny, dtype=torch.uint8)
    boxes = torch.tensor([[1.0, 1, 70, 50], [10.7, 5.2, 30.9, 41.1], [-12.0, -3, 20, 30], [60, 40, 90, 90]])
    image = torch.tensor([0, 1, 0, 1])
    cut = B.cut_out(B.integral(images), boxes, image, 24)
    for k, (x1, y1, x2, y2) in enumerate(boxes.trunc().int().tolist()):
        part = images[image[k], :, max(y1, 1) - 1 : min(y2, 50), max(x1, 1) - 1 : min(x2, 70)].float()
        torch.testing.assert_close(cut[k], F.interpolate(part[None], (24, 24), mode="area")[0], rtol=1e-5, atol=1e-3)


def test_a_box_without_a_pixel_gives_zeros():
    cut = B.cut_out(B.integral(torch.full((1, 3, 9, 9), 200, dtype=torch.uint8)), torch.tensor([[20.0, 3, 30, 5]]),
                    torch.tensor([0]), 4)  # fmt: skip
    assert (cut == 0).all()
