"""VOID (Netflix, arXiv 2604.02296): the video diffusion model, on diffusers' own parts. Needs the extra ``void``."""

from aftermath.render.void.checkpoint import load_pipeline
from aftermath.render.void.conditioning import MaskLevels
from aftermath.render.void.pipeline import VoidPipeline, VoidPipelineOutput

__all__ = ["MaskLevels", "VoidPipeline", "VoidPipelineOutput", "load_pipeline"]
