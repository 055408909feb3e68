import numpy as np

from aftermath.scene.align import residual_flow
from scenes import ground


def test_what_stands_in_the_way_does_not_bend_its_surroundings():
    """A dark thing, its mask drawn two pixels too tight, before a ground that lies two pixels aside."""
    image = ground((260, 180)).clip(0, 255).astype(np.uint8)
    target = np.roll(image, -2, axis=1)
    rows, cols = slice(0, 110), slice(90, 160)
    target[rows, cols] = target[rows, cols] // 8
    tight = np.zeros(image.shape[:2], bool)
    tight[0:108, 92:158] = True
    flow = residual_flow(target, image, tight)
    assert np.abs(flow[20:160, 20:240] - (2, 0)).max() < 1
