"""Compare recipes for few photographs: train AlexNet on several folds by each candidate, on a GPU if there is one.

python docs/results/search.py IMAGES docs/results/search.jsonl --output found.jsonl

IMAGES is a folder with labels.csv, as `prepare-data` writes it, of which only the splits train and val are read, never
test: together they are cut into folds, and a candidate is trained once for each fold, on all the others. A candidate is
a line of the plan, the JSON of those `Settings` that are not the defaults; a line is added to OUTPUT for each. Needs
PyTorch, NumPy and Pillow, nothing of this project. `--only 1` trains one fold, to try it without a GPU.

The network is a twin of paddle2 or owt in bfloat16, near enough to compare recipes. What differs: LRN at the first and
last channels, where paddle2 divides by fewer; owt reads 227×227, not 224×224 with a border, and its first weights are
drawn as those of paddle2; a random part may begin between two pixels.
"""

import argparse
import copy
import csv
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
SIZE, RESIZE, CLASSES = 227, 256, 10  # what the network reads, and of what, when it is evaluated, that is the center
CHANNELS = {"paddle2": (96, 256, 384, 384, 256), "owt": (64, 192, 384, 256, 256)}
INITS = ("none", "channel", "kmeans1", "kmeans")
DROPOUT, JITTER, SMOOTHING = 0.5, 0.4, 0.1
FIRST_IMAGES = 256  # that first weights are found in
NUMBERS = 40  # drawn for each image and step; not all are used, but a seed stands for what was drawn in the search
MEAN = torch.tensor([0.485, 0.456, 0.406], device=DEVICE).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225], device=DEVICE).view(1, 3, 1, 1)
GRAY = torch.tensor([0.299, 0.587, 0.114], device=DEVICE).view(1, 3, 1, 1)


@dataclass(frozen=True)
class Settings:
    """A candidate. What is not here is the same for all."""

    net: str = "paddle2"  # or owt: one column of fewer filters, without LRN
    init: str = "none"  # channel: outputs scaled; kmeans1, kmeans: filters found too, of the first or all convolutions
    ridge: float = 1.0  # of the whitening, in mean variances of a patch's values
    patches: int = 8000  # in which a convolution's filters are found
    iters: int = 5  # of k-means
    batch: int = 64
    lr: float = 5e-4
    wd: float = 0.05  # AdamW's, of weights but not of biases
    warmup: float = 5.0  # epochs of a line up, then half a cosine down to 0
    epochs: int = 60
    ema: float = 0.99  # decay of the weights' average, which is evaluated
    area: float = 0.25  # the least share of an image that a random part has
    area_end: Optional[float] = None  # what that becomes, step by step
    cutmix: float = 0.0  # the probability that a batch is mixed
    seed: int = 0  # of the folds and all that is drawn

    def __post_init__(self) -> None:
        if self.net not in CHANNELS or self.init not in INITS:
            raise ValueError(f"net is one of {', '.join(CHANNELS)}, init one of {', '.join(INITS)}: {self}")


class Network(nn.Module):
    """AlexNet, with weights after He (convolutions) and Glorot as Paddle draws them, and biases of 0."""

    def __init__(self, net: str) -> None:
        super().__init__()
        self.with_lrn = net == "paddle2"
        a, b, c, d, e = CHANNELS[net]
        convs = [
            nn.Conv2d(3, a, 11, stride=4),
            nn.Conv2d(a, b, 5, padding=2, groups=2 if net == "paddle2" else 1),
            *(nn.Conv2d(channels, filters, 3, padding=1) for channels, filters in ((b, c), (c, d), (d, e))),
        ]
        linears = [nn.Linear(9216, 4096), nn.Linear(4096, 4096), nn.Linear(4096, CLASSES)]
        for conv in convs:
            fan_in = conv.in_channels * conv.kernel_size[0] ** 2  # of both groups, as Paddle counts
            nn.init.normal_(conv.weight, 0, math.sqrt(2 / fan_in))
        for linear in linears:
            nn.init.xavier_uniform_(linear.weight)
        self.layers = nn.ModuleList([*convs, *linears])
        for layer in self.layers:
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, drawn: Optional[Tensor] = None, *, upto: int = 8) -> Tensor:
        """Images [N, 3, 227, 227] to logits [N, 10], or to what layer `upto` of 0..7 reads.

        Dropout is where `drawn`, uniform [2, N, 4096], is given.
        """
        for n, layer in enumerate(self.layers[:upto]):
            x = layer(x)
            if n < 7:
                x = F.relu(x)
            if n < 2 and self.with_lrn:
                x = lrn(x)
            if n in (0, 1, 4):
                x = F.max_pool2d(x, 3, 2)
            if n == 4:
                x = x.flatten(1)
            if n in (5, 6) and drawn is not None:
                x = x * ((drawn[n - 5] > DROPOUT).to(x.dtype) / (1 - DROPOUT))
        return x


def lrn(x: Tensor, *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75) -> Tensor:
    """Local response normalization of [N, C, H, W] by the mean of `size` channels, which a band matrix sums fast."""
    channel = torch.arange(x.shape[1], device=DEVICE)
    band = ((channel[:, None] - channel).abs() <= size // 2).to(x.dtype)
    total = F.conv2d(x * x, band[:, :, None, None])
    return x * ((1 + alpha / size * total.float()) ** -beta).to(x.dtype)


@torch.no_grad()
def find_first_weights(network: Network, image: Tensor, settings: Settings) -> None:
    """Set the weights by what the network makes of images [N, 3, 227, 227], from the first layer to the last.

    Filters are found by k-means where that is asked for; then each output is scaled and shifted to a mean of 0 and a
    standard deviation of 1 over the images, the logits together to one of 1/3.
    """
    for n, layer in enumerate(network.layers):
        x = network(image, upto=n)
        if n < 5 and (settings.init == "kmeans" or (settings.init == "kmeans1" and n == 0)):
            clusters = layer.out_channels // layer.groups
            parts = x.chunk(layer.groups, dim=1)
            filters = [cluster(patches_of(part, layer, settings.patches), clusters, settings) for part in parts]
            layer.weight.copy_(torch.cat(filters).view(layer.weight.shape))
        y = layer(x)
        axes = (0, 2, 3) if n < 5 else (0,)
        mean, deviation = (y.mean(axes), y.std(axes) + 1e-5) if n < 7 else (y.mean(), 3 * y.std())
        scale = 1 / deviation
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.copy_((layer.bias - mean) * scale)


def patches_of(x: Tensor, conv: nn.Module, number: int) -> Tensor:
    """What a convolution's filters see of x [N, C, H, W] at random places, of each image as many, [number, C · k²]."""
    patches = []
    for one in x.split(1):
        seen = F.unfold(one, conv.kernel_size, padding=conv.padding, stride=conv.stride)[0].T  # [places, C · k²]
        patches.append(seen[torch.randint(len(seen), (max(1, number // len(x)),), device=DEVICE)])
    return torch.cat(patches)


def cluster(patches: Tensor, clusters: int, settings: Settings) -> Tensor:
    """Filters [clusters, D] by spherical k-means of patches [n, D] whitened by the Cholesky root of their covariance.

    A filter is what measures how near a patch, once it is whitened, is to a center of unit length.
    """
    patches = patches - patches.mean(0)
    covariance = patches.T @ patches / len(patches)
    size = len(covariance)
    ridge = settings.ridge * covariance.trace() / size * torch.eye(size, device=DEVICE)
    root = torch.linalg.cholesky(covariance + ridge)
    points = unit(torch.linalg.solve_triangular(root, patches.T, upper=False).T)
    centers = unit(points[torch.randperm(len(points), device=DEVICE)[:clusters]])
    for _ in range(settings.iters):
        nearest = (points @ centers.T).argmax(1)
        sums = torch.zeros_like(centers).index_add_(0, nearest, points)
        empty = sums.norm(dim=1) < 1e-6
        if empty.any():
            sums[empty] = points[torch.randperm(len(points), device=DEVICE)[: int(empty.sum())]]
        centers = unit(sums)
    return torch.linalg.solve_triangular(root.T, centers.T, upper=True).T


def unit(rows: Tensor) -> Tensor:
    return rows / (rows.norm(dim=1, keepdim=True) + 1e-6)


def sample(image: Tensor, theta: Tensor) -> Tensor:
    """Parts of images [N, 3, H, W], bilinearly as [N, 3, 227, 227]; theta [N, 2, 3] as `affine_grid` has it."""
    grid = F.affine_grid(theta, [len(image), 3, SIZE, SIZE], align_corners=False)
    return F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def augment(image: Tensor, numbers: Tensor, area: Tensor) -> Tensor:
    """Random parts of images [N, 3, H, W] of 0..1, mirrored or not, in other colors, normalized: [N, 3, 227, 227].

    By uniform `numbers` [N, 40]. A part is the first of ten attempts that fits, of the share `area` to 1 and of 3:4 to
    4:3. Levels are clipped once, after brightness, contrast and saturation.
    """
    share = area + (1 - area) * numbers[:, 0:10]
    ratio = torch.exp(math.log(4 / 3) * (2 * numbers[:, 10:20] - 1))
    width, height = torch.sqrt(share * ratio), torch.sqrt(share / ratio)  # [N, 10], the image's are 1
    first = ((width <= 1) & (height <= 1)).float().argmax(1, keepdim=True)
    width, height = (side.gather(1, first)[:, 0].clamp(max=1) for side in (width, height))
    across, down = (2 * numbers[:, 20] - 1) * (1 - width), (2 * numbers[:, 21] - 1) * (1 - height)
    mirror, zero = torch.where(numbers[:, 22] < 0.5, -1.0, 1.0), torch.zeros_like(width)
    y = sample(image, torch.stack([width * mirror, zero, across, zero, height, down], 1).view(-1, 2, 3))
    brightness, contrast, saturation = (1 + JITTER * (2 * numbers[:, 24:27] - 1)).T[:, :, None, None, None]
    y = y * brightness
    mean_gray = (y * GRAY).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    y = mean_gray + contrast * (y - mean_gray)
    gray = (y * GRAY).sum(1, keepdim=True)
    y = (gray + saturation * (y - gray)).clamp(0, 1)
    return (y - MEAN) / STD


def cutmix_box(numbers: Tensor, probability: float) -> Tensor:
    """[227, 227], 1 in a square anywhere, else 0; by uniform `numbers` [4]: 1 less its area, left, top, whether."""
    side = torch.sqrt(1 - numbers[0])
    left, top = numbers[1] * (1 - side), numbers[2] * (1 - side)
    at = (torch.arange(SIZE, device=DEVICE) + 0.5) / SIZE
    across, down = (at >= left) & (at < left + side), (at >= top) & (at < top + side)
    return (across & down[:, None] & (numbers[3] < probability)).float()


class Fold:
    """The training on all of images [n, 3, H, W] but those `held` back, bool [n], which are evaluated.

    On a GPU a step is a CUDA graph on a stream of its own: that of one fold is too small to fill a GPU.
    """

    def __init__(self, image: Tensor, label: Tensor, held: Tensor, settings: Settings, *, seed: int) -> None:
        torch.manual_seed(1000 * seed + 17)
        self.rng = np.random.default_rng(seed)
        self.image, self.label, self.settings = image, label, settings
        self.train, self.val = torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]
        self.steps, self.updates = -(-len(self.train) // settings.batch), 0  # in an epoch; so far
        self.network = Network(settings.net).to(DEVICE, memory_format=torch.channels_last)
        # What a graph reads has to stay where it is: these are filled anew for each step.
        self.rows = torch.zeros(settings.batch, dtype=torch.long, device=DEVICE)
        self.uniform = torch.zeros(settings.batch * (NUMBERS + 2 * 4096), device=DEVICE)
        self.area, self.decay = torch.tensor(settings.area, device=DEVICE), torch.zeros((), device=DEVICE)
        if settings.init != "none":
            numbers = torch.rand(FIRST_IMAGES, NUMBERS, device=DEVICE)
            some = self.train[torch.randperm(len(self.train), device=DEVICE)[:FIRST_IMAGES]]
            find_first_weights(self.network, augment(image[some].float() / 255, numbers, self.area), settings)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        weights, biases = ([getattr(layer, kind) for layer in self.network.layers] for kind in ("weight", "bias"))
        groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": settings.wd}, {"params": biases}]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True, capturable=GPU)
        for group in self.optimizer.param_groups:
            group["lr"] = torch.zeros((), device=DEVICE)
        self.stream = torch.cuda.Stream() if GPU else None
        self.graph = self._capture() if GPU else None

    def _capture(self) -> Any:
        """`_compute` as a CUDA graph, after steps at a learning rate of 0, which AdamW is then made to forget."""
        torch.cuda.synchronize()
        with torch.cuda.stream(self.stream):
            for _ in range(2):
                self._compute()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=self.stream):
            self._compute()
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        return graph

    def shuffle(self) -> None:
        """Draw the order of an epoch; its last batch is filled up from a second order."""
        order = np.concatenate([self.rng.permutation(len(self.train)), self.rng.permutation(len(self.train))])
        self.order = self.train[torch.from_numpy(order[: self.steps * self.settings.batch]).to(DEVICE)]

    def step(self, n: int, done: float) -> None:
        """Train on batch n of the epoch; of the whole training the share `done` is over."""
        settings, warmup = self.settings, self.settings.warmup / self.settings.epochs
        factor = done / warmup if done < warmup else (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2
        self.updates += 1
        with torch.cuda.stream(self.stream):  # without a GPU that is nothing
            for group in self.optimizer.param_groups:
                group["lr"].fill_(settings.lr * factor)
            self.decay.fill_(min(settings.ema, (1 + self.updates) / (10 + self.updates)))
            if settings.area_end is not None:
                self.area.fill_(settings.area + (settings.area_end - settings.area) * done)
            self.uniform.uniform_()
            self.rows.copy_(self.order[n * settings.batch : (n + 1) * settings.batch])
            if self.graph:
                self.graph.replay()
            else:
                self._compute()

    def _compute(self) -> None:
        batch, mixed = self.settings.batch, self.settings.cutmix
        numbers = self.uniform[: batch * NUMBERS].view(batch, NUMBERS)
        drawn = self.uniform[batch * NUMBERS :].view(2, batch, 4096)
        x = augment(self.image[self.rows].float() / 255, numbers, self.area)
        target = F.one_hot(self.label[self.rows], CLASSES).float()
        if mixed:  # each image with that at the other end of the batch
            box = cutmix_box(numbers[0, 33:37], mixed)
            x = x * (1 - box) + x.flip(0) * box
            target = target * (1 - box.mean()) + target.flip(0) * box.mean()
        with torch.autocast(DEVICE.type, torch.bfloat16):
            logits = self.network(x.contiguous(memory_format=torch.channels_last), drawn)
        target = target * (1 - SMOOTHING) + SMOOTHING / CLASSES
        (-(F.log_softmax(logits.float(), 1) * target).sum(1).mean()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=False)
        with torch.no_grad():
            for average, parameter in zip(self.average.parameters(), self.network.parameters()):
                average.mul_(self.decay).add_(parameter * (1 - self.decay))

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        """The mean loss and the top-1 of the averaged weights on the centers of the images held back, [2]."""
        scale = SIZE / RESIZE
        theta = torch.tensor([[scale, 0, 0], [0, scale, 0]], device=DEVICE).expand(len(self.val), 2, 3)
        with torch.autocast(DEVICE.type, torch.bfloat16):  # which rounds the pixels' places too, by 0.2 of one at most
            x = (sample(self.image[self.val].float() / 255, theta) - MEAN) / STD
            logits = self.average(x.contiguous(memory_format=torch.channels_last))
        probabilities, label = logits.float().softmax(1), self.label[self.val]
        loss = -torch.log(probabilities.gather(1, label[:, None]) + 1e-9).mean()
        return torch.stack([loss, (probabilities.argmax(1) == label).float().mean()])


def try_candidate(image: Tensor, label: Tensor, settings: Settings, *, folds: int, only: int) -> dict[str, Any]:
    """Train the first `only` of the folds side by side: means over them.

    `top1` and `loss` are of the epoch that has the lowest loss on the fold itself, of the last three quarters of the
    epochs, so they are a little too good; `top1_last` is the mean of the last five epochs.
    """
    began = time.perf_counter()
    fold_of = torch.from_numpy(cut_into_folds(label.cpu().numpy(), folds, seed=settings.seed)).to(DEVICE)
    trained = [Fold(image, label, fold_of == n, settings, seed=100 * settings.seed + n) for n in range(only)]
    steps, history = trained[0].steps, []
    for epoch in range(settings.epochs):
        for fold in trained:
            fold.shuffle()
        synchronize()
        for n in range(steps):
            for fold in trained:
                fold.step(n, (epoch + n / steps) / settings.epochs)
        synchronize()
        if epoch >= settings.epochs // 4:
            history.append(torch.stack([fold.evaluate() for fold in trained]))
    loss, top1 = torch.stack(history).cpu().numpy().transpose(2, 1, 0)  # each [folds, epochs]
    best = loss.argmin(axis=1)
    return {
        "top1": round(float(top1[range(only), best].mean()), 4),
        "top1_last": round(float(top1[:, -5:].mean()), 4),
        "loss": round(float(loss[range(only), best].mean()), 4),
        "top1_of_folds": [round(float(each), 4) for each in top1[range(only), best]],
        "best_epochs": [int(each) + settings.epochs // 4 + 1 for each in best],
        "seconds": round(time.perf_counter() - began, 1),
    }


def cut_into_folds(label: np.ndarray, folds: int, *, seed: int) -> np.ndarray:
    """The fold of each image, int [n], as many of each class in each of them as can be."""
    rng, fold_of = np.random.default_rng(seed), np.empty(len(label), int)
    for each in range(CLASSES):
        rows = np.flatnonzero(label == each)
        rng.shuffle(rows)
        fold_of[rows] = np.arange(len(rows)) % folds
    return fold_of


def synchronize() -> None:
    if GPU:
        torch.cuda.synchronize()


def read_images(root: Path) -> tuple[Tensor, Tensor]:
    """The images of train and val by their filename, all of one size, uint8 [n, 3, H, W]; their labels, int64 [n]."""
    with open(root / "labels.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] in ("train", "val")]
    rows.sort(key=lambda row: row["filename"])
    names = sorted({row["label"] for row in rows})
    images = np.stack([np.asarray(Image.open(root / row["filename"]).convert("RGB")) for row in rows])
    label = torch.tensor([names.index(row["label"]) for row in rows], device=DEVICE)
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(DEVICE), label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", metavar="IMAGES", type=Path, help="a folder with labels.csv")
    parser.add_argument("plan", metavar="PLAN", type=Path, help="candidates, a line of JSON each")
    parser.add_argument("--output", type=Path, required=True, help="results are added here, a line of JSON each")
    parser.add_argument("--folds", type=int, default=8, help="that the images are cut into (8)")
    parser.add_argument("--only", type=int, metavar="N", help="train only the first N of the folds")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="begin no candidate that would end later")
    args = parser.parse_args()
    if args.output.resolve() == args.plan.resolve():
        parser.error("the results would be added to the plan")
    plan = [json.loads(line) for line in args.plan.read_text(encoding="utf-8").splitlines() if line.strip()]
    candidates = [Settings(**given) for given in plan]  # an unknown one is an error before the first is trained
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True

    began, took = time.perf_counter(), 0.0
    image, label = read_images(args.images)
    for given, settings in zip(plan, candidates):
        if args.limit and time.perf_counter() - began + 1.1 * took > args.limit:
            break
        result = try_candidate(image, label, settings, folds=args.folds, only=args.only or args.folds)
        took = result["seconds"]
        with open(args.output, "a", encoding="utf-8") as file:
            file.write(json.dumps({"settings": given, **result}) + "\n")
        text = " ".join(f"{key}={value}" for key, value in given.items()) or "defaults"
        figures = "{top1:.3f} top-1, {top1_last:.3f} in the last epochs, loss {loss:.3f}, {seconds:.0f} s"
        print(f"{figures.format(**result)}: {text}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
