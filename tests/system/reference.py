"""An evaluation of its own: decode, squash, invoke, read the four outputs. No vigild code.

    python reference.py MODEL FOLDER ORDER MEAN     # prints JSON: {file: [[class, score, ymin, xmin, ymax, xmax], ...]}

ORDER is that of the outputs: "tf1" (boxes, classes, scores, count) or "tf2" (scores, boxes, count, classes).
MEAN normalises a float input: (pixel - MEAN) / MEAN. Runs in a process of its own, so that the tests
import no interpreter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(model: str, folder: str, order: str, mean: str) -> None:
    import cv2
    import numpy as np

    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    _, height, width, _ = taken["shape"]
    outputs = interpreter.get_output_details()
    found = {}
    for path in sorted(Path(folder).iterdir()):
        if path.suffix != ".jpg":
            continue
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        tensor = cv2.resize(picture, (int(width), int(height)))[None]
        if taken["dtype"] == np.float32:
            tensor = (tensor.astype(np.float32) - float(mean)) / float(mean)
        interpreter.set_tensor(taken["index"], tensor)
        interpreter.invoke()
        values = [interpreter.get_tensor(output["index"]) for output in outputs]
        boxes, classes, scores, count = values if order == "tf1" else (values[1], values[3], values[0], values[2])
        rows = range(int(count[0]))
        found[path.name] = [[int(classes[0][i]), float(scores[0][i]), *map(float, boxes[0][i])] for i in rows]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
