"""IR50, the 50-layer face recognition network of face.evoLVe, with a classifier on its embedding.

The paper's best figure on FERPlus (Table 7) has it for a backbone. Modules are named as in face.evoLVe's
checkpoints (github.com/ZhaoJ9014/face.evoLVe, backbone/model_irse.py, MIT), so that these load.
"""

from torch import Tensor, nn

from scn_fastai.errors import SettingsError

SIZES = (112, 224)
# Channels and units of the four stages; the first unit of each halves height and width.
STAGES = ((64, 3), (128, 4), (256, 14), (512, 3))
EMBEDDING = 512


class IRUnit(nn.Module):
    """One residual unit: x -> shortcut(x) + BN(conv_s(PReLU(conv(BN(x))))), both convolutions 3 x 3.

    The shortcut takes every ``stride``-th pixel where the channels stay, else a 1 x 1 convolution and BN.
    """

    def __init__(self, channels: int, out: int, stride: int):
        super().__init__()
        if channels == out:
            self.shortcut_layer = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False),
                nn.BatchNorm2d(out),
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, out, 3, 1, 1, bias=False),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, out, H / stride, W / stride]."""
        return self.shortcut_layer(x) + self.res_layer(x)


class IR50(nn.Module):
    """Faces ``[B, 3, size, size]``, normalised to -1..1, to logits ``[B, C]``; size is 112 or 224.

    There is no pooling over the last feature map (512 x 7 x 7 at 112 px): one Linear layer takes it whole to the
    embedding of 512 numbers, which the classifier and the importance head are given.

    Raises:
        SettingsError: another size.

    >>> import torch
    >>> with torch.device("meta"):  # shapes without memory
    ...     network = IR50(8)
    >>> sum(p.numel() for p in network.parameters()) - 8 * 513  # without the classifier
    43574976
    """

    def __init__(self, n_classes: int, size: int = 112, dropout: float = 0.5):
        super().__init__()
        if size not in SIZES:
            raise SettingsError(f"IR50 takes faces of 112 or 224 px, not {size}: use 'ir50' or 'ir50:224'.")
        self.size = size
        self.input_layer = nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))
        units, channels = [], 64
        for out, count in STAGES:
            units += [IRUnit(channels, out, 2), *(IRUnit(out, out, 1) for _ in range(count - 1))]
            channels = out
        self.body = nn.Sequential(*units)
        cells = (size // 16) ** 2
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(channels * cells, EMBEDDING),
            nn.BatchNorm1d(EMBEDDING),
        )
        self.classifier = nn.Linear(EMBEDDING, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch."""
        if tuple(x.shape[-2:]) != (self.size, self.size):
            raise SettingsError(
                f"This IR50 takes faces of {self.size} x {self.size} px, not {x.shape[-2]} x {x.shape[-1]}: resize "
                f"them (--size {self.size})."
            )
        return self.classifier(self.output_layer(self.body(self.input_layer(x))))
