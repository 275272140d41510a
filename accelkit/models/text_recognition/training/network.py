"""The network in PyTorch, with the state_dict keys of the original (deep-text-recognition-benchmark), any width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from accelkit.models.text_recognition.charset import CLASSES


class Block(nn.Module):
    """Two 3x3 convolutions added to the input, which a 1x1 convolution fits where the channels differ."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


def _layer(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(Block(inputs if index == 0 else outputs, outputs) for index in range(blocks)))


class ConvNet(nn.Module):
    """Pictures [N, 1, 32, 100] to features [N, width, 1, 26]."""

    def __init__(self, width: int):
        super().__init__()
        w = width
        self.conv0_1 = nn.Conv2d(1, w // 16, 3, 1, 1, bias=False)
        self.bn0_1 = nn.BatchNorm2d(w // 16)
        self.conv0_2 = nn.Conv2d(w // 16, w // 8, 3, 1, 1, bias=False)
        self.bn0_2 = nn.BatchNorm2d(w // 8)
        self.maxpool1 = nn.MaxPool2d(2, 2)
        self.layer1 = _layer(w // 8, w // 4, 1)
        self.conv1 = nn.Conv2d(w // 4, w // 4, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(w // 4)
        self.maxpool2 = nn.MaxPool2d(2, 2)
        self.layer2 = _layer(w // 4, w // 2, 2)
        self.conv2 = nn.Conv2d(w // 2, w // 2, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(w // 2)
        self.maxpool3 = nn.MaxPool2d(2, (2, 1), (0, 1))
        self.layer3 = _layer(w // 2, w, 5)
        self.conv3 = nn.Conv2d(w, w, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(w)
        self.layer4 = _layer(w, w, 3)
        self.conv4_1 = nn.Conv2d(w, w, 2, (2, 1), (0, 1), bias=False)
        self.bn4_1 = nn.BatchNorm2d(w)
        self.conv4_2 = nn.Conv2d(w, w, 2, 1, 0, bias=False)
        self.bn4_2 = nn.BatchNorm2d(w)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn0_1(self.conv0_1(x)))
        x = torch.relu(self.bn0_2(self.conv0_2(x)))
        x = self.layer1(self.maxpool1(x))
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer2(self.maxpool2(x))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = self.layer3(self.maxpool3(x))
        x = self.layer4(torch.relu(self.bn3(self.conv3(x))))
        x = torch.relu(self.bn4_1(self.conv4_1(x)))
        return torch.relu(self.bn4_2(self.conv4_2(x)))


class TextRecognizer(nn.Module):
    """None-ResNet-None-CTC: pictures [N, 1, 32, 100] to logits [N, 26, 37]."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.FeatureExtraction = nn.Module()
        self.FeatureExtraction.ConvNet = ConvNet(width)
        self.Prediction = nn.Linear(width, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.FeatureExtraction.ConvNet(x)
        return self.Prediction(features.mean(2).transpose(1, 2))


def restore(state: Mapping[str, Any]) -> TextRecognizer:
    """Return the network of a state dict of NumPy arrays, as wide as that is, ready to infer."""
    network = TextRecognizer(state["Prediction.weight"].shape[1])
    network.load_state_dict({key: torch.from_numpy(array) for key, array in state.items()})
    return network.eval()
