"""`forge tensorflow`: Keras, SavedModel or forge's own weights through TensorFlow's converter.

Runs in the environment of `make forge-setup-tf`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from forge.commands import judging


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model and its anchors; and what judging shares."""
    parser.add_argument(
        "model", type=Path, help=".keras or .h5 file, folder of a SavedModel, or .npz of `forge weights`"
    )
    parser.add_argument(
        "--anchors", type=Path, metavar="FILE", help="JSON as beside a model without the op (docs/models.md)"
    )
    judging.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Convert, judge, time, write."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from forge.errors import ForgeError

    try:
        import tensorflow  # noqa: F401 - to say in a sentence what is missing
    except ModuleNotFoundError:
        raise ForgeError(
            "TensorFlow is not in this environment; make the one for it with `make forge-setup-tf` and use its Python"
        ) from None
    import msgspec
    import numpy as np

    from forge.model.network import open_network, order_outputs
    from forge.pictures import read_for
    from forge.quantization.settings import Setting, parse
    from forge.routes.keras_models import open_model
    from forge.routes.tensorflow import NAMES, SCHEMES, convert
    from forge.tflite import flatbuffer
    from forge.tflite.postprocess import find_postprocess, take_postprocess
    from forge.variants.make import SIDECAR, write_variant
    from forge.variants.ship import Make

    names = options.only.split(",") if options.only else NAMES
    settings = [parse(name, SCHEMES) for name in names]
    if options.list:
        return judging.show(settings)
    opened = open_model(options.model)
    if opened.with_ranges is None and not options.only:
        settings = [setting for setting in settings if setting.scheme.name != "uint8"]
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "float32.tflite"
        plain.write_bytes(convert(opened.function, parse("float32", SCHEMES)))
        beside = plain.with_name(plain.name + SIDECAR)
        if options.anchors:
            beside.write_bytes(options.anchors.read_bytes())
        elif opened.decoding is not None:
            beside.write_bytes(msgspec.json.encode(opened.decoding))
        labels = options.labels
        if labels is None and opened.labels:
            labels = Path(scratch) / "labels.txt"
            labels.write_text("".join(label + "\n" for label in opened.labels))
        network = judging.adjusted(open_network(plain, labels, *judging.normalisation(options)), options)
    plan = judging.plan_of(options)

    def maker() -> Make:
        mean, std = np.float32(network.spec.mean), np.float32(network.spec.std)
        images = [((image - mean) / std)[None].astype(np.float32) for image in read_for(network, plan.calibration)]

        def make(setting: Setting, path: Path) -> None:
            function = opened.function
            if setting.scheme.name == "uint8" and opened.with_ranges is not None:
                if not images:
                    raise ForgeError("the setting uint8 needs pictures for its ranges; give a folder with --calibrate")
                function = opened.with_ranges(images)
            model = flatbuffer.load(convert(function, setting, images))
            if find_postprocess(model) is not None:
                take_postprocess(model)
            order_outputs(model)
            flatbuffer.sign(model)
            write_variant(model, network, setting, path, network.card)

        return make

    return judging.ship_all(network, settings, plan, options, maker)
