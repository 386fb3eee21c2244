# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are taken as SAM 2 weights, as what, and what is said of the others."""

from __future__ import annotations

import pickle
import sys
import types

import pytest
import safetensors.torch
import torch
from hydra.core.global_hydra import GlobalHydra

from geo_sam2.engine.device import choose_device
from geo_sam2.engine.sam2_model import known_architectures, load_model
from geo_sam2.errors import CheckpointError
from tests.engine import upstream

CPU = choose_device("cpu")


@pytest.fixture(scope="module")
def weights(random_checkpoint):
    """Return the state dict of a random tiny model."""
    return torch.load(random_checkpoint("tiny"), weights_only=True)["model"]


def refused(path, content=None) -> CheckpointError:
    """Save what is given, load it and return the refusal."""
    if content is not None:
        torch.save(content, path)
    with pytest.raises(CheckpointError) as caught:
        load_model(path, CPU)
    assert caught.value.text.endswith(".")
    return caught.value


@pytest.mark.parametrize("architecture", ["tiny", "small", "base_plus", "large"])
def test_trunk_of_each_official_config_is_known(architecture):
    trunk = upstream.build(architecture).image_encoder.trunk
    dims = [block.dim_out for block in trunk.blocks]
    known = {item.name: item for item in known_architectures()}[architecture]
    assert known.embed_dim == dims[0]
    assert known.stages == tuple(dims.count(dim) for dim in sorted(set(dims)))
    assert known.config.is_file()
    assert known.config_sam2_0.is_file()


def test_official_layout_is_recognised(random_checkpoint):
    info = load_model(random_checkpoint("tiny"), CPU).info
    assert info.architecture == "tiny"
    assert info.config == "sam2.1_hiera_t.yaml"
    assert info.id.startswith("tiny-")  # random weights are no official file
    assert info.feature_shapes.image_embed == (256, 64, 64)
    assert info.feature_shapes.high_res_feats_0 == (32, 256, 256)
    assert info.feature_shapes.high_res_feats_1 == (64, 128, 128)
    assert (info.decoder.stability_delta, info.decoder.stability_thresh) == (0.05, 0.98)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "module._orig_mod.sam2."])
@pytest.mark.parametrize("container", [None, "model", "state_dict", "model_state_dict"])
def test_trainers_layouts_are_recognised(tmp_path, weights, prefix, container):
    content = {prefix + name: tensor for name, tensor in weights.items()}
    content[prefix + "loss.weight"] = torch.zeros(3)
    if container:
        content = {container: content, "epoch": 7, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "tuned.pth")
    assert load_model(tmp_path / "tuned.pth", CPU).info.architecture == "tiny"


def test_sam2_0_takes_its_own_config(tmp_path, weights):
    older = {name: tensor for name, tensor in weights.items() if not name.startswith("obj_ptr_tpos_proj")}
    torch.save({"model": older}, tmp_path / "sam2_hiera_tiny.pt")
    assert load_model(tmp_path / "sam2_hiera_tiny.pt", CPU).info.config == "sam2_hiera_t.yaml"


def test_safetensors_of_half_precision_are_read(tmp_path, weights):
    path = tmp_path / "tuned.safetensors"
    safetensors.torch.save_file({name: tensor.half().contiguous() for name, tensor in weights.items()}, path)
    model = load_model(path, CPU)
    assert model.module.no_mem_embed.dtype == torch.float32


def test_memory_modules_may_be_missing(tmp_path, weights):
    video = ("memory_", "maskmem_", "obj_ptr_", "no_obj_", "no_mem_pos_enc", "mask_downsample")
    image_only = {name: tensor for name, tensor in weights.items() if not name.startswith(video)}
    assert len(image_only) < len(weights)
    torch.save({"model": image_only}, tmp_path / "image_only.pt")
    load_model(tmp_path / "image_only.pt", CPU)


@pytest.mark.parametrize("name", ["no_mem_embed", "sam_mask_decoder.iou_token.weight"])
def test_missing_image_weights_are_named(tmp_path, weights, name):
    content = {key: tensor for key, tensor in weights.items() if key != name}
    assert name in refused(tmp_path / "holes.pt", {"model": content}).text


def test_other_shape_is_named(tmp_path, weights):
    name = "sam_mask_decoder.iou_token.weight"
    text = refused(tmp_path / "wide.pt", {"model": {**weights, name: torch.zeros(1, 128)}}).text
    assert f"{name} is 1×128 where SAM 2 tiny has 1×256" in text


def test_other_trunk_is_described(tmp_path, weights):
    content = {name: tensor for name, tensor in weights.items() if ".blocks.11." not in name}
    assert "96 channels and 1+2+7+1 blocks" in refused(tmp_path / "short.pt", {"model": content}).text


def test_weights_that_are_not_numbers_are_refused(tmp_path, weights):
    name = "image_encoder.trunk.pos_embed"
    content = {**weights, name: torch.full_like(weights[name], float("nan"))}
    assert name in refused(tmp_path / "nan.pt", {"model": content}).text


def test_weights_of_another_kind_are_refused(tmp_path):
    content = {"model": {"backbone.conv.weight": torch.zeros(3)}}
    assert "no SAM 2 image encoder" in refused(tmp_path / "resnet.pt", content).text


def test_missing_file_is_said(tmp_path):
    assert "There is no file" in refused(tmp_path / "nothing.pt").text


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_file_is_said(tmp_path, random_checkpoint, share):
    content = random_checkpoint("tiny").read_bytes()
    path = tmp_path / "part.pt"
    path.write_bytes(content[: int(len(content) * share)])
    text = refused(path).text
    assert ("cut short" in text) == (share > 0)


@pytest.mark.parametrize("content", [b"GIF89a" * 100, b"<html>404</html>", bytes(1000), b"\x80\x04K\x01."])
@pytest.mark.parametrize("name", ["x.pt", "x.safetensors"])
def test_file_of_something_else_is_said(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    refused(path)


def test_truncated_safetensors_are_said(tmp_path, weights):
    path = tmp_path / "part.safetensors"
    safetensors.torch.save_file({"no_mem_embed": weights["no_mem_embed"]}, path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "not a whole safetensors file" in refused(path).text


class Payload:
    """Runs code when it is unpickled."""

    def __init__(self, touched):
        self.touched = touched

    def __reduce__(self):
        return exec, (f"open({str(self.touched)!r}, 'w').close()",)


def test_code_in_a_file_of_weights_is_not_run(tmp_path, weights):
    touched = tmp_path / "touched"
    content = {"model": {"no_mem_embed": weights["no_mem_embed"]}, "extra": Payload(touched)}
    text = refused(tmp_path / "evil.pt", content).text
    assert not touched.exists()
    assert "exec" in text


def test_code_in_a_bare_pickle_is_not_run(tmp_path):
    touched = tmp_path / "touched"
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"extra": Payload(touched)}))
    refused(tmp_path / "evil.pt")
    assert not touched.exists()


def test_ultralytics_file_is_called_by_its_name(tmp_path):
    module = types.ModuleType("ultralytics.nn.tasks")
    module.SAMModel = type("SAMModel", (), {"__module__": "ultralytics.nn.tasks"})
    names = {"ultralytics": types.ModuleType("ultralytics"), "ultralytics.nn": types.ModuleType("nn")}
    sys.modules.update({**names, "ultralytics.nn.tasks": module})
    try:
        torch.save({"model": module.SAMModel()}, tmp_path / "sam2_t.pt")
    finally:
        for name in (*names, "ultralytics.nn.tasks"):
            del sys.modules[name]
    error = refused(tmp_path / "sam2_t.pt")
    assert "Ultralytics" in error.text
    assert "sam2.1_hiera_tiny.pt" in error.hint


def test_hydras_global_state_is_left_alone(random_checkpoint):
    before = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        load_model(random_checkpoint("tiny"), CPU)
        assert not GlobalHydra.instance().is_initialized()
    finally:
        GlobalHydra.instance().hydra = before
