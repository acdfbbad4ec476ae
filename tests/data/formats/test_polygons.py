"""One ring for a mask: nothing of it is lost, and polygons that do not overlap keep their corners."""

import numpy as np
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.polygons import join, one_ring
from dprd_cli.ops.outlines import edge_outlines


def filled(ring, shape):
    """Fill a ring as COCO's own tools do."""
    return rle_masks.decode(rle_masks.frPyObjects([ring.ravel().tolist()], *shape))[:, :, 0].astype(bool)


def test_a_mask_comes_back_from_its_one_ring():
    rng = np.random.default_rng(0)
    for number in range(120):
        height, width = rng.integers(1, 30, size=2)
        mask = rng.random((height, width)) < rng.random()  # pieces, holes, corners that touch
        if number % 2:
            mask = mask.repeat(3, axis=0).repeat(2, axis=1)
        if mask.any():
            np.testing.assert_array_equal(filled(join(edge_outlines(mask)), mask.shape), mask)


def test_polygons_keep_their_corners_unless_they_overlap():
    one, two, over = [1, 1, 9, 1, 9, 9], [20, 1, 29, 1, 29, 9], [5, 1, 14, 1, 14, 9]
    assert one_ring([one], (48, 64))[0].ravel().tolist() == one
    ring, pieces = one_ring([one, two], (48, 64))
    assert (len(ring), pieces) == (3 + 3 + 2, 2)  # both, and the bridge's ends again
    ring, pieces = one_ring([one, over], (48, 64))
    both = rle_masks.decode(rle_masks.merge(rle_masks.frPyObjects([one, over], 48, 64))).astype(bool)
    np.testing.assert_array_equal(filled(ring, (48, 64)), both)  # even-odd would leave out what both cover
    assert one_ring(None, (48, 64)) == (None, 0)
