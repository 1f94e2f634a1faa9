"""What a pull request comes to: the base's terms, both sides' variants, and what the head tried to change.

Policy, budgets, task, data set, protocol, sites and incumbent are the base's, so that a pull request cannot raise its
own cap. The head brings variants and says which of them it proposes.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outweigh.app.factor_lock import FILE as FACTOR_LOCK
from outweigh.app.pr_checkouts import Side
from outweigh.config import FILE_NAME, loads_project
from outweigh.config.locate import line_of, locate
from outweigh.core.errors import ConfigError, UsageError
from outweigh.core.project import Project, VariantSpec
from outweigh.core.variant import Option
from outweigh.core.verdict import Outcome, PartResult
from outweigh.data.artefacts import parse_reference
from outweigh.data.torch_models import torch_reference

#: What a base's variant is called beside the head's of the same name; no declared name can hold an "@".
_OF_BASE = "@base"
#: Options of a variant that may name a file of the checkout.
_FILE_OPTIONS = ("weights", "tokenizer")


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A key outside the variants that the head writes otherwise. "" where a side does not write it."""

    key: str
    base: str
    head: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is laid on the scales.

    Attributes:
        project: the base's, with the variants of both sides and the head's proposal; paths start at the base's
            checkout, the head's own files are absolute.
        names: variants to measure, incumbent and proposal first. Empty: nothing is proposed.
        changed: variants that the head adds or changes.
        passed_over: the base's editions of changed variants, which are not measured.
        unweighed_baseline: what the head would put in service and does not propose, in a sentence; "" if nothing.
        policy: keys the head tried to change; the base's hold.
        lines: part of the gate -> line of the head's energy.toml that speaks of it.
    """

    project: Project
    names: tuple[str, ...]
    changed: tuple[str, ...]
    passed_over: tuple[str, ...]
    unweighed_baseline: str
    policy: tuple[PolicyChange, ...]
    lines: Mapping[str, int]


def case_of(base: Side, head: Side) -> Case:
    """Read both sides.

    Raises:
        ConfigError: an energy.toml is missing or refused; the error names the side.
        UsageError: the head changes several variants and does not say which one it proposes.
    """
    base_text, head_text = _text(base), _text(head)
    ours, theirs = _project(base, base_text), _project(head, head_text)
    changed = changed_variants(ours, theirs)
    proposal = _proposal(ours, theirs, changed)
    variants, renamed = _merged(ours, theirs, changed)
    in_service = {renamed.get(name, name) for name in (ours.gate.incumbent, ours.gate.anchor) if name}
    passed_over = tuple(name for name in renamed.values() if name not in in_service)
    gate = replace(
        ours.gate,
        incumbent=renamed.get(ours.gate.incumbent, ours.gate.incumbent),
        anchor=renamed.get(ours.gate.anchor, ours.gate.anchor),
        proposal=proposal,
    )
    project = replace(ours, variants=variants, gate=gate)
    first = [gate.incumbent, proposal, *([gate.anchor] if gate.anchor else [])]
    others = [spec.name for spec in variants if spec.name not in passed_over]
    return Case(
        project=project,
        names=tuple(dict.fromkeys([*first, *others])) if proposal else (),
        changed=changed,
        passed_over=passed_over,
        unweighed_baseline=_unweighed(ours, theirs, changed, proposal),
        policy=tuple(_policy_changes(base, head, base_text, head_text, proposal)),
        lines=_lines(head_text, ours),
    )


def changed_variants(base: Project, head: Project) -> tuple[str, ...]:
    """Variants of the head that the base does not have, or has with other words, other files or another parent."""
    known = {spec.name: spec for spec in base.variants}
    own = {
        spec.name
        for spec in head.variants
        if spec.name not in known
        or spec != known[spec.name]
        or digest_of(spec, Path(base.root)) != digest_of(spec, Path(head.root))
    }
    parents = {spec.name: spec.parent for spec in head.variants}

    def inherits(name: str) -> bool:
        while name:
            if name in own:
                return True
            name = parents[name]
        return False

    return tuple(spec.name for spec in head.variants if inherits(spec.name))


def digest_of(spec: VariantSpec, root: Path) -> str:
    """SHA-256 over the files a variant names itself: its model with what lies beside it under the same name (weights
    kept apart), and the files among its options. "" where it names none.
    """
    digest = hashlib.sha256()
    for reference in _references(spec):
        torch = torch_reference(reference)
        for file in _files(root / (reference if torch is None else str(torch.file))):
            digest.update(file.name.encode() + b"\0")
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _references(spec: VariantSpec) -> Iterator[str]:
    options = dict(spec.options)
    for reference in (spec.model, *(str(options.get(name, "")) for name in _FILE_OPTIONS)):
        if reference and parse_reference(reference) is None:
            yield reference


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    if not path.is_file():
        return []
    # model.onnx keeps its large weights in model.onnx.data, model.onnx_data or model.data.
    return sorted(
        file
        for file in path.parent.iterdir()
        if file.is_file() and (file.name.startswith(path.name) or file.name.startswith(f"{path.stem}.data"))
    )


def _merged(base: Project, head: Project, changed: tuple[str, ...]) -> tuple[tuple[VariantSpec, ...], dict[str, str]]:
    """The variants of both sides; what both call by one name and means two things is the head's, the base's renamed."""
    both = {spec.name for spec in base.variants} & set(changed)
    renamed = {name: f"{name}{_OF_BASE}" for name in (spec.name for spec in base.variants) if name in both}
    ours = [
        replace(spec, name=renamed.get(spec.name, spec.name), parent=renamed.get(spec.parent, spec.parent))
        for spec in base.variants
    ]
    theirs = [_from_head(spec, Path(head.root)) for spec in head.variants if spec.name in changed]
    return (*ours, *theirs), renamed


def _from_head(spec: VariantSpec, root: Path) -> VariantSpec:
    def absolute(reference: str) -> str:
        return str((root / reference).absolute()) if parse_reference(reference) is None else reference

    def option(name: str, value: Option) -> Option:
        return absolute(value) if name in _FILE_OPTIONS and isinstance(value, str) and value else value

    options = tuple((name, option(name, value)) for name, value in spec.options)
    return replace(spec, model=absolute(spec.model) if spec.model else "", options=options)


def _proposal(base: Project, head: Project, changed: tuple[str, ...]) -> str:
    """What the head proposes: by name; else what it would put in service; else the one variant it adds or changes."""
    if head.gate.proposal:
        return head.gate.proposal
    in_service = head.gate.incumbent
    if in_service != base.gate.incumbent or in_service in changed:
        return in_service
    if len(changed) > 1:
        remedy = f'Say which one it proposes: [gate] proposal = "{changed[0]}"'
        raise UsageError(f"the head changes several variants ({', '.join(changed)}) and proposes none", remedy)
    return changed[0] if changed else ""


def _unweighed(base: Project, head: Project, changed: tuple[str, ...], proposal: str) -> str:
    in_service = head.gate.incumbent
    if in_service == proposal or (in_service == base.gate.incumbent and in_service not in changed):
        return ""
    how = "changes" if in_service == base.gate.incumbent else "switches to"
    return (
        f"the head {how} {in_service}, which is what would be in service, and proposes {proposal}: "
        f"what it puts in service has not been weighed"
    )


def baseline_part(sentence: str) -> PartResult:
    """Inconclusive: nothing was measured against it, and nothing passes on the strength of it."""
    return PartResult(
        part="baseline", subject="", outcome=Outcome.INCONCLUSIVE, statistic=None, bounds=None, threshold=None,
        unit="1", distance=None, p_hold=None, p_refute=None, binding=True, explanation=sentence,
    )  # fmt: skip


# --- files ------------------------------------------------------------------------------------------


def _text(side: Side) -> str:
    path = side.folder / FILE_NAME
    where = f"{side.inside}/{FILE_NAME}".lstrip("/")
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as err:
        remedy = "Merge the energy.toml first, on its own: a pull request is held to the base's"
        if side.name == "head":
            remedy = "Keep it: without it nobody can say what is proposed"
        raise ConfigError(f"{where} ({side.title})", 0, "there is no such file", remedy) from err
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{where} ({side.title})", 0, "it cannot be read as UTF-8 text", "Mend the file") from err


def _project(side: Side, text: str) -> Project:
    try:
        return loads_project(text, side.folder / FILE_NAME)
    except ConfigError as err:
        # The checkout is gone when somebody reads this; the side is what helps.
        where = f"{side.inside}/{FILE_NAME}".lstrip("/")
        raise ConfigError(f"{where} ({side.title})", err.line, err.problem, err.remedy) from err


def _policy_changes(base: Side, head: Side, base_text: str, head_text: str, proposal: str) -> Iterator[PolicyChange]:
    ours, theirs = dict(_flat(tomllib.loads(base_text))), dict(_flat(tomllib.loads(head_text)))
    for key in dict.fromkeys([*ours, *theirs]):
        if ours.get(key) == theirs.get(key) or key == "gate.proposal" or key.startswith("variants."):
            continue
        if key == "gate.incumbent" and theirs.get(key) == proposal:
            continue  # to put in service what one proposes is what a proposal is for
        yield PolicyChange(key, ours.get(key, ""), theirs.get(key, ""))
    if _lock_of(base) != _lock_of(head):
        yield PolicyChange(FACTOR_LOCK, *("" if _lock_of(side) is None else "as it is there" for side in (base, head)))
    for key, value in ours.items():
        if key.startswith("task.") and _differs(base.folder / value, head.folder / value):
            yield PolicyChange(key, f"{value} as it is", f"{value} with another content")


def _lock_of(side: Side) -> bytes | None:
    path = side.folder / FACTOR_LOCK
    return path.read_bytes() if path.is_file() else None


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        if isinstance(value, dict):
            yield from _flat(value, f"{key}.")
        else:
            yield key, value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _differs(one: Path, other: Path) -> bool:
    try:
        return one.exists() and _content(one) != _content(other)
    except OSError:
        return False  # no name of a file, but a text that happens to be no path


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    files: Iterable[Path] = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    for file in files:
        digest.update(str(file.relative_to(path)).encode() + b"\0")
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _lines(text: str, project: Project) -> dict[str, int]:
    """Part of the gate -> line of energy.toml, for those who show a verdict beside the file."""
    lines = locate(text.replace("\r\n", "\n"))
    found = {"": line_of(lines, ("gate",)) or 1}
    for budget in project.budgets:
        found[f"caps: {budget.name}"] = line_of(lines, ("budget", budget.name)) or 1
    for index, guard in enumerate(project.task.guards):
        found[f"guards: {guard.metric}"] = line_of(lines, ("task", "guards", index)) or 1
    found["value"] = line_of(lines, ("gate", "value")) or found[""]
    return found
