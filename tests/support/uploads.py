"""What arrives at a transcription API: a form with a sound file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from email import policy
from email.parser import BytesParser
from functools import cached_property

import av
import numpy as np
from numpy.typing import NDArray

RATE = 16_000


@dataclass(frozen=True)
class Upload:
    """A form's fields, those that are given several times joined by commas, and its file."""

    fields: dict[str, str]
    file: bytes

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return self.fields["model"]

    @cached_property
    def samples(self) -> NDArray[np.float32]:
        """The sound, 16 kHz mono, full scale at 1, shape (samples,)."""
        with av.open(io.BytesIO(self.file), "r") as media:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
            frames = [one for frame in media.decode(audio=0) for one in resampler.resample(frame)]
            frames += resampler.resample(None)
        return np.concatenate([frame.to_ndarray().ravel() for frame in frames])

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / RATE


def uploaded(content_type: str, raw: bytes) -> Upload:
    """Read a multipart form."""
    form = BytesParser(policy=policy.HTTP).parsebytes(f"content-type: {content_type}\r\n\r\n".encode() + raw)
    fields: dict[str, str] = {}
    file = b""
    for part in form.iter_parts():
        name, content = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename():
            file = content
        else:
            key, value = str(name).removesuffix("[]"), content.decode()
            fields[key] = f"{fields[key]},{value}" if key in fields else value
    return Upload(fields, file)
