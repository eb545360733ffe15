import pytest
import torch
import torch.nn.functional as F

from scn_fastai.align.networks import ONet, PNet, RNet


@pytest.mark.parametrize(("network", "count"), [(PNet, 6_632), (RNet, 100_178), (ONet, 389_040)])
def test_they_have_as_many_parameters_as_the_published_ones(network, count):
    assert sum(p.numel() for p in network().parameters()) == count


def test_pnet_says_of_a_window_what_it_says_of_it_in_a_picture(tiny):
    net = PNet().eval()
    picture = torch.rand(1, 3, 40, 52, generator=tiny)
    prob, shift = net(picture)
    for row, column in [(0, 0), (5, 9), (13, 3)]:
        window = picture[:, :, 2 * row : 2 * row + 12, 2 * column : 2 * column + 12]
        alone, own = net(window)
        assert alone.shape == (1, 1, 1)
        torch.testing.assert_close(alone[0, 0, 0], prob[0, row, column])
        torch.testing.assert_close(own[0, :, 0, 0], shift[0, :, row, column])


def test_onet_layer_by_layer(tiny):
    net = ONet().eval()
    x = picture = torch.rand(2, 3, 48, 48, generator=tiny)
    for i, pool in enumerate([3, 3, 2, None], start=1):
        conv, slope = getattr(net, f"conv{i}"), getattr(net, f"prelu{i}").weight[None, :, None, None]
        x = F.conv2d(x, conv.weight, conv.bias)
        x = torch.where(x > 0, x, slope * x)
        x = x if pool is None else F.max_pool2d(x, pool, 2, ceil_mode=True)
    # The features are read column by column, all channels of a place together.
    flat = torch.stack([x[:, c, row, column] for column in range(3) for row in range(3) for c in range(128)], 1)
    hidden = flat @ net.dense5.weight.T + net.dense5.bias
    hidden = torch.where(hidden > 0, hidden, net.prelu5.weight * hidden)
    points = net.dense6_3(hidden)
    prob, shift, found = net(picture)
    torch.testing.assert_close(prob, net.dense6_1(hidden).softmax(1)[:, 1])
    torch.testing.assert_close(shift, net.dense6_2(hidden))
    torch.testing.assert_close(found[:, 3], torch.stack([points[:, 3], points[:, 8]], 1))


@pytest.mark.parametrize(("network", "side"), [(RNet, 24), (ONet, 48)])
def test_no_candidates_are_no_answers(network, side):
    assert [len(answer) for answer in network()(torch.zeros(0, 3, side, side))] == [0] * (2 if side == 24 else 3)
