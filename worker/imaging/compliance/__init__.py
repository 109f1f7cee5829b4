"""Measure on the encoded bytes whether an output complies, and fix what can be fixed.

Modules, each importing only earlier ones: `types` (context, finding), `profile` (is it sRGB),
`inspection` (open and decode a file), `size`, `file`, `jpeg_quality`, `subject`, `colour`,
`private`, `strays`, `white` (one function per check), `check` (registry; runs them), `fixes`
(another encoding for what failed).
"""

from worker.imaging.compliance.check import REGISTRY, check, checks_of
from worker.imaging.compliance.fixes import Complied, Fix, comply, next_fix
from worker.imaging.compliance.types import Context, Finding

__all__ = [
    "REGISTRY",
    "Complied",
    "Context",
    "Finding",
    "Fix",
    "check",
    "checks_of",
    "comply",
    "next_fix",
]
