"""ResNet-18, MobileNetV2 and AlexNet in PyTorch, with seeded weights."""

import torch
from torch import Tensor, nn


def conv_norm(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, activation=nn.ReLU):
    """Convolution, batch normalisation, activation (None: none)."""
    layers = [nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(c_out)]
    return nn.Sequential(*layers, *([activation(inplace=True)] if activation else []))


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around which a residual runs."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.conv1, self.conv2 = conv_norm(c_in, c_out, 3, stride), conv_norm(c_out, c_out, 3, activation=None)
        plain = stride == 1 and c_in == c_out
        self.downsample = None if plain else conv_norm(c_in, c_out, 1, stride, activation=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        return self.relu(self.conv2(self.conv1(x)) + identity)


class ResNet18(nn.Module):
    """arXiv 1512.03385."""

    def __init__(self, classes: int = 1000):
        super().__init__()
        self.stem = conv_norm(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        widths = ((64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
                  (512, 512, 1))
        self.blocks = nn.Sequential(*(BasicBlock(*w) for w in widths))
        self.average, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.average(self.blocks(self.pool(self.stem(x)))), 1))


class InvertedResidual(nn.Module):
    """Expansion, depthwise, projection."""

    def __init__(self, c_in, c_out, stride, expansion):
        super().__init__()
        mid, six = c_in * expansion, nn.ReLU6
        expand = [conv_norm(c_in, mid, 1, activation=six)] if expansion > 1 else []
        self.conv = nn.Sequential(*expand, conv_norm(mid, mid, 3, stride, mid, six),
                                  conv_norm(mid, c_out, 1, activation=None))
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """arXiv 1801.04381."""

    def __init__(self, classes: int = 1000):
        super().__init__()
        layers, c_in = [conv_norm(3, 32, 3, 2, activation=nn.ReLU6)], 32
        for expansion, c_out, count, stride in ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2),
                                                (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)):
            for i in range(count):
                layers.append(InvertedResidual(c_in, c_out, stride if i == 0 else 1, expansion))
                c_in = c_out
        self.features = nn.Sequential(*layers, conv_norm(320, 1280, 1, activation=nn.ReLU6))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


class AlexNet(nn.Module):
    """arXiv 1404.5997, but for the first kernel: 11 x 11 with stride 4."""

    def __init__(self, classes: int = 1000):
        super().__init__()
        relu, pool = nn.ReLU, lambda: nn.MaxPool2d(3, 2)
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), relu(), pool(), nn.Conv2d(64, 192, 5, padding=2), relu(), pool(),
            nn.Conv2d(192, 384, 3, padding=1), relu(), nn.Conv2d(384, 256, 3, padding=1), relu(),
            nn.Conv2d(256, 256, 3, padding=1), relu(), pool(), nn.AdaptiveAvgPool2d(6))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(9216, 4096), relu(), nn.Dropout(),
                                        nn.Linear(4096, 4096), relu(), nn.Linear(4096, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.features(x), 1))


def seeded(kind: type[nn.Module], **arguments) -> nn.Module:
    """The network in evaluation, with statistics of batch normalisation as training could leave them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = kind(**arguments).eval()
        for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.2)
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.5, 1.5)
    return module
