"""The good files that cases are made from.

models() -> tiny networks of each kind of output, the embedded one (as it runs by default), and shared ones, if any
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from embedded_model import default_file
from fuzz import structure
from unit import modelkit

REPO = Path(__file__).resolve().parents[2]
SHARED = REPO.parent / "shared" / "assets" / "models"


class Model(NamedTuple):
    name: str
    data: bytes | Path
    """A large one stays in its file, which a fork need not copy the page tables of."""
    places: structure.Places
    weight: float
    """How often it is taken; large ones take the time of a hundred tiny ones."""
    beside: dict[str, bytes]
    """Files that it needs."""

    def read(self) -> bytes:
        """The whole file."""
        return self.data.read_bytes() if isinstance(self.data, Path) else self.data


LABELS = b"red\nblue\n"
_ANCHORS = b"""{"explicit": [[0.25,0.25,0.5,0.5],[0.25,0.75,0.5,0.5],[0.75,0.25,0.5,0.5],[0.75,0.75,0.5,0.5]],
 "scores": "auto", "scales": [10, 10, 5, 5], "background": true, "box_order": "yxhw", "iou_threshold": 0.5}"""
ANCHORS = (
    _ANCHORS,
    b'{"ssd": {"feature_maps": [[1, 1]], "aspect_ratios": [1.0, 2.0, 0.5], "min_scale": 0.2, "max_scale": 0.95}}',
    b'{"grid": [{"stride": 8, "sizes": [10, 16]}, [16, [24.5]]], "box_order": "xywh", "scores": "softmax"}',
)
SIDECAR = "model.tflite.anchors.json"


def models(with_shared: bool = True) -> list[Model]:
    """Each parsed once for the places of its structure."""
    with tempfile.TemporaryDirectory() as name:
        found = [Model(name, data, structure.find(data), 1.0, beside) for name, data, beside in _tiny(Path(name))]
    paths = [default_file()]
    if with_shared and SHARED.is_dir():
        paths += sorted(SHARED.glob("*/*.tflite"))
    return found + [Model(path.stem, path, structure.find(path.read_bytes()), 0.01, {}) for path in paths]


def _tiny(folder: Path) -> list[tuple[str, bytes, dict[str, bytes]]]:
    kit = modelkit
    meta = kit.metadata(
        ("location", "category", "score", "number of detections"), [127.5], [127.5], "labels.txt", (1, 0, 3, 2)
    )
    archive = {"labels.txt": LABELS.decode()}
    roles = {
        "detection_boxes": "boxes",
        "detection_classes": "classes",
        "detection_scores": "scores",
        "num_detections": "count",
    }
    sidecar = {SIDECAR: _ANCHORS}
    dtypes = ("uint8", "int8", "float32", "int16")
    two_classes = {"max_detections": 8, "max_classes_per_detection": 2}
    take = Path.read_bytes  # at once: they share their names
    return [
        *((f"quadrants-{dtype}", take(kit.quadrants(folder, dtype)), {}) for dtype in dtypes),
        ("quadrants-nchw", take(kit.quadrants(folder, "int8", nchw=True)), {}),
        ("quadrants-tf2", take(kit.quadrants(folder, order=(2, 0, 3, 1))), {}),
        ("quadrants-many", take(kit.quadrants(folder, options=two_classes)), {}),
        ("quadrants-metadata", take(kit.quadrants(folder, metadata=meta, archive=archive)), {}),
        ("quadrants-labels", take(kit.quadrants(folder)), {"labels.txt": LABELS}),
        ("finished", take(kit.finished(folder)), {}),
        ("finished-metadata", take(kit.finished(folder, metadata=meta, archive=archive)), {}),
        ("finished-signature", take(kit.finished(folder, signature=roles)), {}),
        ("raw-float32", take(kit.raw(folder)), sidecar),
        ("raw-int8", take(kit.raw(folder, "int8")), sidecar),
        ("raw-sigmoid", take(kit.raw(folder, "uint8", kit.LOGISTIC)), sidecar),
        ("raw-softmax", take(kit.raw(folder, activation=kit.SOFTMAX, swap=True)), sidecar),
        ("classifier", take(kit.classifier(folder)), {}),
    ]  # fmt: skip


LABEL_FILES = (
    LABELS,
    b"???\nred\nblue\n",
    b"0 red\n1 blue\n3 green\n",
    b"1:red\n2:blue\n",
    b"background\n" + b"".join(b"thing %d\n" % n for n in range(90)),
)

MANIFESTS = (
    b"""format = 1
[model.own]
description = "a test"
publisher = "https://example.org/"
license = "Apache-2.0"
labels = "labels.txt"
color = "bgr"
resize = "letterbox"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
[model.own.anchors]
ssd = {feature_maps = [[19, 19], [10, 10]], min_scale = 0.2, max_scale = 0.95}
scales = [10.0, 10.0, 5.0, 5.0]
[[model.own.variant]]
name = "int8"
file = "model.tflite"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
bytes = 1234
size = [300, 300]
dtype = "int8"
layout = "NHWC"
coco_ap = 0.21
[[model.own.variant]]
name = "tpu"
file = "model_edgetpu.tflite"
delegate = "edgetpu"
cpu_twin = "int8"
url = ["https://example.org/model_edgetpu.tflite", "http://localhost:1/x"]
[[model.own.variant]]
name = "grid"
file = "model.tflite"
anchors_file = "model.tflite.anchors.json"
labels = "sub/labels.txt"
""",
)

CONFIGS = (
    b"""[daemon]
socket = "/run/vigild/vigild.sock"
socket_mode = "0660"
privileged_group = "vigild"
max_clients = 64
log_level = "info"
health_interval = "5 s"
[model]
path = "model.tflite"
variant = "auto"
labels = "labels.txt"
runtime = "auto"
delegate = "auto"
delegate_options = {a = "b"}
threads = 2
color = "rgb"
mean = [127.5, 127.5, 127.5]
std = [127.5, 127.5, 127.5]
resize = "squash"
min_score = 0.5
max_results = 20
labels_allowed = ["person"]
[camera.front]
source = "/dev/video0"
size = [1280, 720]
fps = 30
fourcc = "MJPG"
rotate = 0
flip = "none"
crop = [0.0, 0.0, 1.0, 1.0]
priority = 1
decode_threads = 1
isolation = "process"
open_timeout = "10 s"
[camera.back]
source = "rtsp://user:secret@example.org/stream"
read_timeout = "1500 ms"
max_backoff = "30 s"
[camera.clip]
source = "images:frames"
pace = "every"
loop = true
[budget]
temperature = "75 \xc2\xb0C"
memory = "256 MiB"
hysteresis = "5 \xc2\xb0C"
dwell = "10 s"
min_fps = 1.0
""",
)

REQUESTS = (
    b'{"type":"watch","id":1,"cameras":["front"],"labels":["person"],"min_score":0.5,"max_fps":5,"events":["detections"],'
    b'"empty":true}',
    b'{"type":"unwatch"}',
    b'{"type":"status","id":"a"}',
    b'{"type":"snapshot","camera":"front","annotate":true}',
    b'{"type":"ping","id":"x"}',
    b'{"type":"set","key":"model.min_score","value":[0.5,{"a":"b"},true,null]}',
    b'{"type":"swap","path":"a.tflite","labels":"b","sha256":"' + b"0" * 64 + b'","threads":2,"color":"rgb"}',
    b'{"type":"pause","camera":"front"}',
    b'{"type":"resume"}',
    b'{"type":"reload","id":9007199254740992}',
)

ANSWERS = (
    b'{"type":"hello","protocol":"1.0","version":"0.1","instance":"a","cameras":[{"name":"front","size":[640,480]}],"limits":{}}',
    b'{"type":"detections","seq":1,"dropped":0,"camera":"front","frame":5,"size":[640,480],"time":"2026-01-01T00:00:00Z",'
    b'"captured_ns":1,"age_ms":1.5,"infer_ms":2.5,"model":"m","variant":"v","status":"ok",'
    b'"detections":[{"label":"a","class":0,"score":0.5,"box":[0,0,1,1]}]}',
    b'{"type":"heartbeat","camera":"front","status":"ok","frame":1}',
    b'{"type":"event","kind":"worker_died","camera":"front","reason":"x","time":"2026-01-01T00:00:00Z"}',
    b'{"type":"pong","id":1}',
    b'{"type":"error","code":"busy","message":"m","id":"x"}',
)
