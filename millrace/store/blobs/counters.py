"""What was stored where, counted; names are part of the contract with dashboards."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter

S3_UPLOADS: Final = Counter("ml_storage_s3_uploads", "Objects that S3 has taken.")
S3_UPLOAD_ERRORS: Final = Counter("ml_storage_s3_upload_errors", "Uploads that S3 did not take.")
LOCAL: Final = Counter("ml_storage_local", "Objects that went to the local folder.")


def storage_counts() -> dict[str, float]:
    """The counts of this process: `s3Uploads`, `s3UploadErrors`, `localStorage`, and `s3UploadRate`.

    The rate is the share of all that was stored that went to S3, 0 to 1; 0 before the first.
    """
    taken, local = _value(S3_UPLOADS), _value(LOCAL)
    stored = taken + local
    return {
        "s3Uploads": taken,
        "s3UploadErrors": _value(S3_UPLOAD_ERRORS),
        "localStorage": local,
        "s3UploadRate": taken / stored if stored else 0.0,
    }


def _value(counter: Counter) -> float:
    (family,) = counter.collect()
    return next(sample.value for sample in family.samples if sample.name.endswith("_total"))
