"""Every `outweigh ...` that a page or an example shows is one that can be typed: verbs and options exist.

Lines of code blocks and spans in the text are looked at, also in help texts' examples. Nothing is run, and values
are not checked: `test_docs_examples.py` runs what a page shows with its output. Blocks of data are parsed.
"""

import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from outweigh.cli import plan
from outweigh.cli.main import cli
from outweigh.cli.verbs import VERBS

ROOT = Path(__file__).parents[2]
#: docs/cli.md is made of the help texts themselves.
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "cli.md"),
    *sorted((ROOT / "examples").rglob("*.md")),
]
FENCE = re.compile(r"^( *)```([a-z]+)([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`(outweigh (?:[^`]|\n)+?)`(?!`)")
BEFORE = re.compile(
    r"^(?:\$ |(?:- )?run: |ExecStart=\S*/|0 20 \* \* \* +)?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/|srun )?(outweigh .*)$"
)
STOPS = {"|", "||", "&", "&&", ";", ">", ">>", ")", "2>", "(", "<"}
LANGUAGES = {"bash", "console", "dockerfile", "ini", "json", "promql", "python", "sh", "text", "toml", "yaml"}


def lines_of(text):
    """(line number, command) of every command line in the blocks and spans of a page."""
    for block in FENCE.finditer(text):
        at = text.count("\n", 0, block.start()) + 2
        joined = re.sub(r"\\\n\s*", " ", block[4])
        for offset, line in enumerate(joined.splitlines()):
            found = BEFORE.match(line.strip())
            if found:
                yield at + offset, found[1]
    outside = FENCE.sub(lambda block: "\n" * block[0].count("\n"), text)
    for span in SPAN.finditer(outside):
        yield outside.count("\n", 0, span.start()) + 1, " ".join(span[1].split())


def words_of(line):
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words = []
    for word in lexer:
        if word in STOPS:
            break
        words.append(word)
    return words[1:]


def options_of(command):
    """Every way to write an option, and whether it takes the next word."""
    found = {"-h": False, "--help": False, "--version": False}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            takes = not (parameter.is_flag or parameter.count) and parameter.flag_value is None
            for name in (*parameter.opts, *parameter.secondary_opts):
                found[name] = takes
    return found


def commands_for(words):
    """The command that is meant, and the words that are left; of `plan`, the question that is asked."""
    command, context, left = cli, click.Context(cli), list(words)
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        named = command.get_command(context, left[0])
        if named is None:
            default = getattr(command, "default", None) or ("weigh" if command.name == "gate" else None)
            if default is None and command.name != "report":
                raise LookupError(f"there is no {left[0]!r} in `outweigh {' '.join(words)}`")
            command = command.get_command(context, default or "review")
            break
        command, left = named, left[1:]
    if isinstance(command, click.Group) and command.name == "gate" and left:
        command = command.commands["weigh"]
    if command is plan.command:
        given = {word.partition("=")[0] for word in left}
        command = command.question(next((flag for flag in plan.QUESTIONS if flag in given), ""))
    return command, left


def trouble_with(line):
    """What is wrong with a command line, or ""."""
    try:
        words = words_of(line)
        command, left = commands_for(words)
    except (LookupError, ValueError) as err:
        return str(err)
    if isinstance(command, click.Group) and command is not cli and left and left[0] == "...":
        return ""
    known = options_of(command)
    passes_on = not command.allow_interspersed_args
    skip = False
    for word in left:
        if skip:
            skip = False
            continue
        if word == "--":
            return ""
        if not re.match(r"--?[A-Za-z]", word):
            if passes_on:
                return ""
            continue
        name, given, _ = word.partition("=")
        if name not in known:
            return f"`{line}`: there is no option {name}"
        skip = known[name] and not given
    return ""


def verbs():
    context = click.Context(cli)
    for verb in VERBS:
        yield verb.name, cli.get_command(context, verb.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_a_page_shows_can_be_typed(page):
    text = page.read_text(encoding="utf-8")

    wrong = [f"{page.name}:{number}: {said}" for number, line in lines_of(text) if (said := trouble_with(line))]

    assert not wrong


def test_the_example_of_every_help_text_can_be_typed():
    wrong = []

    def look(command, path):
        for example in re.findall(r"outweigh [^\n]*", command.epilog or ""):
            said = trouble_with(re.split(r"   ", example)[0])
            if said:
                wrong.append(f"{path}: {said}")
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                look(each, f"{path} {name}")

    for name, command in verbs():
        look(command, name)

    assert not wrong


def test_a_verb_or_an_option_that_is_not_there_would_be_found():
    assert trouble_with("outweigh ledger mend")
    assert trouble_with("outweigh plan jobs.toml --nowhere")
    assert trouble_with("outweigh measure --nowhere -- python train.py --epochs 3")
    assert not trouble_with("outweigh measure --phase training -- python train.py --epochs 3")
    assert not trouble_with("outweigh ledger list --json | head -3")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_data_parses_and_every_block_says_what_it_is(page):
    yaml = pytest.importorskip("yaml")
    readers = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}
    for block in FENCE.finditer(page.read_text(encoding="utf-8")):
        assert block[2] in LANGUAGES, block[0][:200]
        body = "\n".join(line.removeprefix(block[1]) for line in block[4].splitlines())
        if reader := readers.get(block[2]):
            reader(body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_python_hides_in_a_block_that_is_not_run(page):
    hidden = [
        block[4][:120]
        for block in FENCE.finditer(page.read_text(encoding="utf-8"))
        if block[2] == "text" and re.search(r"^(from \w[\w.]* )?import \w|^@\w+[.(]", block[4], re.MULTILINE)
    ]

    assert not hidden


def test_every_verb_has_a_chapter_and_every_page_a_place_in_the_site():
    yaml = pytest.importorskip("yaml")
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]

    def pages(entry):
        if isinstance(entry, str):
            return [entry]
        return [page for each in (entry.values() if isinstance(entry, dict) else entry) for page in pages(each)]

    chapters = {name for section in nav if "Verbs" in section for entry in section["Verbs"] for name in entry}
    assert {verb.name for verb in VERBS} <= chapters
    there = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(pages(nav)) == sorted(there)
