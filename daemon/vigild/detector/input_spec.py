"""The input tensor a model takes, and which pixel values go into it.

    spec, note = decide(facts, color="rgb", resize="squash", mean=None, std=None)

Size, dtype and layout are read from the tensor. The normalisation, real = (p - mean) / std of a
pixel p in 0..255, comes from the first of these that says something:

1. `model.mean` and `model.std` of the configuration (or the manifest);
2. NormalizationOptions in the model's TFLite metadata;
3. the quantisation of an integer tensor: the range of real values it can hold tells whether the
   model was made for [-1, 1], [0, 1] or [0, 255];
4. the default of the TensorFlow SSD-MobileNets, (p - 127.5) / 127.5.

An 8-bit tensor then gets the raw byte, p (uint8) or p - 128 (int8), whenever that is what the
normalisation comes to within one count for every p. So the usual mean = std = 127.5 on a tensor of
scale 1/128 and zero point 128, which would shift bytes by up to one count, leaves them unchanged:
that tensor was calibrated on raw bytes. An 8-bit tensor with a range that is none of the three
gets raw bytes too, because its converter was given the range of real pixels.
"""

from __future__ import annotations

from typing import NamedTuple

from vigild.detector.errors import ModelError
from vigild.detector.facts import ModelFacts, TensorFacts
from vigild.tensor import CHANNELS, ITEM_BYTES, ColorOrder, Layout, Resize, TensorSpec

Triple = tuple[float, float, float]

DEFAULT_MEAN = DEFAULT_STD = (127.5, 127.5, 127.5)
"""tensorflow/models object_detection, ssd_mobilenet feature extractors: (2 / 255) * p - 1."""

MIN_SIDE, MAX_SIDE = 16, 4096
MAX_INPUT_BYTES = 32 * 2**20
"""An input of 1672 x 1672 float32. Each camera's ring holds several of it, on boards of 512 MiB."""
MAX_TENSOR_BYTES = 512 * 2**20
"""No tensor of an SSD-MobileNet comes near; allocating more could take the board down."""

_QUANT_RANGE = {"uint8": (0, 255), "int8": (-128, 127), "int16": (-32768, 32767)}
_RANGES: tuple[tuple[float, float, Triple, Triple], ...] = (
    (-1.0, 1.0, DEFAULT_MEAN, DEFAULT_STD),
    (0.0, 1.0, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    (0.0, 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
)
_RANGE_TOLERANCE = 0.15
"""Of the range's width, at each end: calibrators that average or clip give up to a tenth less."""


class Normalization(NamedTuple):
    mean: Triple
    std: Triple
    why: str


def triple(values: tuple[float, ...], what: str) -> Triple | None:
    """One value or three as three; None for none. Raises ModelError for another count or zero std."""
    if not values:
        return None
    if len(values) == 1:
        return (values[0],) * 3
    if len(values) != CHANNELS:
        raise ModelError("channels", f"{what} has {len(values)} values; expected one, or one per colour channel.")
    return (values[0], values[1], values[2])


def decide(
    facts: ModelFacts,
    color: ColorOrder,
    resize: Resize,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> tuple[TensorSpec, str]:
    """(spec, one line on size and normalisation for the log). Raises ModelError."""
    tensor = input_tensor(facts)
    width, height, layout = _geometry(tensor)
    norm = _normalization(facts, tensor, mean, std)
    scale, zero_point = (tensor.scale[0], tensor.zero_point[0]) if tensor.dtype != "float32" else (1.0, 0)
    if tensor.dtype in ("uint8", "int8"):
        raw = _raw_bytes(tensor.dtype, scale, zero_point)
        if norm is None:
            norm = raw._replace(why="raw bytes, as its range is none of the usual ones")
        elif _counts_apart(norm, raw, scale) <= 1.001:  # exactly 1 must pass in float32 scales
            norm = raw._replace(why=f"raw bytes, equal to {norm.why} within one count")
    elif norm is None:
        norm = Normalization(DEFAULT_MEAN, DEFAULT_STD, "the default (p - 127.5) / 127.5")
    spec = TensorSpec(
        width=width,
        height=height,
        dtype=tensor.dtype,  # type: ignore[arg-type]
        layout=layout,
        color=color,
        resize=resize,
        mean=norm.mean,
        std=norm.std,
        scale=scale,
        zero_point=zero_point,
    )
    quantised = f", scale {scale:.7g}, zero point {zero_point}" if tensor.dtype != "float32" else ""
    return spec, f"input {width}x{height} {tensor.dtype} {layout}{quantised}; pixels: {norm.why}"


def input_tensor(facts: ModelFacts) -> TensorFacts:
    """The only input. Raises ModelError."""
    if len(facts.inputs) != 1:
        names = ", ".join(facts.tensors[i].name for i in facts.inputs[:5])
        raise ModelError(
            "several_inputs",
            f"The model has {len(facts.inputs)} inputs ({names}); a detector takes one image and nothing else.",
        )
    tensor = facts.tensors[facts.inputs[0]]
    if tensor.dtype not in ITEM_BYTES:
        raise ModelError(
            "dtype",
            f"The model's input is {tensor.dtype}; uint8, int8, int16 and float32 can be fed. Convert it again.",
        )
    if tensor.dtype != "float32" and not (len(tensor.scale) == len(tensor.zero_point) == 1 and tensor.scale[0] > 0):
        raise ModelError(
            "dtype",
            f"The model's {tensor.dtype} input has no scale and zero point, so what its numbers mean is unknown; "
            "convert it again with full quantisation.",
        )
    return tensor


def check_sizes(facts: ModelFacts) -> None:
    """Refuse tensors that no board could hold. Raises ModelError."""
    for tensor in facts.tensors:
        if tensor.size * ITEM_BYTES.get(tensor.dtype, 1) > MAX_TENSOR_BYTES:
            raise ModelError(
                "huge",
                f"The model's tensor {tensor.name!r} of shape {list(tensor.shape)} takes over "
                f"{MAX_TENSOR_BYTES // 2**20} MiB; no board of this class could run it.",
            )


def _geometry(tensor: TensorFacts) -> tuple[int, int, Layout]:
    shape = tensor.shape
    expected = "expected [1, height, width, 3] or [1, 3, height, width]"
    if len(shape) != 4 or shape[0] not in (1, -1):
        raise ModelError("shape", f"The model's input has the shape {list(shape)}; {expected}.")
    if shape[3] == CHANNELS:
        layout: Layout = "NHWC"
        height, width = shape[1], shape[2]
    elif shape[1] == CHANNELS:
        layout = "NCHW"
        height, width = shape[2], shape[3]
    else:
        channels = shape[3] if shape[3] in (1, 2, 4) else shape[1]
        raise ModelError(
            "channels",
            f"The model's input of shape {list(shape)} has {channels} channels; {expected}: three colour channels.",
        )
    if -1 in (height, width):
        raise ModelError(
            "shape", f"The model's input size is left open (shape {list(shape)}); convert it with a fixed size."
        )
    if max(width, height) > MAX_SIDE or width * height * CHANNELS * ITEM_BYTES[tensor.dtype] > MAX_INPUT_BYTES:
        raise ModelError(
            "huge",
            f"The model's input of {width}x{height} {tensor.dtype} is too large; a side may have {MAX_SIDE} pixels "
            f"and the tensor {MAX_INPUT_BYTES // 2**20} MiB.",
        )
    if min(width, height) < MIN_SIDE:
        raise ModelError("shape", f"The model's input of {width}x{height} is too small for an image; {expected}.")
    return width, height, layout


def _normalization(
    facts: ModelFacts, tensor: TensorFacts, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Normalization | None:
    """What is said about the normalisation, by the first source that says it; None when none does."""
    if mean is not None or std is not None:
        return _given(mean or DEFAULT_MEAN, std or DEFAULT_STD, "model.mean and model.std of the configuration")
    described = facts.metadata.inputs[0] if facts.metadata and facts.metadata.inputs else None
    if described is not None and described.mean and described.std and all(described.std):
        return _given(described.mean, described.std, "the model's metadata")
    if tensor.dtype == "float32":
        return None
    low, high = _QUANT_RANGE[tensor.dtype]
    scale, zero_point = tensor.scale[0], tensor.zero_point[0]
    real_low, real_high = scale * (low - zero_point), scale * (high - zero_point)
    for least, most, mean_, std_ in _RANGES:
        slack = _RANGE_TOLERANCE * (most - least)
        if abs(real_low - least) <= slack and abs(real_high - most) <= slack:
            return Normalization(mean_, std_, f"[{least:g}, {most:g}] from the quantisation")
    return None


def _given(mean: tuple[float, ...], std: tuple[float, ...], origin: str) -> Normalization:
    means, stds = triple(mean, f"The mean of {origin}"), triple(std, f"The std of {origin}")
    if means is None or stds is None or not all(stds):
        raise ModelError("channels", f"The normalisation of {origin} needs a mean and a std that is not 0.")
    spelt = f"{mean[0]:g} / {std[0]:g}" if len(mean) == len(std) == 1 else f"{list(mean)} / {list(std)}"
    return Normalization(means, stds, f"mean / std {spelt} from {origin}")


def _raw_bytes(dtype: str, scale: float, zero_point: int) -> Normalization:
    """The normalisation under which the tensor holds p (uint8) or p - 128 (int8)."""
    mean = float(zero_point + (128 if dtype == "int8" else 0))
    return Normalization((mean,) * 3, (1.0 / scale,) * 3, "")


def _counts_apart(a: Normalization, b: Normalization, scale: float) -> float:
    """Largest difference of two normalisations over all pixel values, in counts of the tensor."""
    return max(
        abs((p - am) / asd - (p - bm) / bsd) / scale
        for am, asd, bm, bsd in zip(a.mean, a.std, b.mean, b.std, strict=True)
        for p in (0, 255)
    )
