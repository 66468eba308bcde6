"""The classes that a model knows, read from its files without running it.

known_labels(config)        # ["person", "car"]; empty when they cannot be told
"""

from __future__ import annotations

from vigild.catalogue.entry import ManifestError
from vigild.catalogue.resolve import resolve
from vigild.config.schema import ModelConfig
from vigild.detector import facts as model_facts
from vigild.detector import labels
from vigild.detector.errors import ModelError
from vigild.detector.model_file import ModelFile


def known_labels(config: ModelConfig, delegate: str = "xnnpack") -> list[str]:
    """From the label file, else from inside the model. Imports no NumPy and no runtime."""
    try:
        config = resolve(config, delegate).config
        if config.path is None:
            return []
        with ModelFile.open(config.path) as file:
            facts = model_facts.read(file.data)
            classes = facts.postprocess.num_classes if facts.postprocess is not None else 0
            if config.labels is not None:
                return labels.read_file(config.labels, classes)[0]
            outputs = facts.metadata.outputs if facts.metadata is not None else ()
            wanted = [name for tensor in outputs for name in tensor.label_files]
            found = labels.from_archive(file.proc_path, wanted, classes)
    except (ManifestError, ModelError, OSError):
        return []
    return found[0] if found is not None else []
