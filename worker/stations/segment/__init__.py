"""From a picture to its mask: preprocess, forward, postprocess. Torch is known here and below."""

from worker.stations.segment.segmenter import Segmenter

__all__ = ["Segmenter"]
