"""The reference's own script for one sample, with its result kept as numbers: run by `real_weights.py`.

``REFERENCE_PYTHON real_weights_reference.py RESULT.pt SEED PASS ARGUMENTS``, in the checkout of the reference;
ARGUMENTS are those of its script for that pass, which runs unchanged. Its film is lossy and part of its noise unseeded.
So, from outside, what it read and what it painted are kept as numbers, and what it draws is drawn on the processor
from SEED, that another implementation may begin with the same.
"""

from __future__ import annotations

import importlib
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import torch

SCRIPTS = {
    "1": "inference/cogvideox_fun/predict_v2v.py",
    "2": "inference/cogvideox_fun/inference_with_pass1_warped_noise.py",
}


def normal(shape: Any, seed: int) -> torch.Tensor:
    """Standard normal, the same on every machine."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed))


def listen(seed: int) -> dict[str, Any]:
    """Put ears into the reference's modules; the result fills while its script runs."""
    files: Any = importlib.import_module("videox_fun.utils.utils")
    painting: Any = importlib.import_module("videox_fun.pipeline.pipeline_cogvideox_fun_inpaint")
    kept: dict[str, Any] = {}
    read, kind = files.get_video_mask_input, painting.CogVideoXFunInpaintPipeline
    paint = kind.__call__

    def get_video_mask_input(*args: Any, **more: Any) -> Any:
        found = read(*args, **more)
        kept["video"], kept["mask"] = found[0].clone(), found[1].clone()
        return found

    def call(self: Any, *args: Any, **more: Any) -> Any:
        start = time.perf_counter()
        found = paint(self, *args, **more)
        kept["seconds"] = time.perf_counter() - start
        kept["frames"] = getattr(found, "videos", found).float().cpu()
        return found

    def add_noise_to_reference_video(image: torch.Tensor, ratio: float) -> torch.Tensor:
        noise = ratio * normal(image.shape, seed + 1).to(image)
        return image + torch.where(image == -1, torch.zeros_like(image), noise)

    def randn_tensor(
        shape: Any, generator: Any = None, device: Any = None, dtype: Any = None
    ) -> torch.Tensor:
        return normal(shape, seed).to(device, dtype)

    files.get_video_mask_input, kind.__call__ = get_video_mask_input, call
    files.save_videos_grid = files.save_inout_row = lambda *_, **__: None
    painting.add_noise_to_reference_video, painting.randn_tensor = add_noise_to_reference_video, randn_tensor
    return kept


def main() -> None:
    """Run the script and keep what came."""
    target, seed, number, *arguments = sys.argv[1:]
    sys.path.insert(0, str(Path.cwd()))
    kept = listen(int(seed))
    sys.argv = [SCRIPTS[number], *arguments]
    try:
        runpy.run_path(SCRIPTS[number], run_name="__main__")
    except SystemExit as end:  # it ends so when all went well, too
        if end.code:
            raise
    if "frames" not in kept:  # the second script says what went wrong, and ends as if all went well
        sys.exit("the reference painted nothing")
    kept["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else 0.0
    torch.save(kept, target)


if __name__ == "__main__":
    main()
