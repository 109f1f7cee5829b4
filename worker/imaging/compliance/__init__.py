"""Measure on the encoded bytes whether an output complies.

Modules, each importing only earlier ones: `types` (context, finding), `profile` (is it sRGB),
`inspection` (open and decode a file), `size`, `file`, `jpeg_quality`, `subject`, `colour`,
`private`, `strays`, `white` (one function per check), `check` (registry; runs them).
"""

from worker.imaging.compliance.check import REGISTRY, check
from worker.imaging.compliance.types import Context, Finding

__all__ = ["REGISTRY", "Context", "Finding", "check"]
