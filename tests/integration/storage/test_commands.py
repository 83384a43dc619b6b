"""`millrace storage`, as people and programs use it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from millrace.cli.main import app
from millrace.settings import StorageSettings
from millrace.store.blobs import About, LocalBlobStore
from millrace.store.blobs.markers import Markers
from millrace.store.blobs.opening import open_s3
from millrace.store.blobs.s3 import open_client
from tests.integration.storage.conftest import environment
from tests.support.s3 import S3Server

KEY = "temp/videos/2026/11/27/clip.mp4"
only_s3mock = pytest.mark.parametrize("server", ["s3mock"], indirect=True)
only_versitygw = pytest.mark.parametrize(
    "server", [pytest.param("versitygw", marks=pytest.mark.versitygw)], indirect=True
)


class Shell:
    """Commands with the settings of a bucket that is not there yet."""

    def __init__(self, server: S3Server, folder: Path) -> None:
        self.settings = server.settings(f"bucket-{uuid.uuid4().hex[:12]}")
        self.folder = folder
        self.more: dict[str, str] = {}

    def __call__(self, *words: str) -> Result:
        known = environment(self.settings, MILLRACE_BLOBS=str(self.folder), **self.more)
        return CliRunner().invoke(app, ["storage", *words], env=known)

    def json(self, *words: str, status: int = 0) -> Any:  # noqa: ANN401 - JSON
        result = self(*words, "--json")
        assert result.exit_code == status, result.stderr
        return json.loads(result.stdout)

    def rules(self) -> list[dict[str, Any]]:
        """The lifecycle rules, by a client of its own."""

        async def read() -> list[dict[str, Any]]:
            async with open_client(self.settings) as client:
                found = await client.get_bucket_lifecycle_configuration(Bucket=self.settings.s3_bucket or "")
                return [dict(rule) for rule in found["Rules"]]

        return asyncio.run(read())


@pytest.fixture
def shell(server: S3Server, tmp_path: Path) -> Shell:
    return Shell(server, tmp_path / "blobs")


@only_s3mock
def test_setup_makes_the_bucket_and_its_rules_as_often_as_it_is_called(shell: Shell) -> None:
    first = shell.json("setup", "--days", "5")
    assert first["ok"]
    states = {line["name"]: line["state"] for line in first["settings"]}
    assert states["bucket"] == states["lifecycle"] == states["versioning"] == "set"
    rules = {rule["ID"]: rule for rule in shell.rules()}
    assert rules["millrace-temp"]["Filter"] == {"Prefix": "temp/"}
    assert rules["millrace-temp"]["Expiration"] == {"Days": 5}
    assert rules["millrace-temp"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 1}
    assert rules["millrace-parts"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert {rule["Status"] for rule in rules.values()} == {"Enabled"}
    again = shell("setup")
    assert again.exit_code == 0
    assert "temp/ expires after 7 d, unfinished uploads after 1 d" in again.stdout
    assert {rule["ID"]: rule.get("Expiration") for rule in shell.rules()} == {
        "millrace-temp": {"Days": 7},
        "millrace-parts": None,
    }


@only_s3mock
def test_rules_of_others_stay(shell: Shell) -> None:
    shell("setup")

    async def add() -> None:
        theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 90}}
        async with open_client(shell.settings) as client:
            await client.put_bucket_lifecycle_configuration(
                Bucket=shell.settings.s3_bucket or "",
                LifecycleConfiguration={"Rules": [theirs]},  # type: ignore[list-item]  # as the service takes it
            )

    asyncio.run(add())
    assert shell.json("setup")["ok"]
    assert {rule["ID"] for rule in shell.rules()} == {"theirs", "millrace-temp", "millrace-parts"}


@only_versitygw
def test_a_server_without_lifecycle_rules_is_set_up_as_far_as_it_goes_and_the_answer_is_no(shell: Shell) -> None:
    answer = shell.json("setup", "--log-bucket", "logs-of-tests", status=1)
    states = {line["name"]: line["state"] for line in answer["settings"]}
    assert states == {
        "bucket": "set",
        "lifecycle": "not implemented",
        "encryption": "not implemented",
        "versioning": "set",
        "public access": "not implemented",
        "access log": "not implemented",
    }
    assert "Temporary media does not expire" in shell("setup").stdout


def test_check_says_what_works_and_leaves_nothing(shell: Shell) -> None:
    shell("setup")
    answer = shell.json("check")
    assert (answer["mode"], answer["ok"]) == ("s3", True)
    assert [step["name"] for step in answer["steps"]] == ["write", "read", "signed URL", "delete"]

    async def keys() -> int:
        async with open_s3(shell.settings) as s3:
            return (await s3.client.list_objects_v2(Bucket=s3.bucket))["KeyCount"]

    assert asyncio.run(keys()) == 0
    assert "ok   signed URL" in shell("check").stdout


def test_check_does_not_take_the_folder_for_s3(shell: Shell) -> None:
    shell.settings = shell.settings.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    answer = shell.json("check", status=1)
    (step,) = answer["steps"]
    assert (step["name"], step["ok"]) == ("write", False)
    assert "MILLRACE_S3_ENDPOINT" in step["detail"]


@only_versitygw
def test_check_with_wrong_keys_says_what_to_check(shell: Shell) -> None:
    shell.more = {"MILLRACE_S3_SECRET_ACCESS_KEY": "a-wrong-one"}
    result = shell("check")
    assert result.exit_code == 1
    assert "FAIL write: S3 refuses (SignatureDoesNotMatch): check MILLRACE_S3_ACCESS_KEY_ID" in result.stdout
    assert "a-wrong-one" not in result.output


def test_heal_moves_what_was_left_here(shell: Shell) -> None:
    shell("setup")
    assert shell.json("heal") == {"moved": 0, "left": 0, "reason": None}
    content = os.urandom(1000)

    async def leave() -> None:
        Markers(shell.folder).mark(KEY, About({"title": "A"}))
        await LocalBlobStore(shell.folder).put_bytes(KEY, content)

    asyncio.run(leave())
    away = shell.settings
    shell.settings = away.model_copy(update={"s3_endpoint": "http://127.0.0.1:9"})
    left = shell.json("heal", status=1)
    assert (left["moved"], left["left"]) == (0, 1)
    assert "S3 does not answer" in left["reason"]
    shell.settings = away
    healed = shell("heal")
    assert healed.exit_code == 0
    assert healed.stdout == f"{KEY} is in S3\n1 files are in S3 now; none is left.\n"
    assert shell.json("heal") == {"moved": 0, "left": 0, "reason": None}

    async def read() -> bytes:
        async with open_s3(shell.settings) as s3:
            return await s3.read(KEY)

    assert asyncio.run(read()) == content


def test_url_gives_one_that_anybody_can_read(shell: Shell) -> None:
    shell("setup")

    async def put() -> None:
        async with open_s3(shell.settings) as s3:
            await s3.put_bytes(KEY, b"for you")

    asyncio.run(put())
    answer = shell.json("url", KEY, "--expires-s", "60")
    assert answer["url"] == f"s3://{shell.settings.s3_bucket}/{KEY}"
    assert httpx.get(answer["presigned"], trust_env=False).content == b"for you"
    plain = shell("url", KEY).stdout.strip()
    assert httpx.get(plain, trust_env=False).content == b"for you"
    assert re.search(r"X-Amz-Expires=3600\b", plain)
    missing = shell("url", "temp/missing")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "there is no temp/missing" in missing.stderr
    assert shell("url", KEY, "--expires-s", "604801").exit_code == 2


def test_commands_without_a_bucket_say_what_to_set(shell: Shell) -> None:
    shell.more = {"MILLRACE_S3_BUCKET": "", "S3_BUCKET": "", "S3_BUCKET_NAME": ""}
    for words in (("setup",), ("check",), ("heal",), ("url", KEY)):
        result = shell(*words)
        assert (result.exit_code, result.stdout) == (78, "")
        assert "MILLRACE_S3_BUCKET" in result.stderr


def test_names_that_no_bucket_can_have_are_refused(shell: Shell) -> None:
    for bucket, words in (("No Bucket!", ()), ("fine", ("--log-bucket", "no/bucket"))):
        shell.more = {"MILLRACE_S3_BUCKET": bucket}
        result = shell("setup", *words)
        assert result.exit_code == 78
        assert "name of a bucket" in result.stderr


def test_the_local_mode_has_its_commands_too(shell: Shell) -> None:
    shell.more = {"MILLRACE_STORAGE_MODE": "local", "MILLRACE_S3_BUCKET": ""}
    assert shell.json("check")["ok"]
    asyncio.run(LocalBlobStore(shell.folder).put_bytes(KEY, b"x"))
    assert shell.json("url", KEY) == {"key": KEY, "url": (shell.folder / KEY).as_uri(), "presigned": None}
    assert shell("heal").exit_code == 78


def test_settings_are_those_of_the_services(shell: Shell) -> None:
    assert isinstance(shell.settings, StorageSettings)
    shell.more = {"MILLRACE_STORAGE_MODE": "tape"}
    result = shell("check")
    assert result.exit_code == 78
    assert "MILLRACE_STORAGE_MODE" in result.stderr
