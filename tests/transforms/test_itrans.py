"""iTrans: the certificate of diagonal dominance, extreme parameters, and bad input."""

from __future__ import annotations

import pytest
import torch
from exactness import randomise

from attnflow import AttnFlowError
from attnflow.transforms import ITrans
from attnflow.transforms.attention.mixing import DenseMixing, LinearMixing
from attnflow.transforms.attention.positions import pairwise_offsets

VARIANTS = [
    {"patch_size": 1},
    {"patch_size": 2},
    {"patch_size": 2, "num_heads": 3},
    {"patch_size": 3},
    {"patch_size": 2, "signed": False},
    {"patch_size": 2, "mask": "channel"},
    {"patch_size": 1, "position_embedding": "both"},
    {"patch_size": 1, "position_embedding": "relative"},
    {"variant": "causal", "patch_size": 1},
    {"variant": "causal", "num_heads": 3, "position_embedding": "both"},
    {"variant": "causal", "patch_size": 3},
    {"variant": "linear", "patch_size": 1},
    {"variant": "linear", "num_heads": 3, "position_embedding": "absolute"},
    {"variant": "linear", "patch_size": 3, "rank": 2},
]


def extreme(options: dict) -> ITrans:
    """An iTrans whose weights are 100 times what is usual."""
    attention = ITrans(4, (6, 6), **options)
    randomise(attention, 1.0)
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.mul_(100)
    return attention


def mixing_matrix(attention: ITrans, x: torch.Tensor) -> torch.Tensor:
    """W of every group and head, built by applying it to the identity: (B, G, h, n, n).

    Tokens come last, so that the identity's rows become W's columns.
    """
    mixing = attention.mixing(x)
    weights = mixing.weights()
    identity = torch.eye(weights.shape[-1], dtype=x.dtype).expand(weights.shape)
    return mixing.apply(identity).mT


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_certificate_holds_at_extreme_parameters(options) -> None:
    attention = extreme(options).double()
    x = 10 * torch.randn(4, 4, 6, 6).double()
    matrix = mixing_matrix(attention, x)
    diagonal = matrix.diagonal(dim1=-2, dim2=-1).abs()
    others = matrix.abs().sum(-1) - diagonal
    assert (diagonal > others).all()
    bound = 1 / (diagonal - others).amin(-1)
    assert (torch.linalg.inv(matrix).abs().sum(-1).amax(-1) <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_extreme_parameters_stay_finite_and_invertible(options) -> None:
    attention = extreme(options)
    x = torch.randn(4, 4, 6, 6)
    z, log_det = attention(x)
    assert torch.isfinite(z).all()
    assert torch.isfinite(log_det).all()
    assert ((attention.inverse(z) - x).abs().max() < 1e-3).all()
    attention = attention.double()
    z, _ = attention(x.double())
    torch.testing.assert_close(attention.inverse(z), x.double(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_rows_of_attention_sum_to_one(options) -> None:
    attention = ITrans(4, (6, 6), **options)
    weights = attention.mixing(torch.randn(2, 4, 6, 6)).weights()
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_one_half_passes_and_the_weights_read_it_alone(options) -> None:
    attention = ITrans(4, (6, 6), **options)
    randomise(attention)
    x = torch.randn(2, 4, 6, 6)
    read = attention.mask
    z, log_det = attention(x)
    torch.testing.assert_close(z[:, read], x[:, read], rtol=0, atol=0)
    assert (z[:, ~read] - x[:, ~read]).abs().min() > 0
    other = torch.where(read, x, torch.randn_like(x))
    torch.testing.assert_close(attention(other)[1], log_det)
    torch.testing.assert_close(attention.mixing(other).weights(), attention.mixing(x).weights())


def test_positive_mixing_averages_and_signed_mixing_can_subtract() -> None:
    x = torch.randn(1, 4, 6, 6)
    for signed, lowest in ((False, 0.0), (True, -10.0)):
        attention = ITrans(4, (6, 6), signed=signed)
        with torch.no_grad():
            attention.gain_logit.fill_(-3.0)
        matrix = mixing_matrix(attention, x)
        off_diagonal = matrix - torch.diag_embed(matrix.diagonal(dim1=-2, dim2=-1))
        assert off_diagonal.min() >= lowest
        assert (off_diagonal.min() < 0) == signed


def test_position_embedding_tells_equal_tokens_apart() -> None:
    x = torch.ones(1, 4, 6, 6)
    without = ITrans(4, (6, 6)).mixing(x).weights()
    assert without.std(-1).max() < 1e-6
    attention = ITrans(4, (6, 6), position_embedding="both")
    assert attention.mixing(x).weights().std(-1).min() > 1e-3


def test_offset_bias_is_shared_by_all_pairs_at_the_same_offset() -> None:
    offsets = pairwise_offsets(3, 4)
    for t in range(12):
        for s in range(12):
            rows, columns = t // 4 - s // 4, t % 4 - s % 4
            assert offsets[t, s] == (rows + 2) * 7 + columns + 3
    attention = ITrans(4, (3, 4), mask="channel", patch_size=1, position_embedding="both")
    with torch.no_grad():
        attention.positions.offset_bias.table[0, 2 * 7 + 4] = (
            1e3  # from the token one column to the left
        )
    weights = attention.mixing(torch.randn(1, 4, 3, 4)).weights()[0, 0, 0]
    for t in range(12):
        if t % 4:
            assert weights[t, t - 1] > 0.999


def test_log_det_stays_in_float32_under_autocast() -> None:
    attention = ITrans(4, (6, 6))
    x = torch.randn(2, 4, 6, 6)
    expected_z, expected = attention(x)
    with torch.autocast("cpu", torch.bfloat16):
        z, log_det = attention(x)
    assert log_det.dtype == torch.float32
    torch.testing.assert_close(log_det, expected)
    torch.testing.assert_close(z, expected_z)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_attention_weights_are_the_ones_that_mix(options) -> None:
    attention = ITrans(4, (6, 6), **options).double()
    randomise(attention)
    x = torch.randn(2, 4, 6, 6).double()
    mixing = attention.mixing(x)
    identity = torch.eye(mixing.ratio.shape[-1]).double()
    weighted = mixing.alpha[..., None] * (identity + mixing.ratio[..., None] * mixing.weights())
    torch.testing.assert_close(mixing_matrix(attention, x), weighted)


def test_causal_tokens_attend_to_no_later_token() -> None:
    attention = ITrans(4, (6, 6), variant="causal", position_embedding="both")
    weights = attention.mixing(torch.randn(2, 4, 6, 6)).weights()
    assert (weights.triu(1) == 0).all()
    assert (weights.tril() + torch.ones(9, 9).triu(1) > 0).all()


def test_linear_attention_has_the_rank_it_is_given() -> None:
    attention = ITrans(4, (6, 6), variant="linear", patch_size=1, mask="channel", rank=5).double()
    randomise(attention)
    weights = attention.mixing(torch.randn(2, 4, 6, 6).double()).weights()
    assert (torch.linalg.matrix_rank(weights) == 5).all()


def test_linear_attention_never_holds_a_value_for_every_pair_of_tokens() -> None:
    tokens, largest = 64 * 64, 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    attention = ITrans(2, (64, 64), variant="linear", patch_size=1, position_embedding="absolute")
    with Watch():
        z, log_det = attention(torch.randn(1, 2, 64, 64))
        attention.inverse(z)
    assert 2 * tokens <= largest < 64 * tokens
    assert torch.isfinite(log_det).all()


@pytest.mark.parametrize("sharpness", [1.0, 100.0])
@pytest.mark.parametrize("padded", [False, True])
def test_linear_mixing_is_dense_mixing_with_the_same_weights(sharpness, padded) -> None:
    groups, heads, rank, n = 2, 3, 5, 12
    valid = torch.arange(n) < torch.tensor([[n], [n - 1]]) if padded else None
    query, key = sharpness * torch.randn(2, 1, groups, heads, rank, n).double()
    alpha = 0.1 + torch.rand(1, 1, heads, 1).double()
    ratio = (0.99 * torch.randn(1, groups, heads, n).double()).clamp(-0.99, 0.99)
    linear = LinearMixing(query, key, alpha, ratio, valid, LinearMixing.unread(n, valid))
    bias = linear.weights()[0].log()  # whose softmax are the weights themselves
    nothing = torch.zeros(1, groups, heads, 1, n).double()
    dense = DenseMixing(nothing, nothing, alpha, ratio, valid, bias)
    values = torch.randn(1, groups, heads, 4, n).double()
    close = {"rtol": 1e-10, "atol": 1e-10}
    torch.testing.assert_close(linear.log_det(), dense.log_det(), **close)
    torch.testing.assert_close(linear.apply(values), dense.apply(values), **close)
    torch.testing.assert_close(linear.solve(values), dense.solve(values), **close)


def test_sharp_linear_attention_can_copy_one_token() -> None:
    """Softmax over tokens lets a slot be a single token: a row of S is then one-hot."""
    attention = ITrans(4, (6, 6), mask="channel", variant="linear", position_embedding="absolute")
    with torch.no_grad():
        attention.features.linear.weight.mul_(1e5)
    weights = attention.mixing(torch.randn(1, 4, 6, 6)).weights()
    assert weights.amax(-1).min() > 0.99


@pytest.mark.parametrize("variant", ["dense", "causal", "linear"])
def test_float32_log_det_keeps_up_with_float64_at_many_tokens(variant) -> None:
    attention = ITrans(4, (16, 16), variant=variant, patch_size=1)
    randomise(attention, 2.0)
    x = torch.randn(2, 4, 16, 16)
    z, log_det = attention(x)
    torch.testing.assert_close(attention.inverse(z), x, rtol=1e-4, atol=1e-4)
    expected = attention.double()(x.double())[1].float()
    torch.testing.assert_close(log_det, expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("options", [{}, {"variant": "causal"}, {"variant": "linear"}], ids=str)
def test_an_attention_that_served_inference_serves_training(options) -> None:
    attention = ITrans(3, (10, 5), patch_size=5, **options)
    with torch.inference_mode():
        attention(torch.randn(1, 3, 10, 5))
    z, log_det = attention(torch.randn(1, 3, 10, 5))
    (z.sum() + log_det.sum()).backward()
    assert all(p.grad is not None for p in attention.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "sparse"}, "'sparse'"),
        ({"mask": "stripes"}, "'stripes'"),
        ({"parity": 2}, "parity: expected .*, got 2|parity is 2"),
        ({"patch_size": 0}, "patch_size: expected .*, got 0|patch_size is 0"),
        ({"num_heads": 0}, "num_heads: expected .*, got 0|num_heads is 0"),
        ({"patch_size": 4}, "patch_size: expected a divisor .* got 4"),
        ({"num_heads": 9}, "num_heads: expected 8 at most, .* got 9"),
        ({"position_embedding": "sine"}, "'sine'"),
        ({"position_embedding": True}, "got True; write both, or absolute with variant linear"),
        ({"position_embedding": False}, "got False; write none"),
        ({"position_embedding": "relative", "variant": "linear"}, "linear.* got 'relative'"),
        ({"position_embedding": "both", "variant": "linear"}, "linear.* got 'both'"),
        ({"variant": "linear", "rank": 0}, "rank: expected .*, got 0|rank is 0"),
        ({"key_channels": 0}, "key_channels: expected .*, got 0|key_channels is 0"),
    ],
)
def test_bad_options_are_named(options, message) -> None:
    with pytest.raises(AttnFlowError, match=message):
        ITrans(4, (6, 6), **options)


def test_a_feature_map_of_another_size_is_named() -> None:
    attention = ITrans(4, (6, 6), position_embedding="both")
    with pytest.raises(AttnFlowError, match="got 4 x 8 x 6"):
        attention(torch.randn(1, 4, 8, 6))
    with pytest.raises(AttnFlowError, match="got 4 x 5 x 6"):
        attention(torch.randn(1, 4, 5, 6))


def test_linear_has_no_more_slots_than_tokens_that_mix() -> None:
    attention = ITrans(4, (4, 4), variant="linear", patch_size=1, rank=16)
    weights = attention.mixing(torch.randn(1, 4, 4, 4)).weights()
    assert weights.shape[-1] == 8
    assert attention.features.linear.out_features == 2 * 8 + 1


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_a_bias_of_keys_is_not_trained_as_it_changes_nothing(options) -> None:
    attention = ITrans(4, (6, 6), **options)
    randomise(attention)
    x = torch.randn(2, 4, 6, 6)
    z, log_det = attention(x)
    (z.square().sum() - log_det.sum()).backward()
    gradient = attention.features.linear.bias.grad.unflatten(0, (attention.num_heads, -1))
    width = gradient.shape[1] // 2
    assert (gradient[:, width:-1] == 0).all()
    assert (gradient[:, :width].abs().sum(1) > 0).all()
    assert (gradient[:, -1].abs() > 0).all()
