"""A short pass of the damage corpus, and checks that it detects what it counts."""

import numpy as np
from fuzz import damage_corpus
from fuzz.damage_corpus import alarm, outcome, run, whole_file

from worker.imaging.decode import Limits, decode


def test_a_short_pass_counts_every_damage_and_finds_no_false_alarm():
    report, _ = run(count=1, seed=3, whole=60, paths=[], processes=2)

    assert "| JPEG baseline | cut | 152 | 0 | 0 | 152 | 0 | 0 |" in report
    assert "| PNG | cut | 152 | 0 | 0 | 152 | 0 | 0 |" in report
    assert "| WebP | 4 bytes overwritten | 8 |" in report
    assert "False alarms: 0 of 60 undamaged files" in report


def test_a_wrong_image_that_is_accepted_without_a_doubt_is_silent():
    data = next(data for name, data in map(whole_file, range(50)) if "JPEG" not in name)
    image = decode(data, Limits()).image

    assert outcome(data, "fail", image) == "harmless"
    assert outcome(data, "fail", np.invert(image)) == "silent"
    assert outcome(data[:-1000], "fail", image) == "refused"


def test_a_suspected_whole_file_is_a_false_alarm(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(whole_file(0)[1][:-100])

    assert alarm(path).startswith(f"{path}: refused: ")
    assert damage_corpus.whole_paths([tmp_path], ["*/b.*"]) == [path]
    assert damage_corpus.whole_paths([tmp_path], ["*/a.*"]) == []
