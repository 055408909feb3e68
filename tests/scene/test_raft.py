"""RAFT with random weights: files are found, told apart and refused, and pictures reach the model unharmed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra void is not installed")
optical_flow = pytest.importorskip("torchvision.models.optical_flow")

from aftermath.errors import WeightsError  # noqa: E402
from aftermath.scene.optical_flow import dis_flow  # noqa: E402
from aftermath.scene.raft import best_flow, find_raft, load_raft  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision would keep what it downloads: an empty folder."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def small(path: Path):
    model = optical_flow.raft_small().eval()
    torch.save(model.state_dict(), path)
    return model


def test_flow_is_the_model_s_own_in_pixels(tmp_path):
    """At a size the model cannot take: the border is repeated, and cut off again."""
    model = small(tmp_path / "raft.pth")
    a, b = np.random.default_rng(0).integers(0, 256, (2, 122, 133, 3), np.uint8)
    flow = load_raft(tmp_path / "raft.pth")(a, b)
    assert flow.shape == (122, 133, 2) and flow.dtype == np.float32
    tensors = [
        torch.from_numpy(np.pad(image, ((0, 6), (0, 3), (0, 0)), "edge")).permute(2, 0, 1)[None] / 127.5 - 1
        for image in (a, b)
    ]
    with torch.no_grad():
        expected = model(*tensors)[-1][0, :, :122, :133].permute(1, 2, 0).numpy()
    assert np.abs(flow - expected).max() < 1e-4 < np.abs(expected).max()


def test_tiny_pictures_have_a_flow_and_sizes_must_agree(tmp_path):
    small(tmp_path / "raft.pth")
    flow = load_raft(tmp_path / "raft.pth")
    picture = np.zeros((9, 20, 3), np.uint8)
    assert flow(picture, picture).shape == (9, 20, 2)
    with pytest.raises(ValueError, match="sizes"):
        flow(picture, picture[:8])


def test_weights_are_found_and_nothing_is_downloaded(hub):
    assert find_raft() is None and best_flow() == (dis_flow, "dis")
    small(hub / "raft_small_C_T_V2-01064c6d.pth")
    assert find_raft() == hub / "raft_small_C_T_V2-01064c6d.pth"
    assert best_flow()[0] is not dis_flow and best_flow()[1] == "raft_small_C_T_V2"
    (hub / "raft_large_C_T_V2-1bb1363a.pth").touch()
    assert find_raft() == hub / "raft_large_C_T_V2-1bb1363a.pth"
    told: list[str] = []  # a file that is damaged costs a warning, not a pass that was painted
    assert best_flow("cpu", told.append) == (dis_flow, "dis")
    assert len(told) == 1 and "raft_large" in told[0]


def test_what_is_no_raft_is_refused(tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(Path, tmp_path / "code.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:200])
    (tmp_path / "empty.pth").touch()
    for name in ("other", "list", "code", "half", "empty", "missing"):
        with pytest.raises(WeightsError, match=f"{name}.pth"):
            load_raft(tmp_path / f"{name}.pth")
