"""Small nets of every kind, and the page that looks inside one, open in a browser."""

import torch
from torch import nn

from lecture4.data.preprocess import ChannelMean, ChannelStandardize, FullScale, MeanImage
from lecture4.lesson.page.look_inside import describe
from lecture4.models import MLP, ConvNet, SoftmaxClassifier
from lecture4.models.activations import ACTIVATIONS
from lecture4.models.pipeline import Pipeline

CLASSES = [
    "cat",
    "</script><b>&\"x'",
    "a very long name of a class that nobody shortens" * 2,
    "dog",
]
BATCH = {"channels": 5, "padding": 1, "norm": "batch"}


def convnet(*blocks, **settings):
    return lambda shape: ConvNet(shape, len(CLASSES), list(blocks), **settings)


NETS = {
    "softmax": (lambda shape: SoftmaxClassifier(shape, 4, init="he"), ChannelMean),
    "no hidden layer": (lambda shape: MLP(shape, 4, []), MeanImage),
    "mlp of principal components": (lambda shape: MLP(shape, 4, [9], whiten=20), MeanImage),
    "mlp": (lambda shape: MLP(shape, 4, [9, 7], "tanh", dropout=0.5), ChannelStandardize),
    "as the default": (convnet({**BATCH, "pool": {}}, BATCH), ChannelStandardize),
    "pairs": (
        convnet({"channels": 6, "kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 0]}),
        FullScale,
    ),
    "average pooling": (
        convnet({"channels": 3, "pool": {"kind": "avg", "kernel_size": [3, 2], "stride": [2, 3],
                                         "padding": 1}}, head="max"),
        ChannelMean,
    ),
    "padded pooling": (
        convnet({"channels": 3, "kernel_size": 5, "padding": 2, "stride": 3,
                 "pool": {"kernel_size": 3, "stride": 1, "padding": 1}}, head="flatten"),
        MeanImage,
    ),
    "residual": (
        convnet(BATCH, {**BATCH, "residual": True, "activation": "gelu", "norm": {"scale": False}},
                {**BATCH, "residual": True, "frozen": True, "init": "dirac"}, head_bias=False),
        ChannelMean,
    ),
    "whitened": (
        convnet({"channels": 8, "kernel_size": 2, "init": "whiten", "frozen": True}, dropout=0.5),
        ChannelStandardize,
    ),
    "large": (convnet({"channels": 4, "init": "large"}, init="large"), FullScale),
    **{
        name: (convnet({"channels": 4, "pool": {}, "activation": name}), ChannelMean)
        for name in ACTIVATIONS
    },
}  # fmt: skip


def some_images(n=40, shape=(3, 9, 11)):
    """Neighbouring pixels are alike, as in images."""
    draw = torch.Generator().manual_seed(3)
    coarse = torch.rand(n, shape[0], 3, 3, generator=draw)
    images = nn.functional.interpolate(coarse, size=shape[1:], mode="bilinear")
    return (256 * images).to(torch.uint8)


def fitted(make, preprocess, shape=(3, 9, 11)):
    """A net with weights, biases and statistics that are none of the initial ones."""
    images = some_images(shape=shape)
    prepare = preprocess(shape).fit(images)
    model = make(shape)
    if isinstance(model, ConvNet | MLP):
        model.fit([prepare(images)])
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.copy_(torch.randn(tensor.shape, generator=draw) / 2)
            elif name.endswith(("running_var", "norm.weight")):
                tensor.copy_(torch.rand(tensor.shape, generator=draw) + 0.3)
    return Pipeline(prepare, model).eval()


def described(pipeline, shape=(3, 9, 11)):
    return describe(pipeline, CLASSES, [(f"{i}", x) for i, x in enumerate(some_images(2, shape))])


class Opened:
    """A page that is open, and what the browser complained about."""

    def __init__(self, browser, path, width=1400, **options):
        self.errors, self.requests = [], []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.page.on(
            "console", lambda m: m.type in ("error", "warning") and self.errors.append(m.text)
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=true]")
        self.image = self.page.locator(".input canvas")
        self.detail = self.page.locator(".detail")

    def maps(self, layer):
        return self.page.locator(".stack .over").nth(layer)

    def scores(self):
        return torch.tensor(self.page.evaluate("[...inside.state.outputs.at(-1)]"))

    def pixels(self, name="image"):
        return torch.tensor(self.page.evaluate(f"[...inside.state.{name}]"))

    def chosen(self):
        return self.page.evaluate("({ l: inside.state.l, ...inside.state.at })")

    def spoken(self):
        return self.page.locator("#inside-spoken").text_content()

    def close(self):
        assert not self.errors, self.errors
        self.page.close()


SHAPE = (3, 12, 12)
