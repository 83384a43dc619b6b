"""What a search is limited to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Filters:
    """Shares that are searched; None for no limit.

    `kind` is the source kind, `content_type` what it is: video, article, `since` and `until` (not included) are
    about when something was shared, `language` is a BCP 47 tag, of which the first part counts: as it was said with
    the share, or else as a stage, or the text itself, tells.
    """

    kind: str | None = None
    content_type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    language: str | None = None
    category: str | None = None
    share_id: str | None = None
    other_than: str | None = None
    """A share that is left out."""
    least_quality: float | None = None
    """0 to 1; shares whose quality nobody knows are left out."""
    among: tuple[str, ...] | None = None
    """Shares that alone are searched."""

    def sql(self, *, first: int) -> tuple[str, list[object]]:
        """Conditions on the table `s` of shares, each after AND, and their values.

        :param first: number of the first parameter that is free.
        """
        conditions = {
            "s.source_kind = {}": self.kind,
            "s.content_type = {}": self.content_type,
            "s.created_at >= {}": self.since,
            "s.created_at < {}": self.until,
            _LANGUAGE: self.language,
            _CATEGORY: self.category,
            "s.share_id = {}": self.share_id,
            "s.share_id <> {}": self.other_than,
            f"{_QUALITY} >= {{}}": self.least_quality,
            "s.share_id = ANY({}::text[])": self.among,
        }
        given = {condition: value for condition, value in conditions.items() if value is not None}
        parts = [f"AND {condition.format(f'${number}')}" for number, condition in enumerate(given, first)]
        return " ".join(parts), list(given.values())


EVERYTHING = Filters()
"""No limits."""

# What a stage has found out about a share stands in its work's result.
_OF_STAGE = """EXISTS (
  SELECT 1 FROM jobs k JOIN work w ON w.work_key = k.work_key
   WHERE k.share_id = s.share_id AND k.stage {stage} AND k.state = 'done' AND {condition})"""
_IS_LANGUAGE = "split_part(lower({value}), '-', 1) = split_part(lower({{0}}), '-', 1)"
_LANGUAGE = (
    f"({_IS_LANGUAGE.format(value='s.language')} OR s.language IS NULL AND "
    + _OF_STAGE.format(
        stage="IN ('transcribe', 'summarize')", condition=_IS_LANGUAGE.format(value="w.result ->> 'language'")
    )
    + " OR s.language IS NULL AND EXISTS (SELECT FROM share_embeddings k JOIN insights i ON i.work_key = k.work_key "
    + "WHERE k.share_id = s.share_id AND "
    + _IS_LANGUAGE.format(value="i.language")
    + "))"
)
_CATEGORY = _OF_STAGE.format(stage="= 'summarize'", condition="lower(w.result ->> 'category') = lower({0})")
# As a model says, or else by rule; of the work that is searched: the job's own may have just begun.
_QUALITY = """coalesce(
  (SELECT (w.result ->> 'quality')::float8 FROM jobs k JOIN work w ON w.work_key = k.work_key
    WHERE k.share_id = s.share_id AND k.stage = 'summarize' AND k.state = 'done'),
  (SELECT i.quality FROM share_embeddings k JOIN insights i ON i.work_key = k.work_key
    WHERE k.share_id = s.share_id ORDER BY k.searched_until DESC NULLS LAST LIMIT 1))"""
