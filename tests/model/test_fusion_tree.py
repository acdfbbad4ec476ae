import pytest
import torch

from dprd_cli.model.fusion_tree import NodeAttention, TreeFusion


def tree(parts=4, *, trained=True, **options):
    """Make a tree; trained, its attention is no longer the mean."""
    torch.manual_seed(0)
    fusion = TreeFusion(8, parts, **options)
    for module in fusion.modules() if trained else ():
        if isinstance(module, NodeAttention):
            torch.nn.init.normal_(module.channel[-1].weight)
            torch.nn.init.normal_(module.spatial.weight)
    return fusion


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 8, 7, 7, generator=generator), torch.randn(3, 4, 8, 7, 7, generator=generator)


def test_attention_is_a_softmax_over_the_two_nodes():
    torch.manual_seed(0)
    attention = tree().root.attention
    a, b = torch.randn(2, 8, 7, 7), torch.randn(2, 8, 7, 7)
    weight = attention(a, b)
    assert weight.shape == a.shape
    # by its definition: both terms of both nodes, softmax
    channel = attention.channel(torch.cat([a.mean((2, 3)), b.mean((2, 3))], 1)).view(2, 2, 8, 1, 1)
    maps = torch.stack([a.mean(1), a.amax(1), b.mean(1), b.amax(1)], 1)
    spatial = attention.spatial(maps)[:, :, None]
    torch.testing.assert_close(weight, (channel + spatial).softmax(dim=1)[:, 0])
    assert weight.std() > 0.05


def test_before_training_nodes_are_nearly_averaged(features):
    whole, parts = features
    fusion = tree(trained=False)
    weight = fusion.root.attention(parts[:, 0], parts[:, 1])
    assert (weight - 0.5).abs().max() < 0.1
    assert torch.isfinite(fusion(whole, parts).whole).all()


def test_a_node_lies_between_its_children(features):
    _, parts = features
    block = tree().blocks[0]
    a, b = block.a(parts[:, 0]), block.b(parts[:, 1])
    joined = block.join(a, b)
    assert (joined <= torch.maximum(a, b) + 1e-6).all()
    assert (joined >= torch.minimum(a, b) - 1e-6).all()


def test_four_parts_by_their_definition(features):
    whole, parts = features
    fusion = tree()
    lr, ub, top = fusion.blocks
    comb3 = top(lr(parts[:, 0], parts[:, 1]), ub(parts[:, 2], parts[:, 3]))
    fused = fusion(whole, parts)
    torch.testing.assert_close(fused.parts, comb3)
    torch.testing.assert_close(fused.whole, fusion.root(comb3, whole))


@pytest.mark.parametrize("parts", [2, 8, 16])
def test_pairs_meet_until_one_is_left(parts):
    fusion = tree(parts, residual=True, norm="gn")
    assert len(fusion.blocks) == parts - 1
    fused = fusion(torch.randn(2, 8, 7, 7), torch.randn(2, parts, 8, 7, 7))
    assert fused.parts.shape == fused.whole.shape == (2, 8, 7, 7)


def test_every_parameter_learns(features):
    whole, parts = features
    fusion = tree()
    fused = fusion(whole, parts)
    (fused.parts.square().sum() + fused.whole.square().sum()).backward()
    assert [name for name, p in fusion.named_parameters() if not p.grad.abs().max() > 0] == []


def test_contest_is_forward_and_says_how_much_each_counts(features):
    whole, parts = features
    fusion = tree(residual=True)
    outcome = fusion.contest(whole, parts)
    assert outcome.feature.shape == (6, 3, 8, 7, 7)
    torch.testing.assert_close(outcome.feature[0], fusion(whole, parts).whole)
    torch.testing.assert_close(outcome.shares.sum(dim=2), torch.ones(6, 3))
    assert (outcome.shares[0] > 0).all()


@pytest.mark.parametrize("without", [0, 3, 4])
def test_what_is_taken_out_counts_nothing(features, without):
    whole, parts = features
    fusion = tree(residual=True)
    outcome = fusion.contest(whole, parts)
    assert (outcome.shares[without + 1, :, without] == 0).all()
    changed = [*parts.unbind(1), whole]
    changed[without] = torch.randn_like(whole)
    again = fusion.contest(changed[4], torch.stack(changed[:4], 1))
    torch.testing.assert_close(again.feature[without + 1], outcome.feature[without + 1])
    assert not torch.equal(again.feature[0], outcome.feature[0])


def test_parts_are_needed(features):
    with pytest.raises(ValueError, match="expected part features"):
        tree()(features[0], None)
