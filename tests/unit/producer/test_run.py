"""`rmbg run`: arguments that are refused before anything is started or fetched."""

import pytest
from support.command import complaint, rmbg

from producer.local.run import MEASURED_IMAGES, _worker_env


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--rem-mode", "none"], "unknown model 'none'; use one of "),
        (["--output", "no-such"], "no-such"),
        (["--job-id", "a b"], "invalid --job-id 'a b'"),
        (["--save-prefix", "../a"], "save prefix"),
    ],
)
def test_options_are_checked_before_anything_is_made_or_fetched(tmp_path, args, said):
    photo, out = tmp_path / "a.jpg", tmp_path / "out"
    photo.write_bytes(b"an image, for all that this command knows")
    offline = {"RMBG_HOME": str(tmp_path / "home"), "RMBG_OFFLINE": "1"}

    assert said in complaint(rmbg("run", photo, out, *args, env=offline))
    assert not out.exists()


def test_a_small_run_measures_nothing_unless_it_is_told_to():
    assert _worker_env({}, MEASURED_IMAGES - 1)["RMBG_MEASURE"] == "0"
    assert _worker_env({"RMBG_MEASURE": "1"}, 1)["RMBG_MEASURE"] == "1"
    assert "RMBG_MEASURE" not in _worker_env({}, MEASURED_IMAGES)
