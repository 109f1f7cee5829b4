"""Job documents and item records: their JSON, their hashes and what they refuse."""

import doctest
import json
import math
import subprocess
import sys

import pydantic_core
import pytest
from pydantic import ValidationError

from shared import document
from shared.errors import FeatureMissing, InvalidOption
from shared.job import features
from shared.job.manifest import pack, unpack
from shared.job.options import PictureOptions
from shared.job.record import ItemRecord
from shared.job.shards import sweep
from shared.job.spec import Existing, ImageOutput, JobSpec, Naming, Previews, Priority
from shared.job.thresholds import Thresholds

DEFAULT = JobSpec(input_bucket="inbox", output_bucket="cutouts", weights_sha256="0" * 64)
MULTIPLIED = DEFAULT.model_copy(update={"options": PictureOptions(alpha="multiply")})
"""What version 0.1 meant by the same document."""
FULL = JobSpec(
    input_bucket="inbox",
    output_bucket="cutouts",
    weights_sha256="ab" * 32,
    save_prefix="shop/%width%",
    rem_mode="isnet-general-use",
    image_output=ImageOutput.HIDE_SAVE,
    naming=Naming.COMFYUI,
    existing=Existing.KEEP,
    priority=Priority.INTERACTIVE,
    options=PictureOptions(
        edges="seed", stretch="seed", alpha="ignore", truncated="accept", png="small"
    ),
    counter_base=41,
    date="2026-11-23",
    thresholds=Thresholds(review_coverage_below=1, review_touches_above=2.5),
    review_prefix="review",
    prompt={"b": [1, 2.5, None, True], "a": "é\ud800"},
    extra_pnginfo={"workflow": {"z": 1}},
)
DEFAULT_JSON = (
    '{"schema":1,"input_bucket":"inbox","output_bucket":"cutouts","save_prefix":"ComfyUI",'
    f'"rem_mode":"RMBG-1.4","weights_sha256":"{"0" * 64}",'
    '"image_output":"Save","naming":"source","existing":"replace","priority":"bulk",'
    '"options":{"edges":"estimate","stretch":"guarded","alpha":"keep","truncated":"fail",'
    '"png":"fast"},"counter_base":0,"date":"","thresholds":{"reject_coverage_below":0.001,'
    '"reject_coverage_above":0.995,"reject_high_below":0.5,"review_coverage_below":0.01,'
    '"review_coverage_above":0.9,"review_high_below":0.9,"review_touches_above":2,'
    '"review_soft_above":0.15,"review_uncertainty_above":0.3,"review_parts_above":4,'
    '"review_holes_above":12},"review_prefix":null,"prompt":null,"extra_pnginfo":null}'
)
FULL_JSON = (
    '{"schema":1,"input_bucket":"inbox","output_bucket":"cutouts","save_prefix":"shop/%width%",'
    f'"rem_mode":"isnet-general-use","weights_sha256":"{"ab" * 32}",'
    '"image_output":"Hide/Save","naming":"comfyui","existing":"keep","priority":"interactive",'
    '"options":{"edges":"seed","stretch":"seed","alpha":"ignore","truncated":"accept",'
    '"png":"small"},"counter_base":41,"date":"2026-11-23","thresholds":'
    '{"reject_coverage_below":0.001,"reject_coverage_above":0.995,"reject_high_below":0.5,'
    '"review_coverage_below":1,"review_coverage_above":0.9,"review_high_below":0.9,'
    '"review_touches_above":2.5,"review_soft_above":0.15,"review_uncertainty_above":0.3,'
    '"review_parts_above":4,"review_holes_above":12},"review_prefix":"review",'
    '"prompt":{"b":[1,2.5,null,true],"a":"\\u00e9\\ud800"},"extra_pnginfo":{"workflow":{"z":1}}}'
)
SPECS = pytest.mark.parametrize(
    ("spec", "text", "params_hash", "fingerprint"),
    [
        (
            DEFAULT,
            DEFAULT_JSON,
            "736ec0015544b661",
            "4b163a154672269bccb65f955e82edb69c933a50cfa0538fb0d5a2f924668cc4",
        ),
        (
            FULL,
            FULL_JSON,
            "00305de09e4ab2e4",
            "78ad7d596846062872b580400aedff44f816ce259e731a3f3cd3391f488740d3",
        ),
    ],
    ids=["defaults", "every field"],
)
"""JSON and hashes that version 0.1.0 wrote when the documents were dataclasses."""
RECORD = ItemRecord(
    index=3,
    image_key="a é\u2028☃.jpg",
    state="done",
    cutout_key="c",
    mask_key="m",
    width=2,
    height=1,
    device="cpu",
    sizes={"cutout": 5, "mask": 4},
    attempts=2,
    existing="kept",
    qc={"verdict": "ok", "coverage": 0.5, "low": 1e-05, "touches": ["left"]},
    notes=("n",),
    model="RMBG-1.4",
    weights_sha256="0" * 64,
    licence="L",
)
RECORD_JSON = (
    '{"index":3,"image_key":"a \\u00e9\\u2028\\u2603.jpg","state":"done","cutout_key":"c",'
    '"mask_key":"m","error":null,"width":2,"height":1,"device":"cpu",'
    '"sizes":{"cutout":5,"mask":4},"attempts":2,"existing":"kept",'
    '"qc":{"verdict":"ok","coverage":0.5,"low":1e-05,"touches":["left"]},"notes":["n"],'
    f'"model":"RMBG-1.4","weights_sha256":"{"0" * 64}","licence":"L"}}'
)
"""As version 0.1.0 wrote it."""


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(document) == (0, 4)
    assert doctest.testmod(features) == (0, 1)


# --- job documents


@SPECS
def test_a_job_document_is_the_json_of_earlier_versions(spec, text, params_hash, fingerprint):
    assert spec.to_json() == text
    assert JobSpec.from_json(text, spec.added_json()) == spec
    assert JobSpec.from_json(text.encode(), spec.added_json().encode()) == spec


@SPECS
def test_hashes_are_those_of_earlier_versions(spec, text, params_hash, fingerprint):
    """A different hash would redo every image that is in a bucket already."""
    assert spec.params_hash == params_hash
    assert spec.fingerprint("k") == fingerprint
    assert JobSpec.from_json(text).params_hash == params_hash


def test_a_changed_copy_has_a_hash_of_its_own():
    """The hash is cached, and a copy must not inherit the cached value."""
    before = DEFAULT.params_hash

    assert DEFAULT.model_copy(update={"rem_mode": "other"}).params_hash != before
    assert DEFAULT.model_copy(update={"date": "2026-11-23"}).params_hash == before


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": None}, "schema None"),
        ({"options": {"edges": "blurred"}}, "options.edges"),
        ({"options": []}, "options"),
        ({"thresholds": {"review_soft_above": "much"}}, "thresholds.review_soft_above"),
        ({"existing": "hunter2"}, "existing"),
        ({"weights_sha256": None}, "weights_sha256"),
    ],
)
def test_a_document_this_version_cannot_interpret_is_refused_in_one_line(change, problem):
    text = json.dumps(json.loads(DEFAULT_JSON) | change)

    with pytest.raises(InvalidOption, match=problem) as caught:
        JobSpec.from_json(text)

    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "white"},
        {"options": {"alpha": "keep", "blur": 1}},
        {"thresholds": {"review_nothing_below": 1}},
        {"params_hash": DEFAULT.params_hash, "needs": []},
    ],
)
def test_fields_that_a_later_version_added_to_a_job_document_are_ignored(change):
    text = json.dumps(json.loads(DEFAULT_JSON) | change)

    assert JobSpec.from_json(text) == MULTIPLIED


def test_a_job_document_carries_the_hash_of_its_submission():
    """A worker that does not know an option could not compute it."""
    text = json.dumps(json.loads(DEFAULT_JSON) | {"params_hash": "feedfacecafe0123"})

    found = JobSpec.from_json(text)

    assert found.params_hash == "feedfacecafe0123"
    assert found.model_copy(update={"save_prefix": "other"}).params_hash == "feedfacecafe0123"
    assert found.fingerprint("k") == MULTIPLIED.fingerprint("k")


def test_the_added_fields_of_a_document_are_read_with_it():
    spec = DEFAULT.model_copy(update={"params_hash": "feedfacecafe0123", "version": "0.2.0"})

    assert JobSpec.from_json(spec.to_json(), spec.added_json()) == spec
    assert spec.to_json() == DEFAULT_JSON


@pytest.mark.parametrize("previews", Previews)
def test_previews_change_no_hash_and_nothing_that_version_0_1_reads(previews):
    """An upgrade, or another choice, must not write any image again."""
    spec = DEFAULT.model_copy(update={"previews": previews, "preview_every": 7})

    assert spec.to_json() == DEFAULT_JSON
    assert spec.hashes_of("cutout") == DEFAULT.hashes_of("cutout")
    assert spec.fingerprint("k") == DEFAULT.fingerprint("k")
    assert JobSpec.from_json(spec.to_json(), spec.added_json()) == spec


@pytest.mark.parametrize(
    ("total", "stride"), [(1, 1), (2000, 1), (2001, 2), (10_000, 5), (10_000_000, 5000)]
)
def test_a_sample_has_at_most_2000_previews(total, stride):
    assert DEFAULT.preview_stride(total) == stride
    assert len(range(0, total, stride)) <= 2000


@pytest.mark.parametrize(
    ("changes", "stride"),
    [
        ({"preview_every": 7}, 7),
        ({"preview_every": 7, "previews": Previews.ALL}, 1),
        ({"preview_every": 7, "previews": Previews.NONE}, 0),
        ({"preview_every": 7, "image_output": ImageOutput.PREVIEW}, 7),
        ({"previews": Previews.ALL, "image_output": ImageOutput.HIDE}, 0),
        ({"previews": Previews.ALL, "image_output": ImageOutput.HIDE_SAVE}, 0),
    ],
)
def test_the_stride_of_previews_is_fixed_at_submission(changes, stride):
    assert DEFAULT.model_copy(update=changes).preview_stride(10_000) == stride


def test_a_document_without_a_choice_of_previews_has_a_sample():
    found = JobSpec.from_json(DEFAULT_JSON)

    assert (found.previews, found.preview_stride(10_000)) == (Previews.SAMPLE, 5)


def test_a_document_with_needs_cannot_be_read_by_versions_that_do_not_know_them():
    """Version 0.1 refuses unknown fields, and must not process such a job."""
    spec = DEFAULT.model_copy(update={"needs": ("recipes",), "version": "0.9.0"})

    assert json.loads(spec.to_json())["needs"] == ["recipes"]
    written = spec.to_json(), spec.added_json()
    assert JobSpec.from_json(*written, features=["recipes", "masks"]) == spec
    with pytest.raises(FeatureMissing, match=r"rmbg-queue 0\.9\.0 or later, which knows recipes"):
        JobSpec.from_json(*written, features=["masks"])


def test_version_0_1_names_the_version_that_a_job_with_needs_waits_for():
    """It shows in the status of the job that it cannot read a document of this schema."""
    spec = DEFAULT.model_copy(update={"needs": ("recipes",), "version": "0.9.0"})

    schema = json.loads(spec.to_json())["schema"]

    assert schema == "1, for a worker of rmbg-queue 0.9.0 or later, which knows recipes"
    assert json.loads(DEFAULT.to_json())["schema"] == 1


def test_a_need_is_reported_before_what_this_version_cannot_read():
    body = json.loads(DEFAULT_JSON) | {"schema": 99, "needs": ["recipes"], "options": "later"}

    with pytest.raises(FeatureMissing, match="a worker of a later version, which knows recipes"):
        JobSpec.from_json(json.dumps(body), features=[])


def test_the_previous_schema_had_no_thresholds():
    body = json.loads(DEFAULT_JSON) | {"schema": 0}
    del body["thresholds"]

    assert JobSpec.from_json(json.dumps(body)) == MULTIPLIED


def test_keep_is_the_old_name_of_multiply():
    assert PictureOptions(alpha="keep") == PictureOptions(alpha="multiply")
    assert JobSpec.from_json(DEFAULT_JSON).options.alpha == "multiply"


def test_only_images_with_transparency_have_a_new_hash():
    """An upgrade must not rewrite opaque images, whose pixels stay the same."""
    assert DEFAULT.options.alpha == "auto"
    assert DEFAULT.hash_of("cutout", has_alpha=False) == MULTIPLIED.params_hash
    assert DEFAULT.hash_of("cutout", has_alpha=True) != MULTIPLIED.params_hash
    assert MULTIPLIED.hash_of("cutout", has_alpha=True) == MULTIPLIED.params_hash
    assert len(DEFAULT.hashes_of("mask")) == 2
    assert MULTIPLIED.hashes_of("mask") == {MULTIPLIED.params_hash}


def test_the_hash_for_transparency_follows_the_options():
    copied = MULTIPLIED.model_copy(update={"options": PictureOptions(edges="seed")})

    assert copied.params_hash_alpha not in ("", DEFAULT.params_hash_alpha)
    assert FULL.params_hash_alpha == ""
    assert DEFAULT.model_copy(update={"options": FULL.options}).params_hash_alpha == ""


def test_jobs_that_treat_transparency_differently_are_different_jobs():
    ignored = DEFAULT.model_copy(update={"options": PictureOptions(alpha="ignore")})

    assert len({each.fingerprint("k") for each in (DEFAULT, MULTIPLIED, ignored)}) == 3


def test_documents_are_immutable_and_validated():
    with pytest.raises(ValidationError, match="frozen"):
        DEFAULT.date = "2026-11-23"
    with pytest.raises(ValidationError, match="edges"):
        PictureOptions(edges="blurred")


# --- thresholds


def test_thresholds_that_are_not_given_have_their_defaults():
    assert Thresholds.of({"review_soft_above": 1}) == Thresholds(review_soft_above=1)


@pytest.mark.parametrize("given", [{"nothing": 1}, {"review_soft_above": "0.1"}, {"a\nb": 1}])
@pytest.mark.parametrize("also", [{}, {"review_parts_above": True}])
def test_thresholds_that_cannot_be_used_are_refused_with_the_known_names(given, also):
    with pytest.raises(InvalidOption, match="known: reject_coverage_below") as caught:
        Thresholds.of(given | also)

    assert "\n" not in str(caught.value)
    for name in given | also:
        assert repr(name) in str(caught.value)


# --- records


def test_a_record_is_the_json_of_earlier_versions():
    """Small numbers may be spelt differently; everything else is the same, in the same order."""
    text = RECORD.to_json()

    assert text.isascii()
    assert list(json.loads(text).items()) == list(json.loads(RECORD_JSON).items())
    assert text.replace("0.00001", "1e-05").replace("1e-5", "1e-05") == RECORD_JSON


@pytest.mark.parametrize("text", [RECORD_JSON, RECORD_JSON.encode()])
def test_a_record_of_an_earlier_version_is_read(text):
    assert ItemRecord.from_json(text) == RECORD


def test_fields_of_a_later_version_are_ignored():
    later = json.dumps(json.loads(RECORD_JSON) | {"recipe": "white", "qc2": {}})

    assert ItemRecord.from_json(later) == RECORD


def test_a_number_that_is_not_finite_is_kept():
    record = ItemRecord.from_json(ItemRecord(**dict(RECORD) | {"qc": {"x": math.inf}}).to_json())

    assert record.qc == {"x": math.inf}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"index":1}', '{"index":"x","image_key":"k","state":"done"}']
)
def test_what_is_not_a_record_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the library's
        ItemRecord.from_json(text)


# --- keys that are not valid Unicode

KEY = "folder/\udc80.jpg"
ESCAPED = r"folder/\udc80.jpg"


def invalid_key_record():
    error = {"class": "InvalidKey", "reason": f"image key {KEY}"}
    return ItemRecord(index=0, image_key=KEY, state="failed", error=error, notes=(KEY,))


def test_a_manifest_keeps_a_key_that_is_not_valid_unicode():
    assert unpack(pack([KEY, "a.jpg"])) == [KEY, "a.jpg"]


def test_a_record_escapes_lone_surrogates():
    record = invalid_key_record()

    assert record.image_key == ESCAPED
    assert record.error["reason"] == f"image key {ESCAPED}"
    assert record.notes == (ESCAPED,)


def test_a_record_s_json_is_read_by_parsers_that_refuse_lone_surrogates():
    text = invalid_key_record().to_json()

    assert pydantic_core.from_json(text)["image_key"] == ESCAPED
    [line] = sweep([("0-1", 1)], lambda shard: f"{text}\n".encode())
    assert ItemRecord.from_json(line) == invalid_key_record()


def test_a_lone_surrogate_that_an_earlier_version_wrote_is_read_as_its_escape():
    text = invalid_key_record().to_json().replace(r"\\udc80", r"\udc80")

    assert json.loads(text)["image_key"] == KEY
    assert ItemRecord.from_json(text) == invalid_key_record()


# --- what importing costs


@pytest.mark.parametrize(
    "modules",
    [
        "producer.cli",
        "worker.cli, worker.monitoring.probe",
        "worker.imaging.decode.isolated.child",
    ],
    ids=["rmbg --help", "rmbg-worker --probe", "decoder process"],
)
def test_what_starts_often_does_not_import_pydantic(modules):
    """It takes 0.08 s to import, more than the whole of `rmbg --help`."""
    code = f"import sys, {modules}\nprint('pydantic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "False\n"
