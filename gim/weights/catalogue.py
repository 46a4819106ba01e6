"""The weights that are known by name. Data only; nothing here looks at a disk or a network.

A hash stands here when the file's own repository states it, or when unrelated projects that use the file pin the same
one. Where there is none it is left empty, and what is fetched first is what is trusted from then on.

Permissive means that nothing the publisher says of the weights restricts their use. GIM's are MIT, yet their authors
add "research only" because of the videos they were trained on; Magic Leap's are for non-commercial research, and so is
what embeds them; the ADE20K segmenter comes from the publishers of a data set whose terms are research only. None of
these counts as permissive, since somebody who asks for permissive weights does not want to argue about it.
"""

from typing import NamedTuple

from gim.weights.spec import PublishedFile, Trait, WeightsSpec


class _Terms(NamedTuple):
    licence: str
    is_permissive: bool


_APACHE = _Terms("Apache-2.0", is_permissive=True)
_BSD = _Terms("BSD-3-Clause", is_permissive=True)
_MIT = _Terms("MIT", is_permissive=True)
_GIM_TERMS = _Terms("MIT, research only by its authors' remark", is_permissive=False)
_MAGIC_LEAP = _Terms("Magic Leap, non-commercial research only", is_permissive=False)
_ADE20K_TERMS = _Terms("BSD-3-Clause, trained on ADE20K: research only", is_permissive=False)

_GIM = "https://github.com/xuelunshen/gim"
_MAGIC_LEAP_PAGE = "https://github.com/magicleap/SuperGluePretrainedNetwork"
_MAGIC_LEAP_FILES = f"{_MAGIC_LEAP_PAGE}/raw/master/models/weights"
_LOFTR = "https://github.com/zju3dv/LoFTR"
_ROMA = "https://github.com/Parskatt/RoMa"
_DKM = "https://github.com/Parskatt/DKM"
_DEDODE = "https://github.com/Parskatt/DeDoDe"
_STORAGE = "https://github.com/Parskatt/storage/releases/download"
_LIGHTGLUE = "https://github.com/cvg/LightGlue"
_LIGHTGLUE_FILES = f"{_LIGHTGLUE}/releases/download/v0.1_arxiv"
_ALIKED = "https://github.com/Shiaoming/ALIKED"
_DISK = "https://github.com/cvlab-epfl/disk"
_XFEAT = "https://github.com/verlab/accelerated_features"
_KORNIA = "https://huggingface.co/kornia"
_KORNIA_FORMER = "https://cmp.felk.cvut.cz/~mishkdmy/models"
_ADE20K = "https://github.com/CSAILVision/semantic-segmentation-pytorch"
_ADE20K_FILES = "http://sceneparsing.csail.mit.edu/model/pytorch/ade20k-resnet50dilated-ppm_deepsup"
_TORCHVISION = "https://docs.pytorch.org/vision/stable/models.html"
_MEDIAPIPE = "https://github.com/google-ai-edge/mediapipe"
_TORCHVISION_FILES = "https://download.pytorch.org/models"


def _spec(
    name: str, what: str, terms: _Terms, page: str, *files: PublishedFile, traits: tuple[Trait, ...] = ()
) -> WeightsSpec:
    return WeightsSpec(name, files, terms.licence, terms.is_permissive, what, page, traits)


def _aliked(size: str, what: str, num_bytes: int | None, sha256: str) -> WeightsSpec:
    file = f"aliked-{size}.pth"
    urls = (f"{_ALIKED}/raw/main/models/{file}", f"{_KORNIA}/aliked/resolve/main/{file}")
    return _spec(f"aliked_{size}", what, _BSD, _ALIKED, PublishedFile(file, urls, num_bytes, sha256))


def _lightglue(features: str, num_bytes: int | None, sha256: str) -> WeightsSpec:
    file = f"{features}_lightglue.pth"
    urls = (f"{_LIGHTGLUE_FILES}/{file}", f"{_KORNIA}/lightglue/resolve/main/{file}")
    what = f"LightGlue for {features} features, MegaDepth"
    return _spec(f"{features}_lightglue", what, _APACHE, _LIGHTGLUE, PublishedFile(file, urls, num_bytes, sha256))


def _magic_leap(name: str, what: str, num_bytes: int | None, sha256: str) -> WeightsSpec:
    file = PublishedFile(f"{name}.pth", (f"{_MAGIC_LEAP_FILES}/{name}.pth",), num_bytes, sha256)
    return _spec(name, what, _MAGIC_LEAP, _MAGIC_LEAP_PAGE, file)


def _loftr(name: str, file: str, data: str, traits: tuple[Trait, ...] = ()) -> WeightsSpec:
    urls = (f"{_KORNIA}/loftr/resolve/main/{file}", f"{_KORNIA_FORMER}/{file}")
    what = f"the original LoFTR, {data}, as kornia publishes it"
    return _spec(name, what, _APACHE, _LOFTR, PublishedFile(file, urls), traits=traits)


def _dedode(name: str, what: str, release: str, file: str, num_bytes: int | None, sha256: str) -> WeightsSpec:
    urls = (f"{_DEDODE}/releases/download/{release}/{file}", f"{_KORNIA}/dedode/resolve/main/{file}")
    return _spec(name, what, _MIT, _DEDODE, PublishedFile(file, urls, num_bytes, sha256))


def _dedode_lightglue(size: str, sha256: str) -> WeightsSpec:
    file = f"dedode{size}_lightglue.pth"
    urls = (f"{_KORNIA}/lightglue/resolve/main/{file}", f"{_KORNIA_FORMER}/{file}")
    what = f"kornia's LightGlue for DeDoDe-{size.upper()} features"
    return _spec(f"dedode{size}_lightglue", what, _APACHE, _LIGHTGLUE, PublishedFile(file, urls, sha256=sha256))


def _torchvision(name: str, what: str, file: str, num_bytes: int | None, sha256: str) -> WeightsSpec:
    published = PublishedFile(file, (f"{_TORCHVISION_FILES}/{file}",), num_bytes, sha256)
    return _spec(name, f"{what}, COCO with the 20 classes of Pascal VOC", _BSD, _TORCHVISION, published)


_SPECS = (
    _spec(
        "gim_dkm_100h",
        "GIM's DKMv3, 100 hours of video (.safetensors: vismatch's conversion)",
        _GIM_TERMS,
        _GIM,
        PublishedFile(
            "gim_dkm_100h.ckpt",
            num_bytes=843735230,
            sha256="bbe056bcf1b401e8dbc0ea983e69ed168eb0a330dcee35f3d9cf53048bf69ab8",
        ),
        PublishedFile(
            "gim_dkm_100h.safetensors",
            ("https://huggingface.co/vismatch/gim-dkm/resolve/main/gim_dkm_100h.safetensors",),
        ),
    ),
    _spec(
        "gim_roma_100h",
        "GIM's RoMa, 100 hours of video; goes with dinov2_vitl14",
        _GIM_TERMS,
        _GIM,
        PublishedFile("gim_roma_100h.ckpt"),
    ),
    _spec(
        "gim_loftr_50h",
        "GIM's LoFTR on RGB with a ResNet-50, 50 hours of video",
        _GIM_TERMS,
        _GIM,
        PublishedFile(
            "gim_loftr_50h.ckpt",
            (f"{_GIM}/raw/main/weights/gim_loftr_50h.ckpt",),
            git_blob="490fcc531b20fc02187eb4bc70976c94eccaa5f3",
        ),
    ),
    _spec(
        "gim_lightglue_100h",
        "GIM's LightGlue and the SuperPoint it was trained with, 100 hours of video",
        _MAGIC_LEAP,
        _GIM,
        PublishedFile(
            "gim_lightglue_100h.ckpt",
            (
                f"{_GIM}/raw/main/weights/gim_lightglue_100h.ckpt",
                "https://huggingface.co/vismatch/gim-lightglue/resolve/main/gim_lightglue_100h.ckpt",
            ),
            git_blob="1a10d29851ce45dc22c77046be13b75b92399a35",
        ),
    ),
    _spec(
        "dinov2_vitl14",
        "DINOv2 ViT-L/14: the coarse features of RoMa and of DeDoDe-G",
        _APACHE,
        "https://github.com/facebookresearch/dinov2",
        PublishedFile(
            "dinov2_vitl14_pretrain.pth",
            ("https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",),
            1217586395,
            "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
        ),
    ),
    _spec(
        "roma_outdoor",
        "the original RoMa, MegaDepth",
        _MIT,
        _ROMA,
        PublishedFile(
            "roma_outdoor.pth",
            (f"{_STORAGE}/roma/roma_outdoor.pth",),
            445647516,
            "c7a45c80d41ad788a63c641d1b686d7cb3f297f40097c6f4e75039889e5cc8ba",
        ),
        traits=("imagenet_input",),
    ),
    _spec(
        "roma_indoor",
        "the original RoMa, ScanNet",
        _MIT,
        _ROMA,
        PublishedFile("roma_indoor.pth", (f"{_STORAGE}/roma/roma_indoor.pth",)),
        traits=("imagenet_input",),
    ),
    _spec(
        "dkm_outdoor",
        "the original DKMv3, MegaDepth",
        _MIT,
        _DKM,
        PublishedFile("DKMv3_outdoor.pth", (f"{_STORAGE}/dkmv3/DKMv3_outdoor.pth",)),
        traits=("imagenet_input",),
    ),
    _spec(
        "dkm_indoor",
        "the original DKMv3, ScanNet",
        _MIT,
        _DKM,
        PublishedFile("DKMv3_indoor.pth", (f"{_STORAGE}/dkmv3/DKMv3_indoor.pth",)),
        traits=("imagenet_input",),
    ),
    _loftr("loftr_outdoor", "loftr_outdoor.ckpt", "MegaDepth"),
    _loftr("loftr_indoor", "loftr_indoor_ds_new.ckpt", "ScanNet", ("corrected_positions",)),
    _magic_leap(
        "superpoint_v1",
        "SuperPoint, MS-COCO",
        5206086,
        "52b6708629640ca883673b5d5c097c4ddad37d8048b33f09c8ca0d69db12c40e",
    ),
    _magic_leap(
        "superglue_outdoor",
        "SuperGlue, MegaDepth",
        None,
        "2f5f5e9bb3febf07b69df633c4c3ff7a17f8af26a023aae2b9303d22339195bd",
    ),
    _magic_leap(
        "superglue_indoor",
        "SuperGlue, ScanNet",
        None,
        "0e710469be25ebe1e2ccf68edcae8b2945b0617c8e7e68412251d9d47f5052b1",
    ),
    # Permissive, for it holds nothing of SuperPoint, only answers to it.
    _lightglue("superpoint", None, "6ff7040d0a497fc6639337946d7538dae07428c18f77a067a0b5a960e7cc551a"),
    _lightglue("aliked", 47632827, "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503"),
    _lightglue("disk", 47631405, "b5b21d47ea24f2c5e501aec9c91b9716e4c8c3429a4dc1e615c133c4c9378335"),
    _aliked("n16", "ALIKED", 2738091, "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2"),
    _aliked(
        "n16rot",
        "ALIKED, trained on rotated images too",
        2738325,
        "ddf3abbf38e86f6a74540d214e1a9712c54b2d8551abc864542199f2347d7332",
    ),
    _aliked(
        "n32",
        "ALIKED with more sample positions of a descriptor",
        None,
        "055283fd1624d3ab46a05c3b617b1a79a3f28d1f551737eef2d653e8c8232890",
    ),
    _aliked("t16", "ALIKED, the small one", 794859, "56782336919db220144a884e710e2b6af13b3b8f8da15b915a239078ab471085"),
    _spec(
        "disk",
        "DISK, trained with depth, MegaDepth",
        _APACHE,
        _DISK,
        PublishedFile(
            "depth-save.pth",
            (
                "https://raw.githubusercontent.com/cvlab-epfl/disk/master/depth-save.pth",
                f"{_KORNIA}/disk/resolve/main/depth-save.pth",
            ),
            4375832,
            "9c2ee4ded238892dfa51569941372601e35e4a74aa6f84ea80053d2ab1c07abe",
        ),
    ),
    _spec(
        "xfeat",
        "XFeat",
        _APACHE,
        _XFEAT,
        PublishedFile(
            "xfeat.pt",
            (f"{_XFEAT}/raw/main/weights/xfeat.pt",),
            6247949,
            "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
        ),
    ),
    _spec(
        "xfeat_lighterglue",
        "LighterGlue for XFeat features, with the XFeat it was trained with",
        _APACHE,
        _XFEAT,
        PublishedFile(
            "xfeat-lighterglue.pt",
            (
                f"{_XFEAT}/raw/main/weights/xfeat-lighterglue.pt",
                f"{_KORNIA}/lightglue/resolve/main/xfeat-lighterglue.pt",
            ),
        ),
    ),
    _dedode(
        "dedode_detector",
        "DeDoDe's detector L, second version, MegaDepth",
        "v2",
        "dedode_detector_L_v2.pth",
        58483585,
        "4113809dd9e0367af013a45fc2255a6b243ff241cd06520d17a65d9e231bdc17",
    ),
    _dedode(
        "dedode_descriptor_b",
        "DeDoDe's descriptor B, MegaDepth",
        "dedode_pretrained_models",
        "dedode_descriptor_B.pth",
        None,
        "8eccfc270ec990ced60cd54a434411a47c4c504de13586f596d042e005b3022b",
    ),
    _dedode(
        "dedode_descriptor_g",
        "DeDoDe's descriptor G, MegaDepth; goes with dinov2_vitl14",
        "dedode_pretrained_models",
        "dedode_descriptor_G.pth",
        75485969,
        "ef6e3f2911bb3c179960db15545a2137d0746054bb5bad75559524ccab1fee41",
    ),
    _dedode_lightglue("b", "c11800f3faf106e6c44423975a688aee8be79c9b2181bb8ac85e1698238bf766"),
    _dedode_lightglue("g", ""),
    _spec(
        "ade20k_encoder",
        "ADE20K segmenter of MIT CSAIL: dilated ResNet-50",
        _ADE20K_TERMS,
        _ADE20K,
        PublishedFile(
            "encoder_epoch_20.pth",
            (f"{_GIM}/raw/main/weights/encoder_epoch_20.pth", f"{_ADE20K_FILES}/encoder_epoch_20.pth"),
            git_blob="c0528b6c4c0bb4121228f99290010dcf7bee6751",
        ),
    ),
    _spec(
        "ade20k_decoder",
        "ADE20K segmenter of MIT CSAIL: PPM head with deep supervision",
        _ADE20K_TERMS,
        _ADE20K,
        PublishedFile("decoder_epoch_20.pth", (f"{_ADE20K_FILES}/decoder_epoch_20.pth",)),
    ),
    _torchvision(
        "deeplabv3_resnet50_coco",
        "DeepLabV3 with a ResNet-50",
        "deeplabv3_resnet50_coco-cd0a2569.pth",
        None,
        "cd0a25694c4a0f7106b38f4938bf90a874f2f241cc410b8f63c7024399538f06",
    ),
    _torchvision(
        "lraspp_mobilenet_v3_large_coco",
        "LR-ASPP with a MobileNetV3",
        "lraspp_mobilenet_v3_large-d234d4ea.pth",
        13097061,
        "d234d4eae9d55d5f76de18b77cf0dc62c66fe5c5482758209d00f950c92bb280",
    ),
    _spec(
        "selfie_segmentation",
        "MediaPipe's selfie segmentation, general model: a person close to the camera",
        _APACHE,
        _MEDIAPIPE,
        PublishedFile(
            "selfie_segmentation.tflite",
            ("https://storage.googleapis.com/mediapipe-assets/selfie_segmentation.tflite",),
            249024,
            "8d13b7fae74af625c641226813616a2117bd6bca19eb3b75574621fc08557f27",
        ),
    ),
)

CATALOGUE: dict[str, WeightsSpec] = {spec.name: spec for spec in _SPECS}
