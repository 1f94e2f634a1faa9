"""One sticky comment on a pull request: found by its marker, made once, written over after.

GitHub and GitLab say the same things in other words. A comment that somebody else wrote is never taken for ours,
marker or not: who may edit it could edit our verdict.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from outweigh.app.pr_api import Api, CommentNotPosted
from outweigh.core.errors import UsageError

_MARKER = re.compile(r"<!-- outweigh-gate: [^\n]* -->")
_ABOUT = re.compile(r"<!-- (\{[^\n]*\}) -->")
#: GitHub takes 65,536 characters; room is left for a line of ours.
_LONGEST = 65_000
_PAGE = 100
_MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class Request:
    """A pull request (or merge request) on its forge.

    Attributes:
        forge: "github" or "gitlab".
        api: base URL of the REST API.
        repository: "owner/name" on GitHub, the project's number or path on GitLab.
        number: of the pull request; None where the event is about none.
        base, head: the two revisions to weigh, as the runner has them; "" where it does not say.
        shown_head: commit that people know the head by.
        token: may be empty.
    """

    forge: str
    api: str
    repository: str
    number: int | None
    base: str
    head: str
    shown_head: str
    token: str


def request_from(environment: Mapping[str, str]) -> Request | None:
    """What a CI system says of the pull request it runs for; None outside of one.

    Sources: GitHub Docs, "Variables" (GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_EVENT_PATH, GITHUB_SHA) and "Webhook
    events and payloads" (pull_request); GitLab Docs, "Predefined CI/CD variables reference".

    Raises:
        UsageError: the event's payload cannot be read.
    """
    if environment.get("GITHUB_REPOSITORY"):
        event = _event(environment.get("GITHUB_EVENT_PATH", ""))
        pull = event.get("pull_request") or {}
        return Request(
            forge="github",
            api=environment.get("GITHUB_API_URL") or "https://api.github.com",
            repository=environment["GITHUB_REPOSITORY"],
            number=_whole(pull.get("number")),
            base=str((pull.get("base") or {}).get("sha") or ""),
            # The runner has checked out the merge of the two: what would be there after merging.
            head=environment.get("GITHUB_SHA", "") if pull else "",
            shown_head=str((pull.get("head") or {}).get("sha") or ""),
            token=environment.get("GITHUB_TOKEN") or environment.get("GH_TOKEN") or "",
        )
    if environment.get("CI_PROJECT_ID") and environment.get("CI_API_V4_URL"):
        target = environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_SHA")
        return Request(
            forge="gitlab",
            api=environment["CI_API_V4_URL"],
            repository=environment["CI_PROJECT_ID"],
            number=_whole(environment.get("CI_MERGE_REQUEST_IID")),
            # The target's sha is only there in merged-result pipelines.
            base=target or environment.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", ""),
            head=environment.get("CI_COMMIT_SHA", ""),
            shown_head=environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA", "")
            or environment.get("CI_COMMIT_SHA", ""),
            token=environment.get("OUTWEIGH_GITLAB_TOKEN", ""),
        )
    return None


def finished_head(environment: Mapping[str, str]) -> str:
    """The head commit of the run that a `workflow_run` event is about, which the forge says and no fork can; or ""."""
    if environment.get("GITHUB_EVENT_NAME") != "workflow_run":
        return ""
    event = _event(environment.get("GITHUB_EVENT_PATH", ""))
    return str((event.get("workflow_run") or {}).get("head_sha") or "")


@dataclass(frozen=True, slots=True)
class Posted:
    """`created`: whether the comment is new, rather than written over."""

    url: str
    created: bool


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment as it was written to a file: its marker, the pull request it speaks of, and the whole text."""

    marker: str
    number: int | None
    head: str
    body: str


def read_comment(path: Path) -> Comment:
    """Raises UsageError when the file is no comment of ours."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8"
        raise UsageError(f"{path} cannot be read ({reason})", "Name the comment.md of the first step") from err
    return parse_comment(text, str(path))


def parse_comment(text: str, source: str = "the comment") -> Comment:
    """Raises UsageError when the text does not begin as a comment of ours does, or is too long to post."""
    first, second = (*text.split("\n", 2), "", "")[:2]
    about = _ABOUT.fullmatch(second)
    if not _MARKER.fullmatch(first) or about is None:
        raise UsageError(f"{source} is no comment of `outweigh gate`", "Name the comment.md of the first step")
    try:
        said = json.loads(about[1])
    except ValueError as err:
        raise UsageError(f"{source} does not say what it is for", "Name the comment.md of the first step") from err
    # What comes from a fork's run is anybody's text: it calls nobody, and it stays a comment's size.
    body = text.replace("@", "&#64;")
    if len(body) > _LONGEST:
        raise UsageError(f"{source} has {len(body):,} characters", f"A comment has at most {_LONGEST:,}")
    return Comment(first, _whole(said.get("number")), str(said.get("head", "")), body)


def post(
    request: Request,
    comment: Comment,
    *,
    login: str = "",
    only_head: str = "",
    wait: Callable[[float], None] = time.sleep,
) -> Posted:
    """Write the comment: over our own one with its marker, else as a new one.

    Args:
        login: who we are, where comments are not posted by an app or bot (GitHub; GitLab says so itself).
        only_head: the commit that the pull request must be at, where the comment comes from another run: a fork's run
            may claim to speak of any pull request.

    Raises:
        UsageError: nobody says which pull request, or it is not at `only_head`.
        CommentNotPosted: the forge cannot be reached, or refuses.
    """
    number = request.number if request.number is not None else comment.number
    if number is None:
        raise UsageError("nobody says which pull request this is about", "Give --number")
    if not request.token:
        remedy = "Set GITHUB_TOKEN (GitLab: OUTWEIGH_GITLAB_TOKEN) for this step"
        raise CommentNotPosted(request.api, "there is no token", True, remedy)
    forge = _Gitlab if request.forge == "gitlab" else _Github
    with Api(request.api, forge.headers(request.token), wait=wait) as api:
        talk = forge(api, request.repository, number, login)
        if only_head and talk.head() != only_head:
            problem = f"pull request {number} is not at {only_head[:10]}, which the comment was made for"
            raise UsageError(problem, "Run the gate again on what it is at now")
        found = next((each for each in talk.mine() if each["body"].startswith(comment.marker)), None)
        return talk.create(comment.body) if found is None else talk.update(found, comment.body)


class _Github:
    """Issue comments, which is what the conversation of a pull request is made of.

    Source: GitHub REST API, version 2022-11-28, "Issue comments" and "Pull requests".
    """

    def __init__(self, api: Api, repository: str, number: int, login: str) -> None:
        self._api, self._login = api, login
        self._repository = f"/repos/{quote(repository)}"
        self._number = number

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def head(self) -> str:
        pull = self._api.call("GET", f"{self._repository}/pulls/{self._number}")
        return str(pull["head"]["sha"])

    def mine(self) -> Iterator[dict[str, Any]]:
        path = f"{self._repository}/issues/{self._number}/comments"
        for comment in _paged(self._api, path):
            author = comment.get("user") or {}
            if author.get("login") == self._login if self._login else author.get("type") == "Bot":
                yield comment

    def create(self, body: str) -> Posted:
        path = f"{self._repository}/issues/{self._number}/comments"
        return Posted(str(self._api.call("POST", path, {"body": body})["html_url"]), True)

    def update(self, found: Mapping[str, Any], body: str) -> Posted:
        path = f"{self._repository}/issues/comments/{int(found['id'])}"
        return Posted(str(self._api.call("PATCH", path, {"body": body})["html_url"]), False)


class _Gitlab:
    """Notes of a merge request. Source: GitLab REST API v4, "Notes" and "Users"."""

    def __init__(self, api: Api, repository: str, number: int, login: str) -> None:
        self._api = api
        self._request = f"/projects/{quote(repository, safe='')}/merge_requests/{number}"

    @staticmethod
    def headers(token: str) -> dict[str, str]:
        return {"PRIVATE-TOKEN": token}

    def head(self) -> str:
        return str(self._api.call("GET", self._request)["sha"])

    def mine(self) -> Iterator[dict[str, Any]]:
        me = self._api.call("GET", "/user")["id"]
        for note in _paged(self._api, f"{self._request}/notes"):
            if (note.get("author") or {}).get("id") == me:
                yield note

    def create(self, body: str) -> Posted:
        return Posted(self._url(self._api.call("POST", f"{self._request}/notes", {"body": body})), True)

    def update(self, found: Mapping[str, Any], body: str) -> Posted:
        answer = self._api.call("PUT", f"{self._request}/notes/{int(found['id'])}", {"body": body})
        return Posted(self._url(answer), False)

    def _url(self, note: Mapping[str, Any]) -> str:
        return f"{self._request.lstrip('/')}#note_{note['id']}"


def _paged(api: Api, path: str) -> Iterator[dict[str, Any]]:
    for page in range(1, _MOST_PAGES + 1):
        found = api.call("GET", path, per_page=_PAGE, page=page)
        yield from found
        if len(found) < _PAGE:
            return


def _event(path: str) -> dict[str, Any]:
    if not path:
        return {}
    try:
        event = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise UsageError(f"the event payload {path} cannot be read", "Give --base, --head and --number") from err
    return event if isinstance(event, dict) else {}


def _whole(value: object) -> int | None:
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if number > 0 else None
