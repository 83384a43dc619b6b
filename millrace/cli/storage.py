"""`millrace storage`: the media store's bucket and folder, with the settings of the services."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, TypeVar

import typer
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from millrace.cli.console import Report, print_json, reporter, show
from millrace.cli.exits import FAILED, one_sentence
from millrace.cli.storage_view import (
    Checked,
    HealedAnswer,
    SetUp,
    UrlAnswer,
    checked_report,
    healed_report,
    set_up_report,
    url_report,
)
from millrace.clock import SystemClock
from millrace.embedded.paths import StackPaths, default_data
from millrace.errors import ConfigurationError
from millrace.settings import Folder, StorageSettings
from millrace.startup import load_settings
from millrace.store.blobs import BlobMissing, BlobStore
from millrace.store.blobs.check import check_store
from millrace.store.blobs.fallback import FallbackBlobStore
from millrace.store.blobs.heal import Healed, heal
from millrace.store.blobs.opening import check_bucket, open_blobs, open_s3

storage_app = typer.Typer(no_args_is_help=True, help="The media store: bucket, folder, and what is kept in them.")
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]
T = TypeVar("T")
_LONGEST_URL_S = 7 * 24 * 3600


class StorageCommandSettings(StorageSettings, BaseSettings):
    """What the commands need of the services' settings."""

    model_config = SettingsConfigDict(env_prefix="MILLRACE_", env_ignore_empty=True, frozen=True, extra="ignore")

    blobs: Folder = Field(default_factory=lambda: StackPaths(default_data()).blobs)


@storage_app.callback()
def storage() -> None:
    """The media store: bucket, folder, and what is kept in them."""


@storage_app.command("setup")
def setup(
    days: Annotated[
        int | None, typer.Option(min=1, help="Days that temporary media stays; MILLRACE_S3_TEMP_DAYS otherwise")
    ] = None,
    log_bucket: Annotated[
        str | None, typer.Option(metavar="NAME", help="Log accesses to this bucket; made when missing")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make the bucket of MILLRACE_S3_BUCKET and its rules, or set them again; run it as often as you like.

    Ends 1 when temporary media would not expire, or a setting was refused.
    """
    with one_sentence():
        settings = load_settings(StorageCommandSettings)
        answer = _run(_set_up(settings, days or settings.s3_temp_days, log_bucket))
    if as_json:
        print_json(answer)
    else:
        show(set_up_report(answer))
    if not answer.ok:
        raise typer.Exit(FAILED)


@storage_app.command("check")
def check(as_json: JsonOption = False) -> None:
    """Write, read, sign and delete a small object, and say what works. Ends 1 when something does not."""
    with one_sentence():
        answer = _run(_check(load_settings(StorageCommandSettings)))
    if as_json:
        print_json(answer)
    else:
        show(checked_report(answer))
    if not answer.ok:
        raise typer.Exit(FAILED)


@storage_app.command("heal")
def heal_folder(as_json: JsonOption = False) -> None:
    """Move to S3 what went to the local folder while S3 was away. Ends 1 when some of it is left."""
    with one_sentence():
        done = _run(_heal(load_settings(StorageCommandSettings), reporter(as_json=as_json)))
    answer = HealedAnswer(moved=done.moved, left=done.left, reason=done.reason)
    if as_json:
        print_json(answer)
    else:
        show(healed_report(answer))
    if answer.left:
        raise typer.Exit(FAILED)


@storage_app.command("url")
def url(
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `blob_key` of events names it")],
    expires_s: Annotated[
        int, typer.Option(min=1, max=_LONGEST_URL_S, help="Seconds that the signed URL is valid")
    ] = 3600,
    as_json: JsonOption = False,
) -> None:
    """Where an object is, and a signed URL by which anybody can read it for a while."""
    with one_sentence():
        answer = _run(_url(load_settings(StorageCommandSettings), key, timedelta(seconds=expires_s)))
    if as_json:
        print_json(answer)
    else:
        show(url_report(answer))


async def _set_up(settings: StorageCommandSettings, days: int, log_bucket: str | None) -> SetUp:
    if log_bucket is not None:
        check_bucket(log_bucket)
    async with open_s3(settings) as s3:
        from millrace.store.blobs.bucket import Wish, set_up  # noqa: PLC0415 - needs packages that a folder does without

        wish = Wish(s3.bucket, days, log_bucket)
        return SetUp.of(s3.bucket, await set_up(s3.client, wish))


async def _check(settings: StorageCommandSettings) -> Checked:
    async with open_blobs(settings, settings.blobs) as blobs:
        return Checked.of(settings.storage_mode, await check_store(_first(blobs, settings), SystemClock().now()))


def _first(blobs: BlobStore, settings: StorageCommandSettings) -> BlobStore:
    """Where content goes, and not what takes it in its place."""
    if not isinstance(blobs, FallbackBlobStore):
        return blobs
    return blobs.local if settings.storage_mode == "local" else blobs.s3


async def _heal(settings: StorageCommandSettings, report: Report) -> Healed:
    async with open_blobs(settings, settings.blobs) as blobs:
        if not isinstance(blobs, FallbackBlobStore):
            raise ConfigurationError(
                "Nothing is healed without a bucket: set MILLRACE_S3_BUCKET, and install `millrace[s3]`."
            )
        return await heal(blobs, SystemClock().now(), report)


async def _url(settings: StorageCommandSettings, key: str, expires: timedelta) -> UrlAnswer:
    async with open_blobs(settings, settings.blobs) as blobs:
        if not await blobs.exists(key):
            raise BlobMissing(f"there is no {key} in the media store")
        return UrlAnswer(key=key, url=await blobs.url(key), presigned=await blobs.presigned(key, expires))


def _run(work: Coroutine[object, object, T]) -> T:
    return asyncio.run(work)
