"""The transformer blocks of an ONNX graph, and taking the last of them out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# "encoder.layer.3.", "/h.3/", "blocks.3.": as exporters write the path of a module into names.
_NUMBERED = re.compile(r"(?:^|[./_])(?:layers?|blocks?|h)[./](\d+)(?=[./])")


def drop_last_blocks(model: Any, count: int) -> tuple[int, str]:
    """Take the last `count` numbered blocks out of a graph, in place.

    A block is what carries one number in the names of its nodes and weights. Its output is the first tensor behind all
    of it through which everything it computes must pass; that of the last dropped block is replaced by that of the last
    kept one, and what nothing reads any more goes.

    Returns:
        How many blocks there were, and why nothing was done ("" when it was).
    """
    graph = model.graph
    members = _members(graph)
    numbers = sorted(members)
    if len(numbers) < 2 or numbers != list(range(len(numbers))):
        return len(numbers), "no row of numbered blocks can be told from the names in it"
    if count >= len(numbers):
        return len(numbers), f"it has {len(numbers)} blocks, and one must stay"
    wiring = _Wiring(graph)
    outputs = [wiring.output_of(members, number) for number in (numbers[-1 - count], numbers[-1])]
    if outputs[0] is None or outputs[1] is None or outputs[0] == outputs[1]:
        return len(numbers), "a block has more than one output, or shares it"
    kept, dropped = outputs[0], outputs[1]
    bridge = type(graph.node[0])(op_type="Identity", name="dropped_blocks")
    bridge.input.append(kept)
    bridge.output.append(dropped)
    nodes = [bridge if dropped in node.output else node for node in graph.node]
    _keep_what_is_read(graph, nodes)
    return len(numbers), ""


class _Wiring:
    """Who feeds whom in a graph."""

    def __init__(self, graph: Any) -> None:
        self.nodes = list(graph.node)
        readers: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            for name in _read(node):
                readers.setdefault(name, []).append(place)
        self.readers = readers
        self.next = [sorted({to for name in node.output for to in readers.get(name, ())}) for node in self.nodes]
        ends = {output.name for output in graph.output}
        self.ends = {place for place, node in enumerate(self.nodes) if ends.intersection(node.output)}

    def output_of(self, members: dict[int, set[int]], number: int) -> str | None:
        """The first tensor behind all of a block through which everything from it to the outputs passes.

        What passes by the block counts too: the blocks before it, and what the first of them reads.
        """
        block = members[number]
        before = set().union(*(members[each] for each in members if each <= number))
        return self._cut(block, before | self._beside_first(members)) or self._cut(block, before)

    def _cut(self, block: set[int], start: set[int]) -> str | None:
        for place in sorted(self._reached(block)):
            if len(self.nodes[place].output) != 1 or self._reached(self.next[place]).intersection(block):
                continue
            if not self._reached(start - {place}, without=place).intersection(self.ends):
                return str(self.nodes[place].output[0])
        return None

    def _beside_first(self, members: dict[int, set[int]]) -> set[int]:
        """Nodes that read what the first block reads, but for what later blocks read as well, as a mask."""
        later = set().union(*(members[number] for number in members if number > 0))
        found: set[int] = set()
        for name in {name for place in members[0] for name in _read(self.nodes[place])}:
            readers = set(self.readers.get(name, ()))
            if not readers.intersection(later):
                found |= readers
        return found

    def _reached(self, start: Iterable[int], without: int = -1) -> set[int]:
        found = set(start) - {without}
        left = list(found)
        while left:
            for to in self.next[left.pop()]:
                if to not in found and to != without:
                    found.add(to)
                    left.append(to)
        return found


def _members(graph: Any) -> dict[int, set[int]]:
    """Block number -> nodes that carry it in their name or in that of a constant they read."""
    constants = {tensor.name for tensor in graph.initializer}
    members: dict[int, set[int]] = {}
    for place, node in enumerate(graph.node):
        if node.op_type == "Constant":
            continue
        for name in (node.name, *(each for each in node.input if each in constants)):
            found = _NUMBERED.search(name)
            if found:
                members.setdefault(int(found.group(1)), set()).add(place)
                break
    return members


def _read(node: Any) -> list[str]:
    """Names a node reads, those inside its branches and loops included."""
    inner = [
        name
        for attribute in node.attribute
        for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for each in graph.node
        for name in _read(each)
    ]
    return [*node.input, *inner]


def _keep_what_is_read(graph: Any, nodes: list[Any]) -> None:
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(_read(node))
            kept.append(type(node).FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(constants)
