from dataclasses import replace

import numpy as np
import pytest

from aftermath.config import Regions
from aftermath.core import Action, AffectedObject, Grid, Plan
from aftermath.reason.base import Reasoning
from aftermath.reason.regions import build_quadmask
from scenes import collision, passing, standing, stopped, stopped_truth


def test_frame_zero_has_nothing_affected_and_light_goes_with_the_object():
    removal = collision()
    quadmask = removal.quadmask()
    assert not quadmask.affected[0].any() and quadmask.affected[1:].any()
    light = removal.reasoning.masks["light"][0]
    assert light.any() and quadmask.primary[0][light].all()


def test_a_thing_that_stays_is_marked_where_it_went_and_where_it_should_be():
    removal = collision()
    quadmask, first = removal.quadmask(), removal.reasoning.plan.applied[1].frames[0]
    target = removal.drawn.mask("target")
    for t in (first + 2, 25, 31):
        assert quadmask.changed[t][target[t]].mean() > 0.97
        assert quadmask.changed[t][target[0]].mean() > 0.97
    untouched = target[5] & ~removal.reasoning.masks["light"][5]
    assert not quadmask.changed[5][untouched].any()  # nobody has touched it yet


def test_a_thing_that_goes_on_is_marked_along_its_way():
    quadmask, way = stopped().quadmask(), stopped_truth().mask("ball")
    for t in (23, 27, 31):
        assert quadmask.affected[t][way[t]].mean() > 0.9


@pytest.mark.parametrize("make", [collision, passing])
def test_the_whole_object_is_primary(make):
    removal = make()
    quadmask = removal.quadmask()
    assert quadmask.primary[removal.primary].all()


def test_a_speck_that_a_mask_missed_changes_too():
    """A light spot on a ball may look just like the floor behind; but what a wide ring encloses is not the ring's."""
    removal = collision()
    size = removal.drawn.size
    y, x = np.mgrid[: size[1], : size[0]]
    away = np.hypot(x - 60, y - 60)
    # a mask grows by three pixels: more than that is left of the spot
    ring, spot = (away > 20) & (away < 40), np.hypot(x - 60, y - 30) < 5
    mask = np.repeat((ring & ~spot)[None], removal.drawn.num, axis=0)
    bed = AffectedObject("bed", "bed", Action.STAYS, "", 1.0, (1, removal.drawn.num), in_place=True)
    plan = Plan(*size, removal.drawn.num, affected=(bed,))
    nothing = np.zeros_like(removal.primary)
    quadmask = build_quadmask(removal.drawn.clip, removal.scene, nothing, Reasoning(plan, {"bed": mask}))
    assert quadmask.affected[5][spot].all()
    assert not quadmask.changed[5][away < 15].any() and not quadmask.changed[5][away > 45].any()


def test_grid_regions_are_whole_cells_round_the_exact_ones():
    removal = collision()
    exact, grid = removal.quadmask(), removal.quadmask(Regions.GRID)
    cells = Grid(*removal.drawn.size)
    for a, b in zip(exact.affected, grid.affected, strict=True):
        assert np.array_equal(b, cells.snap(a))
    assert np.array_equal(exact.primary, grid.primary)
    assert not grid.affected[0].any()


def test_what_is_only_offered_is_not_drawn():
    removal = standing()
    clip, scene, primary = removal.drawn.clip, removal.scene, removal.primary
    plan = removal.reasoning.plan
    assert plan.offered
    without = Reasoning(plan.with_affected(plan.applied), removal.reasoning.masks)
    assert np.array_equal(removal.quadmask().values, build_quadmask(clip, scene, primary, without).values)
    taken = plan.with_affected(tuple(replace(thing, applied=True) for thing in plan.affected))
    drawn = build_quadmask(clip, scene, primary, Reasoning(taken, removal.reasoning.masks))
    assert drawn.changed.sum() > removal.quadmask().changed.sum()


def test_an_empty_plan_leaves_the_object_alone():
    removal = collision()
    empty = Reasoning(Plan(*removal.drawn.size, removal.drawn.num), {})
    quadmask = build_quadmask(removal.drawn.clip, removal.scene, removal.primary, empty)
    assert not quadmask.affected.any() and quadmask.primary[removal.primary].all()


def test_a_finding_without_a_mask_is_passed_over():
    removal = collision()
    bare = Reasoning(removal.reasoning.plan, {})
    assert not build_quadmask(removal.drawn.clip, removal.scene, removal.primary, bare).affected.any()


def test_drawing_is_pure():
    removal = stopped()
    masks = {name: mask.copy() for name, mask in removal.reasoning.masks.items()}
    primary, labels = removal.primary.copy(), removal.scene.labels.copy()
    assert np.array_equal(removal.quadmask().values, removal.quadmask().values)
    assert np.array_equal(primary, removal.primary) and np.array_equal(labels, removal.scene.labels)
    assert all(np.array_equal(masks[name], mask) for name, mask in removal.reasoning.masks.items())
