"""What the API of Replicate says about a prediction."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from producer.gateway.problems import not_found
from shared.job.spec import JobState
from shared.job.ticket import JOB_ID
from shared.jobstore.light import LightResult


@dataclass(frozen=True)
class Prediction:
    """A light job with what only its caller knows; its ID holds all of it."""

    job_id: str
    model: str
    version: str

    @property
    def id(self) -> str:
        """The ID of the prediction."""
        text = json.dumps([self.job_id, self.model, self.version])
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def of(cls, prediction_id: str) -> Self:
        """Return the prediction that an ID names.

        Raises:
            Problem: If it names none.
        """
        try:
            padded = prediction_id + "=" * (-len(prediction_id) % 4)
            job_id, model, version = json.loads(base64.urlsafe_b64decode(padded))
        except (binascii.Error, ValueError, TypeError) as err:
            raise not_found("this prediction") from err
        if not all(isinstance(each, str) for each in (job_id, model, version)):
            raise not_found("this prediction")
        if not JOB_ID.fullmatch(job_id):
            raise not_found("this prediction")
        return cls(job_id, model, version)


def document(
    prediction: Prediction,
    address: str,
    *,
    status: str,
    output: str | None,
    error: str | None,
    created_at: datetime,
    finished_at: datetime | None,
) -> Mapping[str, Any]:
    """Return the document of a prediction.

    Args:
        prediction: The prediction.
        address: Address of the API.
        status: A status of Replicate.
        output: Where the picture is.
        error: Why there is none.
        created_at: When it was created.
        finished_at: When it ended.
    """
    where = f"{address}/predictions/{prediction.id}"
    return {
        "id": prediction.id,
        "model": prediction.model,
        "version": prediction.version,
        "input": {},
        "logs": "",
        "status": status,
        "output": output,
        "error": error,
        "metrics": {},
        "created_at": created_at.isoformat(),
        "started_at": created_at.isoformat(),
        "completed_at": None if finished_at is None else finished_at.isoformat(),
        "urls": {"get": where, "cancel": f"{where}/cancel"},
    }


def status_of(result: LightResult) -> str:
    """Return the status of a prediction."""
    if result.state is JobState.CANCELLED:
        return "canceled"
    if not result.records:
        return "starting"
    return "failed" if result.records[0].error is not None else "succeeded"


def error_of(result: LightResult) -> str | None:
    """Return why the image of a prediction failed."""
    error = result.records[0].error if result.records else None
    return None if error is None else f"{error.get('class')}: {error.get('reason')}"
