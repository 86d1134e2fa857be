"""Networks that compute the parameters of transforms; they need not be invertible."""

from attnflow.nets.convnet import ConvNet
from attnflow.nets.gated_resnet import GatedResNet

__all__ = ["ConvNet", "GatedResNet"]
