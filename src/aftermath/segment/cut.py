"""Splitting a picture into object and background along its edges, from evidence at every pixel."""

from __future__ import annotations

import cv2
import numpy as np

__all__ = ["cut", "edge_cost", "grab_cut"]

_SMOOTHNESS = 2.5  # what a border along a flat place costs, in units of evidence
_FLOOR = 0.12  # what remains of it along the strongest edge
_STEP = 8**-0.5  # |gradient|^2 <= 8, so both step lengths may be this long


def edge_cost(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a border between neighbours costs: low where colours change (Boykov & Jolly, ICCV 2001).

    ``image``: uint8 (H, W, 3) RGB. Returns two float32 (H, W): towards the right and the lower neighbour;
    zero in the last column and row, where there is none.
    """
    colour = image.astype(np.float32)
    right, down = np.zeros(image.shape[:2], np.float32), np.zeros(image.shape[:2], np.float32)
    for channel in cv2.split(colour):
        right[:, :-1] += np.square(channel[:, 1:] - channel[:, :-1])
        down[:-1] += np.square(channel[1:] - channel[:-1])
    scale = 2 * (right.sum() + down.sum()) / max(1, 2 * right.size) + 1e-3
    costs = []
    for contrast in (right, down):
        costs.append(_SMOOTHNESS * (_FLOOR + (1 - _FLOOR) * np.exp(-contrast / scale)))
    costs[0][:, -1], costs[1][-1] = 0, 0
    return costs[0], costs[1]


def cut(
    evidence: np.ndarray, cost: tuple[np.ndarray, np.ndarray], start: np.ndarray, steps: int = 90
) -> np.ndarray:
    """The cheapest split: minimise sum(-evidence over the object) + sum(cost along its border).

    The binary problem is solved as its convex relaxation (Chan, Esedoglu & Nikolova 2006: a threshold of the
    relaxed minimum is a minimum of the binary problem), by the primal-dual steps of Chambolle & Pock 2011;
    unlike cv2.grabCut it takes any evidence, not colour alone.

    ``evidence``: float32 (H, W), positive where the pixel is the object's. ``cost``: from `edge_cost`.
    ``start``: bool (H, W), a guess. Returns bool (H, W).
    """
    share = start.astype(np.float32)
    ahead = share.copy()
    right, down = np.zeros_like(share), np.zeros_like(share)
    gain = _STEP * evidence
    limits = [(way, -most, most) for way, most in zip((right, down), cost, strict=True)]
    for _ in range(steps):
        right[:, :-1] += _STEP * (ahead[:, 1:] - ahead[:, :-1])
        down[:-1] += _STEP * (ahead[1:] - ahead[:-1])
        for way, least, most in limits:  # numpy's clip takes three times as long
            cv2.min(cv2.max(way, least, dst=way), most, dst=way)
        flow = right + down
        flow[:, 1:] -= right[:, :-1]
        flow[1:] -= down[:-1]
        flow *= _STEP
        flow += share
        flow += gain
        before, share = share, np.minimum(np.maximum(flow, 0, out=flow), 1, out=flow)
        ahead = 2 * share - before
    return share > 0.5


def grab_cut(image: np.ndarray, labels: np.ndarray, rounds: int = 5) -> np.ndarray:
    """GrabCut (Rother et al., SIGGRAPH 2004) from a guess.

    ``image``: uint8 (H, W, 3) RGB; ``labels``: uint8 (H, W) of cv2's GC_BGD, GC_FGD, GC_PR_BGD, GC_PR_FGD.
    Returns bool (H, W); the guess itself where it holds no background or no object to learn colours from.
    """
    labels = labels.copy()
    objects = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    fewest = 6  # a mixture of five colours needs more samples than that
    if objects.sum() < fewest or (~objects).sum() < fewest:
        return objects
    cv2.setRNGSeed(0)  # its k-means draws from OpenCV's global generator
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(lab, labels, (0, 0, 1, 1), *models, rounds, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
