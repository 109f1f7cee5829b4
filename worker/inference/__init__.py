"""Models and the devices they run on."""

from worker.inference.api import Hardware, Model, Output, Pass, Prepared, Segmenter
from worker.inference.loader import Loader
from worker.inference.model_cache import ModelCache, ModelRefused

__all__ = [
    "Hardware",
    "Loader",
    "Model",
    "ModelCache",
    "ModelRefused",
    "Output",
    "Pass",
    "Prepared",
    "Segmenter",
]
