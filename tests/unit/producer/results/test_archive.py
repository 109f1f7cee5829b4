"""Parts of an archive, and the names of its files."""

import pytest

from producer.results.archive import ArchiveFile, part_of, safe_path


def files(*sizes):
    return [ArchiveFile(n, f"k{n}", f"p{n}", size) for n, size in enumerate(sizes)]


def indexes(part):
    return [file.index for file in part.files]


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], [[]]),
        ([1, 1, 1], [[0, 1, 2]]),
        ([1, 1, 1, 1], [[0, 1, 2], [3]]),  # files
        ([4, 4, 4], [[0, 1], [2]]),  # bytes
        ([20, 1, 20], [[0], [1], [2]]),  # one larger than a part
        ([None, None, 9], [[0, 1, 2]]),
    ],
)
def test_parts_are_cut_by_files_and_bytes(sizes, parts):
    found = [
        part_of(files(*sizes), number, most_files=3, most_bytes=10)
        for number in range(1, len(parts) + 1)
    ]

    assert [indexes(part) for part in found] == parts
    assert {part.parts for part in found} == {len(parts)}
    assert part_of(files(*sizes), len(parts) + 1, most_files=3, most_bytes=10) is None


@pytest.mark.parametrize(
    ("path", "safe"),
    [
        ("a/b.png", "a/b.png"),
        ("../a.png", "_/a.png"),
        ("/etc/passwd", "etc/passwd"),
        ("a//b", "a/b"),
        ("a\\..\\b", "a_.._b"),
        ("a/.../b", "a/_/b"),
        ("", "_"),
    ],
)
def test_no_path_leaves_its_folder(path, safe):
    assert safe_path(path) == safe
