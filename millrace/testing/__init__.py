"""For tests of stages: a stand-in for the job core, and events."""

from millrace.testing.run import Call, FakeRun
from millrace.testing.samples import NOW, media_ready, share_created, transcript_ready

__all__ = ["NOW", "Call", "FakeRun", "media_ready", "share_created", "transcript_ready"]
