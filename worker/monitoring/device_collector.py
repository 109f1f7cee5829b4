"""Report the device of this worker, and the GPU's own figures, when Prometheus asks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from worker.inference import Hardware, ModelCache
from worker.monitoring.gpu import TEXTS, GpuFigures


@dataclass(frozen=True, kw_only=True, eq=False)  # a registry keeps it by identity
class DeviceCollector(Collector):
    """Knows the device once a model is loaded."""

    about: Mapping[str, str]
    """Labels that identify this worker; the device in use replaces `device`."""
    models: ModelCache
    gpu: GpuFigures | None
    """None without NVML."""

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        device, hardware = self.models.hardware or (self.about["device"], Hardware(""))
        labels = {**self.about, "device": device, "device_name": hardware.name}
        text = "Identity of this worker and of its device."
        info = GaugeMetricFamily("rmbg_worker_info", text, labels=[*labels])
        info.add_metric([*labels.values()], 1)
        yield info
        figures = self.gpu.read(hardware.uuid) if self.gpu and hardware.uuid else {}
        for name, value in figures.items():
            yield GaugeMetricFamily(f"rmbg_gpu_{name}", TEXTS[name], value)
