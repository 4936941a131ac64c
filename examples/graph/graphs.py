"""graphs.py: random graphs with two marked nodes, joined by a path or not.

    python3 graphs.py DIRECTORY

A graph has 16 to 24 nodes and, drawn at random, a little over half as many
edges. It makes two examples with the same start and two goals with as many
edges each: one is joined to the start by a path of two edges or more (label 1),
the other is not (label 0). So half of the labels are 1, and neither the graph
alone, nor the marked nodes and how many edges they have, say which. Written
are, in DIRECTORY, train.safetensors and heldout.safetensors (no graph is in
both):

    nodes    f32[N,24,2]    1 at the start, 1 at the goal
    edges    u8[N,24,24]    1 where two nodes are joined, both ways
    lengths  i32[N]         nodes of the graph; what is behind them is padding
    labels   i32[N]

the same without edges as train-no-edges.safetensors and
heldout-no-edges.safetensors, and heldout.tsv: label, edges of the shortest path
(0: none). Only Python's own library is used.
"""
import json
import random
import struct
import sys

NODES, FEWEST = 24, 16
TRAIN, HELDOUT = 10000, 2000        # graphs; an example is one of its two goals


def distances(neighbours, start):
    """How many edges away each node is that can be reached, in breadth."""
    found, queue = {start: 0}, [start]
    for node in queue:
        for other in neighbours[node]:
            if other not in found:
                found[other] = found[node] + 1
                queue.append(other)
    return found


def random_graph(draw):
    """The neighbours of each node."""
    count = draw.randint(FEWEST, NODES)
    neighbours = [set() for _ in range(count)]
    for _ in range(round(count * draw.uniform(0.5, 0.8))):
        a, b = draw.sample(range(count), 2)
        neighbours[a].add(b)
        neighbours[b].add(a)
    return neighbours


def two_goals(draw, neighbours, start):
    """A goal that can be reached and one that cannot, with as many edges."""
    found = distances(neighbours, start)
    pairs = [(a, b) for a in found if found[a] >= 2
             for b in range(len(neighbours)) if b not in found
             and len(neighbours[a]) == len(neighbours[b])]
    if not pairs:
        return None
    near, far = draw.choice(pairs)
    return [(near, found[near]), (far, 0)]


def examples(draw, graphs):
    """Tuples of neighbours, start, goal and distance; 0: not joined."""
    made = []
    while len(made) < 2 * graphs:
        neighbours = random_graph(draw)
        start = draw.randrange(len(neighbours))
        goals = two_goals(draw, neighbours, start)
        if goals:
            made += [(neighbours, start, goal, far) for goal, far in goals]
    return made


def tensors(made, with_edges):
    """Name, type, shape of an example and bytes of each tensor."""
    nodes, edges = bytearray(), bytearray()
    for neighbours, start, goal, _ in made:
        for i in range(NODES):
            nodes += struct.pack("<2f", i == start, i == goal)
        if with_edges:
            for i in range(NODES):
                row = neighbours[i] if i < len(neighbours) else ()
                edges += bytes(j in row for j in range(NODES))
    lengths = struct.pack(f"<{len(made)}i", *(len(e[0]) for e in made))
    labels = struct.pack(f"<{len(made)}i", *(e[3] > 0 for e in made))
    yield "nodes", "F32", [NODES, 2], nodes
    if with_edges:
        yield "edges", "U8", [NODES, NODES], edges
    yield "lengths", "I32", [], lengths
    yield "labels", "I32", [], labels


def write(path, made, with_edges):
    """A safetensors file: a header's length, the header in JSON, the bytes."""
    header, data = {}, bytearray()
    for name, kind, shape, piece in tensors(made, with_edges):
        header[name] = {"dtype": kind, "shape": [len(made)] + shape,
                        "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    directory, = sys.argv[1:]
    draw = random.Random(1)
    for name, graphs in ("train", TRAIN), ("heldout", HELDOUT):
        made = examples(draw, graphs)
        write(f"{directory}/{name}.safetensors", made, True)
        write(f"{directory}/{name}-no-edges.safetensors", made, False)
    with open(f"{directory}/heldout.tsv", "w") as file:
        for example in made:
            file.write(f"{int(example[3] > 0)}\t{example[3]}\n")
    print(f"{2 * TRAIN} examples to train on, {2 * HELDOUT} held out")


main()
