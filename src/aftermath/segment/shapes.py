"""Masks as shapes: grown, without pinholes, without crumbs; and the edges that they may follow."""

from __future__ import annotations

import cv2
import numpy as np

from aftermath.segment.memory import largest

__all__ = ["edge_strength", "filled", "grown", "main_parts"]


def edge_strength(lab: np.ndarray) -> np.ndarray:
    """Morphological gradient over all channels of ``lab``, uint8 (H, W, 3): float32 (H, W)."""
    gradient = cv2.morphologyEx(lab, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return largest(gradient).astype(np.float32)


def filled(mask: np.ndarray, share: float) -> np.ndarray:
    """Fill the holes of ``mask``, bool (H, W), that are smaller than ``share`` of it."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=4)
    if count <= 1:
        return mask
    small = stats[:, cv2.CC_STAT_AREA] < share * mask.sum()
    small[0] = False
    height, width = mask.shape
    right = stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH]
    bottom = stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT]
    outside = (stats[:, cv2.CC_STAT_LEFT] == 0) | (stats[:, cv2.CC_STAT_TOP] == 0)
    small &= ~(outside | (right == width) | (bottom == height))
    return mask | small[labels]


def grown(mask: np.ndarray, radius_px: int) -> np.ndarray:
    """``mask``, bool (H, W), and all within ``radius_px`` of it."""
    size = 2 * radius_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0


def main_parts(found: np.ndarray, sure: np.ndarray) -> np.ndarray:
    """The parts of ``found`` that matter: near the largest one's size, or marked as sure."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
    if count <= 1:
        return found
    areas = stats[:, cv2.CC_STAT_AREA]
    keep = areas >= 0.08 * areas[1:].max()
    keep |= np.bincount(labels[sure], minlength=count) > 0
    keep[0] = False
    return keep[labels]
