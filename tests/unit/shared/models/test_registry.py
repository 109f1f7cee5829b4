"""The registered models and their sources."""

import re

import pytest

from shared.errors import UnknownModel
from shared.models.registry import HUGGINGFACE, REGISTRY, get

SOURCES = [source for model in REGISTRY.values() for source in model.sources]


def test_both_models_have_their_published_hashes():
    hashes = {name: model.sha256 for name, model in REGISTRY.items()}

    assert hashes == {
        "RMBG-1.4": "893c16c340b1ddafc93e78457a4d94190da9b7179149f8574284c83caebf5e8c",
        "isnet-general-use": "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
    }


def test_only_isnet_may_be_used_commercially():
    assert not get("RMBG-1.4").commercial
    assert get("isnet-general-use").commercial


def test_an_unknown_model_is_refused_with_the_known_names():
    with pytest.raises(UnknownModel, match=r"'RMBG-9'.*RMBG-1\.4, isnet-general-use"):
        get("RMBG-9")


def test_every_source_has_its_own_place_in_the_cache():
    assert len({(s.sha256[:16], s.file_name) for s in SOURCES}) == len(SOURCES) == 3


def test_every_source_is_pinned():
    """It has a hash of 64 digits, and a revision, release or version in its location."""
    for source in SOURCES:
        assert re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert re.search(r"/resolve/[0-9a-f]{40}/|/download/v|@\d+\.\d+\.\d+$", source.location)
        assert (source.resource is not None) == (source.kind == "npm")


def test_hf_token_is_sent_for_sources_on_hugging_face_over_tls():
    assert HUGGINGFACE == "https://huggingface.co"
    for source in SOURCES:
        is_there = source.location.startswith(f"{HUGGINGFACE}/")
        assert is_there == (source.kind == "huggingface")
