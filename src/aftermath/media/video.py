"""Video files, read and written through PyAV: one import for both directions.

Reading is in `aftermath.media.decode`, writing in `aftermath.media.encode`, pixel formats in
`aftermath.media.planes`.
"""

from aftermath.media.decode import SourceFrame, VideoInfo, probe, read_clip, read_frames
from aftermath.media.encode import Codec, VideoWriter, check_target, write_rgb_video

__all__ = [
    "Codec",
    "SourceFrame",
    "VideoInfo",
    "VideoWriter",
    "check_target",
    "probe",
    "read_clip",
    "read_frames",
    "write_rgb_video",
]
