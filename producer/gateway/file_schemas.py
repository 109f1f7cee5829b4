"""Bodies of requests and responses about files: uploads and archives."""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, StringConstraints

from producer.gateway.schemas import Body

MAX_UPLOAD_BYTES: Final = 2**30
"""Largest file that is uploaded."""


class UploadFile(Body):
    """A file that the caller wants to upload."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    bytes: Annotated[int, Field(ge=1, le=MAX_UPLOAD_BYTES)]
    """Its size, which is signed."""
    type: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$")] = (
        "application/octet-stream"
    )


class UploadRequest(Body):
    """Files that the caller wants to upload."""

    files: Annotated[list[UploadFile], Field(min_length=1, max_length=1000)]


class Upload(BaseModel):
    """Where to send a file."""

    key: str
    """Key of the image, for `keys` of a job."""
    url: str
    """Address for `PUT`; a path is one of this gateway."""
    headers: dict[str, str]
    """Headers to send."""


class Uploads(BaseModel):
    """Where to send each file, in the order of the request."""

    uploads: list[Upload]


class ArchiveQuery(Body):
    """Which part of a job's archive to return."""

    output: Annotated[
        str | None, Field(max_length=64, description="One output; by default all of them")
    ] = None
    part: Annotated[int, Field(ge=1, le=2**31, description="Number of the part")] = 1
    format: Literal["zip", "links"] = "zip"


class ArchiveLink(BaseModel):
    """A file of an archive."""

    index: int
    """Index of its image."""
    path: str
    """Name of the file in the archive."""
    size_bytes: int | None
    url: str
    """Signed link, valid for an hour."""


class ArchiveLinks(BaseModel):
    """The files of a part, in the order of the images."""

    links: list[ArchiveLink]
    parts: int
    """Number of parts of the archive."""
