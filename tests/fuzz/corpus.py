"""Case number N of a seed: always the same.

corpus = Corpus(seed=1)
corpus.case(17)
"""

from __future__ import annotations

from random import Random

from fuzz import archives, mutate, seeds, structure, texts
from fuzz.case import Case

SHARES = {"model": 55, "labels": 10, "archive": 10, "manifest": 10, "config": 10, "wire": 5}
"""Per cent of the cases."""


class Corpus:
    """All cases of one seed."""

    def __init__(self, seed: int, only: str = "", with_shared: bool = True) -> None:
        """`only`: a single target."""
        self._seed = seed
        self._shares = {only: 1} if only else SHARES
        self._models = seeds.models(with_shared) if only in ("", "model") else []
        self._weights = [model.weight for model in self._models]
        self._tiny = [model for model in self._models if model.weight == 1.0]

    def target(self, number: int) -> str:
        """Which reader the case of this number is for."""
        return self._begin(number)[1]

    def _begin(self, number: int) -> tuple[Random, str]:
        rng = Random(f"{self._seed}:{number}")
        return rng, rng.choices(list(self._shares), list(self._shares.values()))[0]

    def case(self, number: int) -> Case:
        """The case of this number."""
        rng, target = self._begin(number)
        files, options, how = getattr(self, f"_{target}")(rng)
        return Case(target, files, options, f"seed {self._seed}, case {number}: {how}")

    def _model(self, rng: Random) -> tuple[dict[str, bytes], dict[str, str], str]:
        model = rng.choices(self._models, self._weights)[0]
        data, files = model.read(), dict(model.beside)
        if "labels.txt" in files and rng.random() < 0.5:
            files["labels.txt"], how = texts.labels(files["labels.txt"], rng), "labels"
        elif seeds.SIDECAR in files and rng.random() < 0.4:
            files[seeds.SIDECAR] = texts.tokens(rng.choice(seeds.ANCHORS), rng, texts.JSON, seeds.ANCHORS)
            how = "anchors"
        elif rng.random() < 0.6:
            data, how = structure.damage(data, model.places, rng), "structure"
        elif data.find(b"PK\x05\x06") >= 0 and rng.random() < 0.5:
            data, how = archives.damage(data, rng), "archive"
        else:
            data, how = mutate.damage(data, rng, [other.read() for other in self._tiny]), "bytes"
        delegate = rng.choice(("xnnpack", "xnnpack", "none"))
        return {"model.tflite": data, **files}, {"delegate": delegate}, f"{model.name}, {how}"

    def _labels(self, rng: Random) -> tuple[dict[str, bytes], dict[str, str], str]:
        data = texts.labels(rng.choice(seeds.LABEL_FILES), rng)
        return {"labels.txt": data}, {"classes": str(rng.choice((0, 1, 2, 3, 90, 91)))}, "labels"

    def _archive(self, rng: Random) -> tuple[dict[str, bytes], dict[str, str], str]:
        data = archives.strange(b"TFL3" * 20, rng)
        return {"model.tflite": data}, {"classes": str(rng.choice((0, 2)))}, "archive"

    def _manifest(self, rng: Random) -> tuple[dict[str, bytes], dict[str, str], str]:
        shipped = (seeds.REPO / "models" / "manifest.toml").read_bytes()
        data = texts.tokens(rng.choice((*seeds.MANIFESTS, *seeds.MANIFESTS, shipped)), rng, texts.TOML, seeds.CONFIGS)
        anchors = texts.tokens(rng.choice(seeds.ANCHORS), rng, texts.JSON)
        files = {"manifest.toml": data, seeds.SIDECAR: anchors, "model.tflite": b"TFL3" * 20}
        return files, {}, "manifest"

    def _config(self, rng: Random) -> tuple[dict[str, bytes], dict[str, str], str]:
        return {"vigild.toml": texts.tokens(rng.choice(seeds.CONFIGS), rng, texts.TOML, seeds.MANIFESTS)}, {}, "config"

    def _wire(self, rng: Random) -> tuple[dict[str, bytes], dict[str, str], str]:
        known = (*seeds.REQUESTS, *seeds.REQUESTS, *seeds.ANSWERS)
        lines = [rng.choice(known) for _ in range(rng.randint(1, 4))]
        at = rng.randrange(len(lines))
        lines[at] = texts.tokens(lines[at], rng, texts.JSON, known)
        stream = rng.choice((b"\n", b"\n", b"\r\n", b"\n\n")).join(lines) + rng.choice((b"\n", b"\n", b""))
        if rng.random() < 0.05:
            stream = stream.replace(b"x", b"x" * 300_000, 1)
        return {"stream": stream}, {"cut": str(rng.choice((1, 2, 7, 4096)) if len(stream) < 10_000 else 4096)}, "wire"
