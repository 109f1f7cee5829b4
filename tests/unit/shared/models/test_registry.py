"""The cards that come with the product, and what their names resolve to."""

import re

import pytest
from pydantic import ValidationError
from support.cards import card

from shared.errors import UnknownModel
from shared.models.card import HUGGINGFACE, NODE, Output, Source
from shared.models.registry import REFUSED, REGISTRY, get

SOURCES = [source for each in REGISTRY.values() for source in each.sources]
REMBG = """birefnet-cod birefnet-dis birefnet-general birefnet-general-fp16 birefnet-general-lite
birefnet-hrsod birefnet-massive birefnet-portrait bria-rmbg isnet-anime isnet-general-use silueta
u2net u2net_human_seg u2netp"""
"""The background removers of rembg 2.0.86."""
SHA256 = "sha256:" + "0a" * 32
SOURCE = Source(kind="github", location="https://x/download/v1/net", file_name="n", checksum=SHA256)


def test_models_of_earlier_versions_keep_their_identity():
    found = {name: get(name).identity for name in ("RMBG-1.4", "isnet-general-use")}

    assert found == {
        "RMBG-1.4": "893c16c340b1ddafc93e78457a4d94190da9b7179149f8574284c83caebf5e8c",
        "isnet-general-use": "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
    }


def test_the_arithmetic_of_another_model_is_part_of_its_identity():
    clipped = NODE.output.model_copy(update={"range": "clip"})
    plain = card(SOURCE, architecture="onnx")
    other = card(SOURCE, architecture="onnx", output=clipped)

    assert plain.identity == "0a" * 32
    assert re.fullmatch(r"(0a){32}\+[0-9a-f]{16}", other.identity)


def test_an_md5_is_named_in_the_identity_and_weak():
    silueta = get("silueta")

    assert silueta.is_weak
    assert silueta.identity.startswith("md5:55e59e0d8062d2f5d013f4725ee84782+")
    assert not get("u2net").is_weak


def test_no_two_models_have_the_same_identity_or_name():
    assert len({each.identity for each in REGISTRY.values()}) == len(REGISTRY) >= 14
    names = [name for each in REGISTRY.values() for name in (each.name, *each.aliases)]
    assert len(set(names) | set(REFUSED)) == len(names) + len(REFUSED)


@pytest.mark.parametrize("name", REMBG.split())
def test_every_background_remover_of_rembg_is_known(name):
    assert get(name).name in REGISTRY


@pytest.mark.parametrize(("alias", "name"), [("RMBG-2.0", "bria-rmbg"), ("BEN2", "ben2-base")])
def test_names_of_the_node_are_aliases(alias, name):
    assert get(alias) is REGISTRY[name]


@pytest.mark.parametrize("name", REFUSED)
def test_names_that_are_no_models_are_refused_with_the_reason(name):
    said = f"model '{name}' is not served: {REFUSED[name]}"

    with pytest.raises(UnknownModel, match=re.escape(said)):
        get(name)


def test_models_for_commercial_use():
    refused = {each.name for each in REGISTRY.values() if not each.commercial}

    assert refused == {"RMBG-1.4", "bria-rmbg"}


def test_an_unknown_model_is_refused_with_the_known_names():
    with pytest.raises(UnknownModel, match=r"'RMBG-9'.*RMBG-1\.4, ben2-base"):
        get("RMBG-9")


def test_every_source_has_its_own_place_in_the_cache():
    assert len({(s.digits[:16], s.file_name) for s in SOURCES}) == len(SOURCES) == len(REGISTRY) + 1


def test_every_source_is_pinned():
    """It has a checksum, and a revision, release or version in its location."""
    for source in SOURCES:
        assert re.search(r"/resolve/[0-9a-f]{40}/|/download/v|@\d+\.\d+\.\d+$", source.location)
        assert (source.resource is not None) == (source.kind == "npm")


def test_hf_token_is_sent_for_sources_on_hugging_face_over_tls():
    assert HUGGINGFACE == "https://huggingface.co"
    for source in SOURCES:
        is_there = source.location.startswith(f"{HUGGINGFACE}/")
        assert is_there == (source.kind == "huggingface")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../etc"}, "name"),
        ({"sources": ()}, "sources"),
        ({"sorces": ()}, "sorces"),
        (
            {"output": Output(activation="sigmoid", order="stretch-then-resize")},
            "architecture isnet",
        ),
    ],
)
def test_a_card_with_a_mistake_is_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        card(**{"sources": (SOURCE,)} | changes)


@pytest.mark.parametrize("checksum", ["", "0a" * 32, "sha256:0A", "md5:" + "0a" * 32])
def test_a_source_without_a_whole_checksum_is_refused(checksum):
    with pytest.raises(ValidationError, match="checksum"):
        Source(kind="github", location="https://x", file_name="n", checksum=checksum)
