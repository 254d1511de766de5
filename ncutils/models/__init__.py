"""Networks as pytrees, each split into the features that collapse and the read-out."""

from ncutils.models.convnets import cnn, densenet40, resnet, resnet20, vgg11, vgg16
from ncutils.models.layers import BatchNorm, Conv, Dense
from ncutils.models.networks import (
    ACTIVATIONS,
    MLP,
    batch_logits,
    features,
    functions,
    logits,
    mlp,
    partition,
    unbiased_mlp,
)

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "BatchNorm",
    "Conv",
    "Dense",
    "batch_logits",
    "cnn",
    "densenet40",
    "features",
    "functions",
    "logits",
    "mlp",
    "partition",
    "resnet",
    "resnet20",
    "unbiased_mlp",
    "vgg11",
    "vgg16",
]
