"""Export a trained classifier to one file for other programs: ONNX, or ``.pt2``."""

import contextlib
import copy
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from lecture4.byhand.nn import with_layers
from lecture4.runs.locate import check_export
from lecture4.runs.predictor import Predictor
from lecture4.support.console import printable
from lecture4.support.files import write_atomically

TOLERANCE = 1e-5  # largest difference of a probability from the checkpoint's in float32


def write_model(predictor: Predictor, path: str | os.PathLike) -> str:
    """Write a predictor as ``.onnx`` or ``.pt2``; return a line that describes the file.

    The file computes raw inputs -> P(Y = k | x): uint8 images (N, C, H, W), or float32 points
    (N, D), of any N, to (N, K). It holds preprocessing, model (in float32, with torch's layers) and
    softmax, and the class names as a JSON list: ``class_names`` in the ONNX metadata,
    ``class_names.json`` in the ``.pt2``. It is run and compared with the predictor before it is
    written, atomically.

    Raises:
        ValueError: the suffix is unknown, packages are missing, or the file's probabilities would
            differ from the predictor's by more than ``TOLERANCE``.
        OSError: it cannot be written.
    """
    path = Path(path)
    check_export(path)
    formats = {".onnx": _onnx, ".pt2": _pt2}
    own = nn.Sequential(copy.deepcopy(predictor.pipeline), nn.Softmax(1)).eval()
    own.to("cpu", torch.float32)
    inputs = [_examples(n, predictor.input_shape) for n in (1, 2, 7)]
    if path.suffix == ".onnx":
        _check_packages()
    names = json.dumps(predictor.class_names)
    try:
        with torch.no_grad(), _silence():
            content, written = formats[path.suffix](with_layers(own, nn), inputs[1], names)
            apart = max((written(x) - own(x)).abs().max().item() for x in inputs)
    except Exception as error:  # exporters fail in many ways, and at great length
        while error.__cause__ is not None:
            error = error.__cause__
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ValueError(f"{printable(path)} is not written: {printable(reason):.200}") from error
    if not apart <= TOLERANCE:
        raise ValueError(
            f"{printable(path)} is not written: its probabilities would differ by {apart:.1e} from "
            f"the checkpoint's"
        )
    write_atomically(path, content)
    kind = "uint8 images" if inputs[0].dtype == torch.uint8 else "float32 points"
    shape = ", ".join(map(str, predictor.input_shape))
    return (
        f"{printable(path)}: {kind} (N, {shape}) -> probabilities "
        f"(N, {len(predictor.class_names)}), at most {apart:.1g} from the checkpoint's in float32"
    )


def _examples(n: int, shape: tuple[int, ...]) -> torch.Tensor:
    draw = torch.Generator().manual_seed(n)
    if len(shape) == 3:
        return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=draw)
    return torch.randn(n, *shape, generator=draw)


Written = Callable[[torch.Tensor], torch.Tensor]  # runs the exported file


def _check_packages() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "--export to .onnx needs extra packages: pip install -e '.[export]'"
        ) from error


def _onnx(module: nn.Module, inputs: torch.Tensor, class_names: str) -> tuple[bytes, Written]:
    import onnxruntime
    from onnxscript import opset18 as op

    def hypot(x, y):  # preprocess.Polar needs it, and ONNX lacks it
        return op.Sqrt(op.Add(op.Mul(x, x), op.Mul(y, y)))

    program = torch.onnx.export(
        module,
        (inputs,),
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes=({0: torch.export.Dim("N")},),
        custom_translation_table={torch.ops.aten.hypot.default: hypot},
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props["class_names"] = class_names
    content = program.model_proto.SerializeToString()
    quietly = onnxruntime.SessionOptions()
    quietly.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, quietly, providers=["CPUExecutionProvider"])
    return content, lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0])


def _pt2(module: nn.Module, inputs: torch.Tensor, class_names: str) -> tuple[bytes, Written]:
    program = torch.export.export(module, (inputs,), dynamic_shapes=({0: torch.export.Dim("N")},))
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"class_names.json": class_names})
    content = file.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence what torch prints, logs and warns while it exports; errors are raised."""
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(logging.NOTSET)
