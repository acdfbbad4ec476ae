import pytest
import torch

from dprd_cli.model.fusion import RAB, ConcatFusion, NoFusion, RDAFusion, WholeTransform


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_rab_is_the_elementwise_max_of_its_branches():
    block = RAB(8, 4, "none")
    a, b = torch.randn(3, 8, 7, 7), torch.randn(3, 8, 7, 7)
    torch.testing.assert_close(block(a, b), torch.maximum(block.a(a), block.b(b)))


@pytest.mark.parametrize("norm", ["none", "gn"])
def test_one_relu_after_the_max_is_one_on_either_side(norm):
    torch.manual_seed(0)
    fusion = RDAFusion(8, 4, norm=norm)
    whole, parts = (torch.randn(shape, requires_grad=True) for shape in [(2, 8, 7, 7), (2, 4, 8, 7, 7)])
    inputs = [whole, parts, *fusion.parameters()]
    lr, ub, top = fusion.blocks

    def plain(block, a, b):
        return torch.maximum(block.a(a), block.b(b))

    comb3 = plain(top, plain(lr, parts[:, 0], parts[:, 1]), plain(ub, parts[:, 2], parts[:, 3]))
    expected = torch.maximum(comb3, fusion.whole(whole))
    actual = fusion(whole, parts).whole
    torch.testing.assert_close(actual, expected)
    weights = torch.randn_like(expected)
    grads = (torch.autograd.grad((out * weights).sum(), inputs) for out in (actual, expected))
    for mine, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("parts", [2, 4, 8, 16])
def test_rda_tree_merges_pairs_until_one_is_left_and_keeps_the_size(parts: int):
    fusion = RDAFusion(16, parts)
    assert len(fusion.blocks) == parts - 1
    fused = fusion(torch.randn(2, 16, 7, 7), torch.randn(2, parts, 16, 7, 7))
    assert fused.parts.shape == fused.whole.shape == (2, 16, 7, 7)
    assert (fused.whole >= fused.parts).all()  # comb4 = max(comb3, F_w(whole))


def test_rda_of_four_parts_by_its_definition():
    fusion = RDAFusion(8, 4)
    whole, parts = torch.randn(2, 8, 7, 7), torch.randn(2, 4, 8, 7, 7)
    lr, ub, top = fusion.blocks
    comb3 = top(lr(parts[:, 0], parts[:, 1]), ub(parts[:, 2], parts[:, 3]))
    fused = fusion(whole, parts)
    torch.testing.assert_close(fused.parts, comb3)
    torch.testing.assert_close(fused.whole, torch.maximum(comb3, fusion.whole(whole)))


def test_the_last_block_of_the_author_s_figure_by_its_definition():
    torch.manual_seed(0)
    whole, parts = torch.randn(2, 8, 7, 7), torch.randn(2, 4, 8, 7, 7)
    for residual in (False, True):
        fusion, text = (RDAFusion(8, 4, residual=residual, last_rab=last) for last in (True, False))
        text.load_state_dict(fusion.state_dict(), strict=False)
        fused = fusion(whole, parts)
        torch.testing.assert_close(fused.parts, text(whole, parts).parts)  # comb_3 is the same
        last = RAB(8, 4, "none", residual=residual)
        last.a.load_state_dict(fusion.last.state_dict())
        last.b.load_state_dict(fusion.whole.state_dict())
        torch.testing.assert_close(fused.whole, last(fused.parts, whole))
        torch.testing.assert_close(fused.met, last.a(fused.parts))
        torch.testing.assert_close(fusion.contest(whole, parts).feature[0], fused.whole)
        for parameter in fusion.last.parameters():
            torch.nn.init.zeros_(parameter)
        if residual:  # a transform that adds nothing: the text's reading
            torch.testing.assert_close(fusion(whole, parts).whole, text(whole, parts).whole)


def test_rda_has_14_convolutions_of_2_million_parameters():
    with torch.device("meta"):
        fusion = RDAFusion(256, 4)
    convs = [m for m in fusion.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convs) == 14
    # 7 transforms of 9*256*64 + 64 + 9*64*256 + 256 = 295,232
    assert count(fusion) == 7 * 295_232


@pytest.mark.parametrize("rectified", [False, True])
def test_concat_by_its_definition(rectified):
    torch.manual_seed(0)
    fusion = ConcatFusion(8, 4, rectified=rectified)
    whole, parts = torch.randn(2, 8, 7, 7), torch.randn(2, 4, 8, 7, 7)
    assert fusion.state_dict().keys() == ConcatFusion(8, 4, rectified=not rectified).state_dict().keys()
    comb3 = torch.cat([reduce(parts[:, i]) for i, reduce in enumerate(fusion.reduce)], dim=1)
    fused = fusion(whole, parts)
    torch.testing.assert_close(fused.parts, comb3)
    assert bool((fused.parts < 0).any()) is not rectified
    torch.testing.assert_close(fused.whole, torch.maximum(comb3, whole))


def test_stage_without_parts():
    whole = torch.randn(2, 8, 7, 7)
    transform = WholeTransform(8)
    assert transform(whole, None).parts is None
    torch.testing.assert_close(transform(whole, None).whole, transform.whole(whole))
    assert NoFusion()(whole, None).whole is whole
    with pytest.raises(ValueError, match="expected part features"):
        RDAFusion(8, 4)(whole, None)


def test_initial_scale_is_within_a_factor_of_two_of_the_roi_feature():
    torch.manual_seed(0)
    fusion = RDAFusion(256, 4)
    whole, parts = torch.randn(16, 256, 7, 7), torch.randn(16, 4, 256, 7, 7)
    with torch.no_grad():
        ratio = fusion(whole, parts).whole.square().mean().sqrt() / whole.square().mean().sqrt()
    assert 0.5 < ratio < 2


def test_residual_transforms_that_output_zero_pass_their_input_on():
    fusion = RDAFusion(8, 4, residual=True)
    for parameter in fusion.parameters():
        torch.nn.init.zeros_(parameter)
    whole, parts = torch.randn(2, 8, 7, 7), torch.randn(2, 4, 8, 7, 7)
    fused = fusion(whole, parts)
    torch.testing.assert_close(fused.parts, parts.amax(dim=1))
    torch.testing.assert_close(fused.whole, torch.maximum(fused.parts, whole))
    stage = WholeTransform(8, residual=True)
    for parameter in stage.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(stage(whole, None).whole, whole)


def test_residual_adds_the_input_to_the_transform():
    torch.manual_seed(0)
    plain, residual = WholeTransform(8), WholeTransform(8, residual=True)
    residual.load_state_dict(plain.state_dict())
    whole = torch.randn(2, 8, 7, 7)
    torch.testing.assert_close(residual(whole, None).whole, plain(whole, None).whole + whole)
