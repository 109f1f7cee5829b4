"""Probe what the product needs of its services, on the real services."""

from shared.probes.finding import Finding, Level
from shared.probes.services import probe, require

__all__ = ["Finding", "Level", "probe", "require"]
