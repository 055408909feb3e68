import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aftermath.core import Level, Quadmask, check_levels, grow_object, quantise
from aftermath.errors import InputError

LEVELS = (0, 63, 127, 255)
shapes = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
masks = shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))
values = hnp.arrays(np.uint8, shapes)


@given(masks)
def test_two_masks_come_back_as_they_went_in(pair):
    primary, affected = pair
    quadmask = Quadmask.from_masks(primary, affected)
    assert np.array_equal(quadmask.primary, primary) and np.array_equal(quadmask.affected, affected)
    assert np.array_equal(quadmask.changed, primary | affected)
    assert np.array_equal(quadmask.values == Level.OVERLAP, primary & affected)
    assert len(quadmask) == len(list(quadmask)) == len(primary)
    assert np.array_equal(Quadmask.from_masks(quadmask.primary, quadmask.affected).values, quadmask.values)


@given(values)
def test_any_value_goes_to_the_nearest_level(array):
    found = quantise(array)
    assert found.dtype == np.uint8 and found.shape == array.shape
    distance = np.abs(array[..., None].astype(int) - LEVELS)
    assert np.array_equal(np.abs(found.astype(int) - array), distance.min(axis=-1))
    assert np.array_equal(quantise(found), found)
    assert np.array_equal(Quadmask.from_lossy(array).values, found)


@given(hnp.arrays(np.uint8, shapes, elements=st.sampled_from(LEVELS)), st.integers(-24, 24))
def test_what_a_lossy_codec_does_is_undone(array, off):
    lossy = np.clip(array.astype(int) + off, 0, 255).astype(np.uint8)
    check_levels(lossy, "a mask")
    assert np.array_equal(quantise(lossy), array)


@given(values)
def test_only_the_four_levels_are_a_quadmask(array):
    if np.isin(array, LEVELS).all():
        assert np.array_equal(Quadmask(array).values, array)
    else:
        with pytest.raises(InputError, match="from_lossy"):
            Quadmask(array)


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4), np.int32), np.zeros((1, 4, 4), bool)]
)
def test_other_shapes_and_types_are_refused(bad):
    with pytest.raises(InputError, match="quadmask of shape"):
        Quadmask(bad)


@settings(max_examples=20)
@given(st.integers(25, 38) | st.integers(88, 102) | st.integers(152, 230))
def test_a_picture_off_the_levels_is_refused(value):
    picture = np.zeros((20, 20), np.uint8)
    picture[:5] = value
    with pytest.raises(InputError, match="25%"):
        check_levels(picture, "a mask")
    picture[:5] = 0
    picture[0, :8] = value  # ringing on 2 % of the pixels
    check_levels(picture, "a mask")


@given(st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_growing_the_object_keeps_what_is_affected(radius: int, seed: int) -> None:
    levels = np.random.default_rng(seed).choice(
        np.array([0, 63, 127, 255], np.uint8), (9, 13), p=(0.05, 0.05, 0.3, 0.6)
    )
    grown = grow_object(levels, radius)
    was, now = Quadmask(levels[None]), Quadmask(grown[None])
    away = cv2.distanceTransform(
        (levels > Level.OVERLAP).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    if was.primary.any():
        assert (now.primary[0] >= (away <= radius - 0.5)).all()
        assert not now.primary[0][away > radius + 0.5].any()
    assert np.array_equal(now.affected, was.affected)
