"""Tensor settings: how a network's numbers are kept and computed, each declared in one place.

    setting = parse("int8-nchw")
    setting.scheme.meaning
    SETTINGS                           # what `forge variants` makes unless told otherwise

A name is a scheme, and behind it what differs from the usual: `-nchw` (planar input), `-float` (float32
input and outputs of an integer network), `-raw` (box codes and scores, without the post-process op).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forge.errors import ForgeError

if TYPE_CHECKING:
    from ai_edge_quantizer import quantizer


def _float16(maker: quantizer.Quantizer) -> None:
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    maker.add_weight_only_config(".*", _operation("ALL_SUPPORTED"), 16, algorithm_key=AlgorithmName.FLOAT_CASTING)


def _recipe(name: str) -> Callable[[quantizer.Quantizer], None]:
    """One of ai-edge-quantizer's own."""

    def plan(maker: quantizer.Quantizer) -> None:
        from ai_edge_quantizer import recipe

        maker.load_quantization_recipe(getattr(recipe, name)())

    return plan


def _dynamic(operation: str, granularity: str) -> Callable[[quantizer.Quantizer], None]:
    return lambda maker: maker.add_dynamic_config(".*", _operation(operation), 8, _granularity(granularity))


def _static_per_tensor(maker: quantizer.Quantizer) -> None:
    maker.add_static_config(".*", _operation("ALL_SUPPORTED"), 8, 8, _granularity("TENSORWISE"))


def _operation(name: str) -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.TFLOperationName[name]


def _granularity(name: str) -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.QuantGranularity[name]


@dataclass(frozen=True)
class Scheme:
    """How weights and activations are kept."""

    name: str
    meaning: str
    plan: Callable[[quantizer.Quantizer], None] | None = None
    """Tells ai-edge-quantizer what to do; None: nothing is to be done, or another tool does it."""
    activation_bits: int = 0
    """Of activations with ranges fixed by calibration; 0: float32, or ranges found at every invoke."""
    per_channel: bool = True
    """Whether each channel's weights have a scale of their own."""
    input_dtype: str = ""
    """Of an input that is neither float32 nor signed."""


SCHEMES = (
    Scheme("float32", "32-bit floats everywhere"),
    Scheme("float16", "weights as 16-bit floats, made 32-bit at loading; computed in 32 bits", _float16),
    Scheme(
        "weight-only",
        "weights int8 per channel, made 32-bit floats at loading; computed in 32 bits",
        _recipe("weight_only_wi8_afp32"),
    ),
    Scheme(
        "dynamic",
        "dynamic range on CONV_2D: weights int8 per channel, activations made int8 at every invoke by their range then",
        _dynamic("CONV_2D", "CHANNELWISE"),
    ),
    Scheme(
        "dynamic-all",
        "dynamic range on every operator that has it, depthwise convolutions too",
        _recipe("dynamic_wi8_afp32"),
    ),
    Scheme(
        "dynamic-tensor",
        "dynamic range with one scale for all of a tensor's weights, depthwise convolutions too: known to give garbage",
        _dynamic("ALL_SUPPORTED", "TENSORWISE"),
    ),
    Scheme(
        "int8",
        "weights int8 with a scale per channel, activations int8 with ranges from calibration",
        _recipe("static_wi8_ai8"),
        activation_bits=8,
    ),
    Scheme(
        "int8-tensor",
        "as int8, but one scale for all of a tensor's weights",
        _static_per_tensor,
        activation_bits=8,
        per_channel=False,
    ),
    Scheme(
        "int16x8",
        "weights int8 with a scale per channel, activations int16 with ranges from calibration",
        _recipe("static_wi8_ai16"),
        activation_bits=16,
    ),
)


@dataclass(frozen=True)
class Setting:
    """A scheme and how the network meets its caller."""

    scheme: Scheme
    nchw: bool = False
    """The input is [1, 3, H, W] instead of [1, H, W, 3]."""
    float_io: bool = False
    """An integer network takes and gives float32; its first operator quantises."""
    raw: bool = False
    """Box codes and scores, without the post-process op."""

    @property
    def name(self) -> str:
        """What `--only` and the manifest call it."""
        flags = [flag for flag, field in _FLAGS.items() if getattr(self, field)]
        return "-".join([self.scheme.name, *flags])

    @property
    def meaning(self) -> str:
        """In words."""
        extra = [text for field, text in _FLAG_MEANINGS.items() if getattr(self, field)]
        return "; ".join([self.scheme.meaning, *extra])

    @property
    def input_dtype(self) -> str:
        """Of the input tensor."""
        if self.float_io or not self.needs_calibration:
            return "float32"
        return self.scheme.input_dtype or f"int{self.scheme.activation_bits}"

    @property
    def needs_calibration(self) -> bool:
        """Whether ranges have to be observed on pictures."""
        return self.scheme.activation_bits > 0


_FLAGS = {"nchw": "nchw", "float": "float_io", "raw": "raw"}
_FLAG_MEANINGS = {
    "nchw": "planar input, one TRANSPOSE in front",
    "float_io": "float32 input and outputs",
    "raw": "without the post-process op",
}


def parse(name: str, schemes: Sequence[Scheme] = SCHEMES) -> Setting:
    """The setting of that name. Raises ForgeError."""
    fitting = [scheme for scheme in schemes if f"{name}-".startswith(f"{scheme.name}-")]
    if not fitting:
        known = ", ".join(scheme.name for scheme in schemes)
        raise ForgeError(f"there is no setting {name!r}; the schemes are {known}")
    scheme = max(fitting, key=lambda scheme: len(scheme.name))
    flags = name[len(scheme.name) + 1 :].split("-") if len(name) > len(scheme.name) else []
    if not set(flags) <= _FLAGS.keys() or len(set(flags)) != len(flags):
        raise ForgeError(
            f"the setting {name!r} is not understood: behind {scheme.name} may stand -{', -'.join(_FLAGS)}, each once"
        )
    setting = Setting(scheme, **{_FLAGS[flag]: True for flag in flags})
    if setting.float_io and not setting.needs_calibration:
        raise ForgeError(f"the setting {name!r} asks for float input, but {scheme.name} has no other")
    return setting


SETTINGS = tuple(
    parse(name)
    for name in (
        "float32",
        "float32-nchw",
        "float32-raw",
        "float16",
        "weight-only",
        "dynamic",
        "dynamic-all",
        "dynamic-tensor",
        "int8",
        "int8-nchw",
        "int8-float",
        "int8-raw",
        "int8-tensor",
        "int16x8",
        "int16x8-float",
    )
)
