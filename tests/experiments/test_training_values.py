"""The papers' training values, written down from the papers, against the experiments at the papers' size.

Each value has the section or table that states it. What a paper leaves open is in `LEFT_OPEN`: there the experiment's
file has to say that the value is our choice.
"""

import functools
from typing import Any

import pytest

from fer_lightning.ensemble.experiment import read_ensemble
from fer_lightning.experiments.configuration import read_model
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import system_file
from fer_lightning.tables.table import read_table

SGD, ADAM = "torch.optim.SGD", "torch.optim.Adam"
PLATEAU = "torch.optim.lr_scheduler.ReduceLROnPlateau"
COSINE = "torch.optim.lr_scheduler.CosineAnnealingLR"
ANY = object()  # what the paper names without a number

ECNN = {  # Chen et al., 2023 (003)
    "model.optimizer.class_path": (SGD, "section 2.1"),
    "model.optimizer.lr": (1e-3, "section 2.1"),
    "model.optimizer.momentum": (0.9, "section 2.1"),
    "model.scheduler.class_path": (ANY, 'section 2.1, "decreases during the training process"'),
    "data.batch_size": (48, "section 2.1"),
    "data.size": (224, "section 2.1"),
}
ECNN_VIDEO = ECNN | {"data.sampler.frames": (5, "section 2.1, n")}
FORMER_DFER = {  # https://github.com/zengqunzhao/Former-DFER
    "model.optimizer.class_path": (SGD, "main_DFEW.py"),
    "model.optimizer.lr": (1e-2, "main_DFEW.py"),
    "model.optimizer.momentum": (0.9, "main_DFEW.py"),
    "model.optimizer.weight_decay": (1e-4, "main_DFEW.py"),
    "model.scheduler.class_path": ("torch.optim.lr_scheduler.StepLR", "main_DFEW.py"),
    "model.scheduler.step_size": (40, "main_DFEW.py"),
    "model.scheduler.gamma": (0.1, "main_DFEW.py"),
    "model.backbone.name": ("resnet18", "models/S_Former.py"),
    "model.backbone.weights": ("random", "main_DFEW.py"),
    "model.backbone.pixels": ("unit", "dataloader/video_transform.py, division by 255 alone"),
    "model.backbone.depth": (1, "models/S_Former.py"),
    "model.backbone.heads": (8, "models/S_Former.py"),
    "model.backbone.hidden": (512, "models/S_Former.py"),
    "model.depth": (3, "models/T_Former.py"),
    "model.heads": (8, "models/T_Former.py"),
    "model.hidden": (1024, "models/T_Former.py"),
    "data.sampler.frames": (16, "dataloader/dataset_DFEW.py, eight segments of two frames"),
    "data.sampler.successive": (2, "dataloader/dataset_DFEW.py"),
    "data.batch_size": (32, "main_DFEW.py"),
    "data.size": (112, "dataloader/dataset_DFEW.py"),
    "data.augmentation.area": (0.08, "dataloader/video_transform.py"),
    "data.augmentation.flip": (True, "dataloader/video_transform.py"),
    "trainer.max_epochs": (100, "main_DFEW.py"),
}
MAE_DFER = {  # https://github.com/sunlicai/MAE-DFER
    "model.optimizer.class_path": ("torch.optim.AdamW", "scripts/dfew"),
    "model.optimizer.lr": (1e-3 * 96 / 256, "scripts/dfew and run_class_finetuning.py, for three GPUs"),
    "model.optimizer.weight_decay": (0.05, "scripts/dfew"),
    "model.scheduler.epochs": (100, "scripts/dfew"),
    "model.scheduler.warmup": (5, "run_class_finetuning.py"),
    "model.layer_decay": (0.75, "run_class_finetuning.py"),
    "model.label_smoothing": (0.1, "run_class_finetuning.py"),
    "model.mixup": (0.8, "run_class_finetuning.py"),
    "model.backbone.weights": ("voxceleb2", "scripts/dfew"),
    "model.backbone.width": (512, "scripts/dfew, dim512"),
    "model.backbone.depth": (16, "scripts/dfew"),
    "model.backbone.heads": (8, "modeling_finetune.py"),
    "model.backbone.region": ([2, 5, 10], "scripts/dfew"),
    "model.backbone.drop_path": (0.1, "run_class_finetuning.py"),
    "data.sampler.frames": (16, "scripts/dfew"),
    "data.sampler.stride": (4, "scripts/dfew, sr"),
    "data.sampler.eval_views": (2, "scripts/dfew, test_num_segment"),
    "data.batch_size": (96, "scripts/dfew, 32 on each of three GPUs"),
    "data.size": (160, "scripts/dfew"),
    "data.augmentation.flip": (True, "kinetics.py"),
    "data.augmentation.area": (0.8, "kinetics.py, VideoClsDatasetFrame"),
    "trainer.max_epochs": (100, "scripts/dfew"),
}
SVFAP = {  # https://github.com/sunlicai/SVFAP
    name: value for name, value in MAE_DFER.items() if name not in ("model.backbone.depth", "model.backbone.region")
} | {
    "model.optimizer.lr": (1e-3 * 64 / 256, "scripts/dfew and run_class_finetuning.py, for four GPUs"),
    "model.backbone.weights": ("svfap", "scripts/dfew"),
    "model.backbone.class_path": ("fer_lightning.PyramidTransformer", "modeling_finetune.py, TPSBT"),
    "model.backbone.depths": ([12, 6, 3], "scripts/dfew, stage_depths"),
    "model.backbone.step": (2, "scripts/dfew, temporal_kernel_size"),
    "model.backbone.bottleneck": (8, "scripts/dfew, num_bottleneck_tokens"),
    "data.batch_size": (64, "scripts/dfew, 16 on each of four GPUs"),
}
DFER_CLIP = {  # https://github.com/zengqunzhao/DFER-CLIP
    "model.optimizer.class_path": (SGD, "main.py"),
    "model.optimizer.lr": (1e-2, "train_DFEW.sh"),
    "model.optimizer.momentum": (0.9, "train_DFEW.sh"),
    "model.optimizer.weight_decay": (1e-4, "train_DFEW.sh"),
    "model.backbone_lr": (1e-5, "train_DFEW.sh"),
    "model.prompt_lr": (1e-3, "train_DFEW.sh"),
    "model.scheduler.milestones": ([30, 40], "train_DFEW.sh"),
    "model.scheduler.gamma": (0.1, "main.py"),
    "model.backbone.name": ("vit_base_patch32_clip_quickgelu_224.openai", "main.py, ViT-B/32"),
    "model.backbone.weights": ("timm", "main.py, OpenAI's"),
    "model.text.weights": ("hub", "main.py, OpenAI's"),
    "model.text.contexts": (8, "train_DFEW.sh"),
    "model.text.class_specific": (True, "train_DFEW.sh"),
    "model.text.descriptions": (ANY, "train_DFEW.sh, class_descriptor"),
    "model.depth": (1, "train_DFEW.sh"),
    "model.heads": (8, "models/Generate_Model.py"),
    "model.hidden": (1024, "models/Generate_Model.py"),
    "data.sampler.frames": (16, "main.py"),
    "data.batch_size": (48, "train_DFEW.sh"),
    "data.size": (224, "main.py"),
    "data.augmentation.area": (0.08, "dataloader/video_transform.py"),
    "data.augmentation.flip": (True, "dataloader/video_dataloader.py"),
    "trainer.max_epochs": (50, "train_DFEW.sh"),
}
SARNN = {  # Lee et al., 2020 (000)
    "data.sampler.frames": (16, "section 5.2.1"),
    "data.size": (224, "section 5.2.1"),
    "data.augmentation.flip": (True, "section 5.2.2"),
    "data.augmentation.rotation": (0.0, "section 5.2.2, only flipping"),
    "data.augmentation.scale": (0.0, "section 5.2.2, only flipping"),
    "model.hidden": (2048, "section 5.2.3"),
    "model.features": (1024, "section 5.2.3"),
    "model.dropout": (0.5, "section 5.2.3"),
    "model.backbone.hidden": (4096, "section 5.2.1"),
    "trainer.gradient_clip_val": (10, "section 5.2.3, from -10 to 10"),
    "trainer.gradient_clip_algorithm": ("value", "section 5.2.3, the values are restricted"),
}
CEFLNET = {  # Liu et al., 2022 (004)
    "model.optimizer.class_path": (ADAM, "table 1"),
    "model.optimizer.lr": (1e-4, "table 1"),
    "model.optimizer.weight_decay": (1e-4, "table 1"),
    "model.scheduler.class_path": ("fer_lightning.DampedCosine", "section 4.1, cosine annealing and warm-up"),
    "model.scheduler.period": (160, "table 1, maximum number of iterations"),
    "model.scheduler.warmup": (ANY, "section 4.1"),
    "trainer.max_epochs": (120, "table 1"),
    "data.batch_size": (8, "table 1"),
    "data.sampler.clips": (7, "table 1"),
    "data.sampler.frames": (5, "table 1"),
    "data.size": (224, "section 4.1"),
    "model.form": ("paper", "section 3"),
}
VSHNN = SARNN | {
    "model.substitution": (3, "section 3.4, K"),
    "model.auxiliary": (0.5, "section 5.2.2, lambda"),
    "model.scene.size": (112, "section 5.2.2"),
    "model.scene.frozen": (True, "section 5.2.2"),
}
LANDMARKS = {
    "model.fusion.descriptor": ("lmed_cf", "section 4.1"),
    "model.fusion.frames": (16, "section 5.2.4, N"),
}
SPOKEN = {  # Li et al., 2019 (002)
    "data.audio.reduce_noise": (True, "section 2, background noise"),
    "data.audio.speech": (True, "section 2, useful speech"),
}
VALUES: dict[str, dict[str, tuple[object, str]]] = {
    "vshnn_afew": VSHNN,
    "vshnn_ic_afew": VSHNN | LANDMARKS,
    "vshnn_ws_afew": VSHNN | LANDMARKS | {"model.fusion.modules": (3, "section 5.2.4")},
    "vshnn_ws_ckplus": VSHNN | LANDMARKS | {"model.fusion.modules": (2, "section 5.2.4")},
    "vshnn_lrmf_mmi": VSHNN
    | LANDMARKS
    | {"model.fusion.modules": (2, "section 5.2.4"), "model.fusion.attention": (False, "section 5.3.6")},
    "vshnn_lrmaf_afew": VSHNN
    | LANDMARKS
    | {"model.fusion.modules": (3, "section 5.2.4"), "model.fusion.attention": (True, "section 4.2.3")},
    "cnn_gru_afew": SARNN,
    "c3d_afew": {
        "model.hidden": (2048, "section 5.2.2"),
        "model.scene.size": (112, "section 5.2.2"),
        "model.scene.frozen": (True, "section 5.2.2"),
        "data.sampler.frames": (16, "section 5.2.1"),
        "data.augmentation.flip": (True, "section 5.2.2"),
        "data.augmentation.rotation": (0.0, "section 5.2.2, only flipping"),
    },
    "densenet_fc_fer2013": {
        "model.optimizer.class_path": (SGD, "section 5.2.1"),
        "model.optimizer.momentum": (ANY, "section 5.2.1"),
        "model.optimizer.weight_decay": (5e-4, "section 5.2.1"),
        "model.backbone.hidden": (4096, "section 5.2.1"),
        "data.size": (224, "section 5.2.1"),
        **{
            f"data.augmentation.{name}": (ANY, "section 5.2.1") for name in ("flip", "rotation", "scale", "translation")
        },
    },
    "lmed_cf_afew": {"model.modules": (3, "section 5.2.4"), "data.sampler.frames": (16, "section 5.2.4, N")},
    "lmed_cf_ckplus": {"model.modules": (2, "section 5.2.4"), "data.sampler.frames": (16, "section 5.2.4, N")},
    "lmed_cf_mmi": {"model.modules": (2, "section 5.2.4"), "data.sampler.frames": (16, "section 5.2.4, N")},
    "context_face_affectnet": {  # Do et al., 2021 (001)
        "model.optimizer.class_path": (ADAM, "section 6.3"),
        "model.optimizer.lr": (1e-3, "section 6.3"),
        "model.scheduler.class_path": (PLATEAU, "section 6.3"),
        "data.batch_size": (8, "section 6.3"),
        "data.size": (224, "section 6.3"),
        "data.balanced": (True, "section 6.3"),
    },
    "context_face_rafdb": {
        "model.optimizer.class_path": (SGD, "section 6.3"),
        "model.optimizer.lr": (4e-4, "section 6.3"),
        "model.scheduler.class_path": (COSINE, "section 6.3"),
        "model.scheduler.eta_min": (1e-4, "section 6.3"),
        "model.start_from": ("run:context_face_affectnet", "section 6.3"),
        "data.batch_size": (8, "section 6.3"),
        "data.balanced": (True, "section 6.3"),
    },
    "context_spatiotemporal_afew": {
        "model.optimizer.class_path": (SGD, "section 6.4"),
        "model.optimizer.lr": (4e-4, "section 6.4"),
        "model.scheduler.class_path": (PLATEAU, "section 6.4"),
        "trainer.max_epochs": (40, "section 6.4, early stopping at 40 epochs"),
        "data.sampler.class_path": ("data_modules.sampling.RandomSampler", "section 6.4"),
        "data.sampler.frames": (32, "section 6.4"),
        "data.sampler.eval_views": (5, "section 6.4"),
        "data.size": (224, "section 6.4"),
        "data.augmentation.flip": (True, "section 6.4"),
        "data.augmentation.rotation": (15.0, "section 6.4"),
        "data.augmentation.scale": (0.2, "section 6.4"),
        "data.balanced": (True, "section 6.4"),
    },
    "context_pyramid_afew": {
        "model.optimizer.class_path": (SGD, "section 6.5"),
        "model.optimizer.lr": (4e-4, "section 6.5"),
        "model.scheduler.class_path": (PLATEAU, "section 6.5"),
        "data.batch_size": (8, "section 6.5"),
        "data.train_views": (10, "section 6.5, instances of each clip"),
        "data.size": (224, "section 6.5"),
        "data.balanced": (True, "section 6.5"),
    },
    "bimodal_vggface_afew": {  # Li et al., 2019 (002)
        "model.layers": (2, "section 2"),
        "model.frozen_convolutions": (True, "section 2"),
        "model.backbone.hidden": (4096, "section 2"),
        "data.sampler.frames": (16, "section 3"),
        "data.size": (224, "section 3"),
        "data.augmentation.crop": (224 / 256, "section 3"),
    },
    "bimodal_resnet18_afew": {"model.layers": (2, "section 2"), "data.sampler.frames": (16, "section 3")},
    "bimodal_densenet121_afew": {"model.layers": (2, "section 2"), "data.sampler.frames": (4, "section 3")},
    "static_vote_afew": {
        "data.sampler.frames": (16, "section 3"),
        "model.start_from": ("run:vgg16_affectnet", "section 2"),
    },
    "spectrogram_afew": SPOKEN | {"data.audio.size": (224, "section 3")},
    "opensmile_is09_afew": SPOKEN | {"data.audio.functionals": ("is09", "section 2, 384 values")},
    "opensmile_is10_afew": SPOKEN | {"data.audio.functionals": ("is10", "section 2, 1582 values")},
    "ecnn_fsa_afew": ECNN_VIDEO | {"model.scale": (0.1, "table 1, s"), "model.dropout": (0.5, "table 1")},
    "ecnn_fsa_ckplus_neutral": ECNN_VIDEO | {"model.scale": (0.1, "table 1, s"), "model.dropout": (0.5, "table 1")},
    "cnn_lstm_afew": ECNN_VIDEO,
    "ecnn_lstm_afew": ECNN_VIDEO,
    "ecnn_stills_fer2013": ECNN | {"model.dropout": (0.5, "table 1")},
    "ceflnet_bu4dfe": CEFLNET,
    "ceflnet_dfew": CEFLNET,
    "ceflnet_authors_afew": CEFLNET
    | {  # https://github.com/CVLab-Liuyuanyuan/CEFLNet
        "model.form": ("authors", "models/Model.py"),
        "model.backbone.pixels": ("unit", "load_materials.py, ToTensor alone"),
        "model.scheduler.warmup": (10, "main.py"),
        "data.sampler.eval_frames": ("first", "NewDataset.py, frames 0, 3, 6, 9, 12"),
        "data.augmentation": (None, "load_materials.py, ToTensor alone"),
    },
    "m3dfel_dfew": {  # https://github.com/Tencent/TFace/tree/master/attribute/M3DFEL
        "model.optimizer.class_path": ("torch.optim.AdamW", "solver.py"),
        "model.optimizer.lr": (5e-4, "options.py"),
        "model.optimizer.weight_decay": (0.05, "options.py"),
        "model.scheduler.epochs": (300, "options.py"),
        "model.scheduler.warmup": (20, "options.py"),
        "model.label_smoothing": (0.1, "options.py"),
        "model.backbone.name": ("resnet3d", "models/M3DFEL.py, torchvision's r3d_18"),
        "model.backbone.weights": ("kinetics", "models/M3DFEL.py, torchvision's"),
        "model.instance_length": (4, "options.py"),
        "model.hidden": (512, "models/M3DFEL.py"),
        "model.layers": (2, "models/M3DFEL.py"),
        "model.heads": (8, "models/M3DFEL.py"),
        "data.sampler.frames": (16, "options.py"),
        "data.batch_size": (256, "options.py"),
        "data.size": (112, "options.py"),
        "data.augmentation.area": (0.08, "datasets/video_transform.py"),
        "data.augmentation.brightness": (0.4, "options.py, color_jitter"),
        "data.augmentation.contrast": (0.4, "options.py, color_jitter"),
        "trainer.max_epochs": (300, "options.py"),
    },
    "mae_dfer_dfew": MAE_DFER,
    "mae_dfer_mafw": MAE_DFER,
    "mae_dfer_ferv39k": MAE_DFER
    | {
        "model.optimizer.lr": (1e-3 * 120 / 256, "scripts/ferv39k"),
        "data.sampler.stride": (1, "scripts/ferv39k, sr"),
        "data.batch_size": (120, "scripts/ferv39k, 40 on each of three GPUs"),
    },
    "video_mae_dfew": MAE_DFER
    | {
        "model.backbone.weights": ("kinetics", "VideoMAE, MODEL_ZOO.md"),
        "model.backbone.width": (768, "modeling_finetune.py, vit_base_patch16_160"),
        "model.backbone.depth": (12, "modeling_finetune.py, vit_base_patch16_160"),
        "model.backbone.heads": (12, "modeling_finetune.py, vit_base_patch16_160"),
        "model.backbone.attention": ("joint", "modeling_finetune.py, vit_base_patch16_160"),
    },
    "svfap_dfew": SVFAP,
    "svfap_mafw": SVFAP,
    "svfap_ferv39k": SVFAP | {"data.sampler.stride": (1, "scripts/ferv39k, sr")},
    "dfer_clip_dfew": DFER_CLIP | {"data.augmentation.brightness": (0.5, "dataloader/video_dataloader.py")},
    "dfer_clip_ferv39k": DFER_CLIP
    | {
        "data.augmentation.brightness": (0.0, "dataloader/video_dataloader.py"),
        "data.augmentation.rotation": (4, "dataloader/video_dataloader.py"),
    },
    "dfer_clip_mafw": DFER_CLIP | {"data.augmentation.brightness": (0.0, "dataloader/video_dataloader.py")},
    "s2d_dfew": {  # https://github.com/MSA-LMC/S2D
        "model.optimizer.class_path": ("torch.optim.AdamW", "scripts/ft_dfew.sh"),
        "model.optimizer.lr": (1e-5, "scripts/ft_dfew.sh"),
        "model.optimizer.weight_decay": (0.05, "scripts/ft_dfew.sh"),
        "model.scheduler.epochs": (100, "scripts/ft_dfew.sh"),
        "model.scheduler.warmup": (2, "run_class_finetuning.py"),
        "model.ratio": (0.25, "run_class_finetuning.py, scale_factor"),
        "model.heads": (8, "model_finetuning.py"),
        "model.dropout": (0.5, "run_class_finetuning.py, dropout_ratio"),
        "model.frozen": (True, "run_class_finetuning.py"),
        "model.label_smoothing": (0.1, "run_class_finetuning.py, smoothing"),
        "model.mixup": (0.8, "run_class_finetuning.py"),
        "data.sampler.frames": (16, "scripts/ft_dfew.sh"),
        "data.batch_size": (8, "scripts/ft_dfew.sh"),
        "data.size": (224, "scripts/ft_dfew.sh"),
        "trainer.max_epochs": (100, "scripts/ft_dfew.sh"),
    },
    "former_dfer_dfew": FORMER_DFER,
    "former_dfer_ferv39k": FORMER_DFER,
    "former_dfer_ial_dfew": FORMER_DFER | {"model.intensity_aware": (0.1, "main.py of the authors of the loss")},
    "former_dfer_afew": FORMER_DFER
    | {
        "model.start_from": ("run:former_dfer_dfew", "main_AFEW.py, the model of DFEW's first fold"),
        "model.optimizer.lr": (1e-3, "main_AFEW.py"),
        "trainer.max_epochs": (20, "main_AFEW.py"),
    },
}
LEFT_OPEN = {
    "ceflnet": ("backbone", "scheduler", "augmentation"),
    "vshnn": ("optimizer", "scheduler", "batch_size", "max_epochs"),
    "cnn_gru": ("optimizer", "scheduler", "batch_size", "max_epochs"),
    "densenet_fc": ("optimizer", "scheduler", "batch_size", "max_epochs"),
    "context_face": ("scheduler", "max_epochs"),
    "context_spatiotemporal": ("optimizer", "scheduler"),
    "context_pyramid": ("optimizer", "scheduler"),
    "bimodal_vggface": ("optimizer", "scheduler", "batch_size", "max_epochs"),
    "spectrogram": ("optimizer", "scheduler", "batch_size", "max_epochs"),
    "vgg16": ("optimizer", "scheduler", "batch_size", "max_epochs"),
    "ecnn_fsa": ("optimizer", "scheduler", "max_epochs"),
    "ecnn_stills": ("optimizer", "scheduler", "max_epochs"),
    "cnn_lstm": ("optimizer", "scheduler", "max_epochs"),
}


@functools.cache
def resolved(experiment: str) -> dict[str, Any]:
    return read_model(ExperimentRequest(experiment, size="paper"))


def value_at(config: dict[str, Any], key: str) -> Any:
    """The value of a dotted key; a class's arguments stand under `init_args`."""
    for part in key.split("."):
        config = config["init_args"] if part not in config else config
        config = config[part]
    return config


@pytest.mark.parametrize("experiment", VALUES)
def test_an_experiment_has_the_papers_values(experiment):
    config = resolved(experiment)
    for key, (value, place) in VALUES[experiment].items():
        found = value_at(config, key)
        if value is ANY:
            assert found, f"{key}: {place}"
        else:
            assert found == value, f"{key}: {place}"


def test_fusions_and_ensembles_have_the_papers_numbers():
    """Lee et al., section 4.2.2, alpha; Do et al., section 5, T; Li et al., section 2, the order of the weights."""
    alpha = "--model.init_args.fusion.init_args.alpha"
    for table, value in (("vshnn_10", "0.6"), ("vshnn_12", "0.5"), ("vshnn_13", "0.5")):
        assert read_table(table).row("vshnn_ws").arguments == (alpha, value)
    selection = read_ensemble(ExperimentRequest("context_ensemble_afew")).settings
    assert (selection.method.max_models, len(selection.members)) == (5, 9)
    weights = ("--ensemble.method", "FixedWeights", "--ensemble.method.weights", "[.88,.34,.22,.06,.3]")
    fused = read_ensemble(ExperimentRequest("bimodal_fusion_afew", name="paper_weights", arguments=weights)).settings
    names = ("bimodal_vggface", "bimodal_resnet18", "bimodal_densenet121", "static_vote", "bimodal_audio")
    assert tuple(member.system for member in fused.members) == names
    assert " ".join(weights) in system_file("bimodal_fusion").read_text()


@pytest.mark.parametrize("experiment", VALUES)
def test_the_loss_is_plain_cross_entropy_and_gradients_are_clipped_where_a_paper_says_so(experiment):
    config = resolved(experiment)
    if "model.label_smoothing" not in VALUES[experiment]:
        assert value_at(config, "model.label_smoothing") == 0.0
    if "model.intensity_aware" not in VALUES[experiment]:
        assert value_at(config, "model.intensity_aware") == 0.0
    assert value_at(config, "model.class_weights") is False
    if (
        "trainer.gradient_clip_val" not in VALUES[experiment] and experiment != "c3d_afew"
    ):  # with the network that it serves
        assert config["trainer"]["gradient_clip_val"] is None


def test_the_cosine_of_the_face_model_ends_with_its_training():
    config = resolved("context_face_rafdb")
    assert value_at(config, "model.scheduler.T_max") == config["trainer"]["max_epochs"]


@pytest.mark.parametrize("experiment", ["context_spatiotemporal_afew", "context_pyramid_afew"])
def test_the_context_models_stop_early(experiment):
    callbacks = resolved(experiment)["trainer"]["callbacks"]
    assert [each["class_path"].rsplit(".", 1)[-1] for each in callbacks] == ["EarlyStopping"]


@pytest.mark.parametrize("system", LEFT_OPEN)
def test_what_a_paper_leaves_open_is_said_to_be_ours(system):
    """On the line of the setting, or on one of the comments directly above it."""
    lines = system_file(system).read_text().split("\nsmall:")[0].splitlines()
    for name in LEFT_OPEN[system]:
        (place,) = (i for i, line in enumerate(lines[: find(lines, "on:")]) if line.strip().startswith(f"{name}:"))
        above = place
        while lines[above - 1].strip().startswith("#"):
            above -= 1
        assert "[our choice]" in "\n".join(lines[above : place + 1]), name


def find(lines: list[str], beginning: str) -> int:
    """The place of the first line that begins so, or the number of lines."""
    return next((i for i, line in enumerate(lines) if line.startswith(beginning)), len(lines))
