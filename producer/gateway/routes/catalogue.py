"""`/v1/models` and `/v1/presets`: what jobs may name."""

from typing import Final

from fastapi import APIRouter

from producer.gateway.access import Reader
from producer.gateway.context import Here
from producer.gateway.schemas import ModelInfo, PresetInfo
from shared.models import registry
from shared.recipes import presets

router: Final = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/models", operation_id="listModels")
def models(gateway: Here, _key: Reader) -> list[ModelInfo]:
    """List the models; without those that `RMBG_COMMERCIAL` refuses."""
    commercial = gateway.services.settings.commercial
    return [
        ModelInfo(name=model.name, licence=model.licence, commercial=model.commercial)
        for model in registry.REGISTRY.values()
        if model.commercial or not commercial
    ]


@router.get("/presets", operation_id="listPresets")
def all_presets(_key: Reader) -> list[PresetInfo]:
    """List the presets for marketplaces, with the sources of their figures."""
    found = [(name, presets.get(name)) for name in presets.names()]
    return [
        PresetInfo(
            name=name,
            version=preset.version,
            unverified=preset.unverified,
            source=preset.source,
        )
        for name, preset in found
    ]
