"""Tiny models with random weights of the real classes, written as the hub keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    BertTokenizer,
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessor,
    GroundingDinoProcessor,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam2VideoProcessor,
    Sam3VideoConfig,
    Sam3VideoModel,
    Sam3VideoProcessor,
)
from transformers.models.sam2.image_processing_sam2 import Sam2ImageProcessor
from transformers.models.sam2_video.video_processing_sam2_video import Sam2VideoVideoProcessor
from transformers.models.sam3.image_processing_sam3 import Sam3ImageProcessor

SIDE = 128  # of the picture that SAM 2 sees
SIDE_3 = 112  # and SAM 3: its patches are of 14 pixels
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "a", "man", "in", "red", "bike", "cat", "dog")
_WIDTH = 128  # the least at which object pointers can be split into memories of 64
_DECODER = {"hidden_size": _WIDTH, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
_MEMORY: dict[str, Any] = {
    "memory_attention_hidden_size": _WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 32,
    "memory_encoder_hidden_size": _WIDTH,
    "memory_encoder_output_channels": 64,  # the attention over memories knows no other width
    "mask_downsampler_embed_dim": _WIDTH,
    "memory_fuser_num_layers": 1,
    "memory_fuser_embed_dim": _WIDTH,
    "memory_fuser_intermediate_dim": 32,
}


def save_sam2(folder: Path, **config: Any) -> Path:
    """SAM 2 of width 8: the whole of it in a tenth of a second a frame."""
    torch.manual_seed(0)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [SIDE, SIDE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 2, 4, 8],
        "window_size_per_stage": [4, 4, 4, 4],
        "window_positional_embedding_background_size": [4, 4],
        "global_attention_blocks": [3],  # one at a stage's beginning would divide by zero
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[SIDE // n, SIDE // n] for n in (4, 8, 16)],
        "fpn_hidden_size": _WIDTH,
    }
    model = Sam2VideoModel(
        Sam2VideoConfig(
            vision_config=vision,
            prompt_encoder_config={"hidden_size": _WIDTH, "image_size": SIDE, "mask_input_channels": 4},
            mask_decoder_config=_DECODER,
            image_size=SIDE,
            memory_attention_rope_feat_sizes=[SIDE // 16, SIDE // 16],
            **_MEMORY | config,
        )
    )
    _sees(model)
    model.save_pretrained(folder)
    size = {"height": SIDE, "width": SIDE}
    Sam2VideoProcessor(Sam2ImageProcessor(size=size), Sam2VideoVideoProcessor(size=size)).save_pretrained(
        folder
    )
    return folder


def save_sam3(folder: Path) -> Path:
    """SAM 3 as the hub keeps it: detector and tracker in one file, from which each takes its own."""
    torch.manual_seed(0)
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": SIDE_3,
        "window_size": 4,
        "global_attn_indexes": [1],
        "pretrain_image_size": SIDE_3,
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": _WIDTH,
        "backbone_feature_sizes": [[SIDE_3 // 14 * n] * 2 for n in (4, 2, 1)],
    }
    small = {"hidden_size": _WIDTH, "num_attention_heads": 2}
    layers = small | {"num_layers": 1, "intermediate_size": 32}
    words = {
        "model_type": "clip_text_model",
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 16,
        "projection_dim": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    detector = {
        "model_type": "sam3",
        "vision_config": vision,
        "text_config": words,
        "geometry_encoder_config": layers,
        "detr_encoder_config": layers,
        "detr_decoder_config": layers | {"num_queries": 6},
        "mask_decoder_config": small,
    }
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": vision,
        "prompt_encoder_config": {"hidden_size": _WIDTH, "mask_input_channels": 4},
        "mask_decoder_config": _DECODER,
        "image_size": SIDE_3,
        **_MEMORY,
    }
    model = Sam3VideoModel(Sam3VideoConfig(detector_config=detector, tracker_config=tracker))
    _sees(model.tracker_model)
    model.save_pretrained(folder)
    size = {"height": SIDE_3, "width": SIDE_3}
    image = Sam3ImageProcessor(size=size)
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{c}</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {word: at for at, word in enumerate(["<|startoftext|>", "<|endoftext|>", *letters])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    Sam3VideoProcessor(image, Sam2VideoVideoProcessor(size=size), tokenizer).save_pretrained(folder)
    return folder


def save_dino(folder: Path) -> Path:
    """Grounding DINO over two levels of a tiny Swin, with a dozen words."""
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: at for at, word in enumerate(WORDS)}
    text = {
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    backbone = {
        "model_type": "swin",
        "image_size": 64,
        "embed_dim": 8,
        "depths": [1, 1, 1],
        "num_heads": [1, 1, 1],
        "window_size": 4,
        "out_features": ["stage2", "stage3"],
    }
    config = GroundingDinoConfig(
        backbone_config=backbone,
        text_config=text,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,  # the boxes' layers are tied to the first one's, so there must be another
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_queries=8,
        num_feature_levels=2,
        encoder_n_points=2,
        decoder_n_points=2,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    image = GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    GroundingDinoProcessor(image, BertTokenizer(vocab=vocabulary)).save_pretrained(folder)
    return folder


def _sees(model: nn.Module) -> None:
    """Let a tracker of random weights always find its object in view, and answer in more than two ways."""
    decoder: Any = model.mask_decoder
    nn.init.constant_(decoder.pred_obj_score_head.proj_out.bias, 10.0)
    for name, value in model.named_parameters():
        if "position" in name or "embed" in name or "pointer" in name:
            nn.init.normal_(value, std=0.5)
