"""Networks that compute the parameters of transforms; they need not be invertible."""

from attnflow.nets.convnet import ConvNet
from attnflow.nets.gated_resnet import GatedResNet
from attnflow.nets.transformer import CausalTransformer
from attnflow.nets.vit import ViT

__all__ = ["CausalTransformer", "ConvNet", "GatedResNet", "ViT"]
