"""What S3's failures mean: an outage or a refusal. The library's own text may hold anything and goes no further."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
)

from millrace.errors import Unavailable
from millrace.store.blobs.port import Refused

CUT_OFF: Final = (BotoCoreError, aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, OSError)
"""No answer, or only the beginning of one."""
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
_KEYS = "check MILLRACE_S3_ACCESS_KEY_ID, MILLRACE_S3_SECRET_ACCESS_KEY and what they may do in the bucket"
_SENTENCES: Final = {
    "NoSuchBucket": "there is no such bucket: make it with `millrace storage setup`, or set MILLRACE_S3_BUCKET",
    "PermanentRedirect": "the bucket is in another region: set MILLRACE_S3_REGION",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set MILLRACE_S3_REGION",
    **dict.fromkeys(("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "XAdminUserNotFound"), _KEYS),
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "NotImplemented": "it does not know all of what it was asked; MILLRACE_S3_ENCRYPTION=none asks for no encryption",
}


def code_of(error: ClientError) -> str:
    """The server's code of the error, such as `AccessDenied`; the HTTP status where it gave none."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if _CODE.fullmatch(code) else str(status_of(error))


def status_of(error: ClientError) -> int:
    """HTTP status of the answer; 0 when there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def translated() -> Iterator[None]:
    """Turn failures of a request into errors of the port.

    :raises Refused: keys, bucket or settings are wrong.
    :raises Unavailable: the server does not answer, or not now.
    """
    try:
        yield
    except ClientError as exc:
        raise _of(exc) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise Refused(f"S3 cannot be used without keys: {_KEYS}") from None
    except (ConnectTimeoutError, ReadTimeoutError, TimeoutError):
        raise Unavailable("S3 does not answer in time: is it up, and is MILLRACE_S3_ENDPOINT right?") from None
    except CUT_OFF as exc:
        raise Unavailable(
            f"S3 does not answer ({type(exc).__name__}): is it up, and is MILLRACE_S3_ENDPOINT right?"
        ) from None


def sentence(error: ClientError) -> str:
    """What the server's answer means, and what to do about it."""
    return str(_of(error))


def _of(error: ClientError) -> Unavailable:
    code, status = code_of(error), status_of(error)
    if code in _SENTENCES:
        return Refused(f"S3 refuses ({code}): {_SENTENCES[code]}")
    if status in (401, 403):
        return Refused(f"S3 refuses ({code}): {_KEYS}")
    if status == 429 or status >= 500:
        return Unavailable(f"S3 does not work at present ({code}): it is tried again")
    return Refused(f"S3 does not take this ({code}): check MILLRACE_S3_ENDPOINT, …_REGION, …_BUCKET and …_PATH_STYLE")
