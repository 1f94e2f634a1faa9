"""A small convolutional network for 28 × 28 grey images in ten classes.

`build.py` trains it. A variant names it as `cnn.py:digits_cnn`, with the option `weights` for what training gave.
All widths are multiples of 16, which is what vector units like and what structured pruning keeps to.
"""

from torch import Tensor, nn


class DigitsCnn(nn.Module):
    """Three convolutions, two poolings, two dense layers; 408,538 parameters, 22 million multiplications an image."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.MaxPool2d(2),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64 * 7 * 7, 112), nn.ReLU(), nn.Linear(112, 10))

    def forward(self, image: Tensor) -> Tensor:
        """Class scores, shape (n, 10), of images in [0, 1], shape (n, 1, 28, 28)."""
        scores: Tensor = self.head(self.features(image))
        return scores


def digits_cnn() -> DigitsCnn:
    """The network, untrained."""
    return DigitsCnn()
