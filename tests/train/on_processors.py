"""The command line where accelerate takes processors for cards: ``torchrun on_processors.py train ...``.

accelerate divides weights among cards alone. What it then calls, PyTorch's FSDP, runs on processors too, over gloo; so
only its look at the hardware is answered for it, and everything after that is what runs on cards.
"""

from __future__ import annotations

import sys

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from aftermath.cli import main


def _on_cpu(state: PartialState) -> None:
    state.device = torch.device("cpu")


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = _on_cpu
    main(sys.argv[1:])
