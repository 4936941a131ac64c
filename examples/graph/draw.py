"""draw.py: graphs, and what models of 1, 2, 3 … blocks say of them, as SVG.

    python3 draw.py heldout.safetensors PREDICTIONS… >graphs.svg

PREDICTIONS are what `predict` prints for the file's examples, one file a model.
Drawn are some examples: the first with a path of each length, then some without
one. The start is green, the goal red, a shortest path between them blue. Nodes
are placed as if they pushed one another away and edges were springs.
"""
import json
import math
import random
import struct
import sys

PANEL, TOP, COLUMNS, MOST = 170, 38, 4, 12      # sizes in pixels; examples


class Graph:
    def __init__(self, count, edges, start, goal, label):
        self.count, self.start, self.goal = count, start, goal
        self.label = label
        self.neighbours = [[j for j in range(count) if edges[i][j]]
                           for i in range(count)]

    def path(self):
        """The nodes of a shortest path, [] if there is none."""
        before, queue = {self.start: None}, [self.start]
        for node in queue:
            for other in self.neighbours[node]:
                if other not in before:
                    before[other] = node
                    queue.append(other)
        path = [self.goal] if self.goal in before else []
        while path and path[-1] != self.start:
            path.append(before[path[-1]])
        return path


def read(path):
    """The graphs of a safetensors file that graphs.py wrote."""
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    header, data = json.loads(data[8:8 + size]), data[8 + size:]

    def part(name):
        first, last = header[name]["data_offsets"]
        return data[first:last]
    total, most, features = header["nodes"]["shape"]
    nodes = struct.unpack(f"<{total * most * features}f", part("nodes"))
    lengths = struct.unpack(f"<{total}i", part("lengths"))
    labels = struct.unpack(f"<{total}i", part("labels"))
    edges = part("edges")
    for n in range(total):
        marks = nodes[n * most * features:(n + 1) * most * features]
        at = n * most * most
        rows = [edges[at + i * most:at + (i + 1) * most] for i in range(most)]
        yield Graph(lengths[n], rows, marks[0::2].index(1),
                    marks[1::2].index(1), labels[n])


def place(graph):
    """Coordinates from 0 to 1 of the nodes, by springs and repulsion."""
    draw = random.Random(1)
    at = [[draw.random(), draw.random()] for _ in range(graph.count)]
    for round_ in range(300):
        pull = [[0.2 * (0.5 - x), 0.2 * (0.5 - y)] for x, y in at]
        for i in range(graph.count):
            for j in range(graph.count):
                if i == j:
                    continue
                dx, dy = at[i][0] - at[j][0], at[i][1] - at[j][1]
                far = math.hypot(dx, dy) + 1e-6
                push = 0.004 / far if far < 0.4 else 0
                if j in graph.neighbours[i]:
                    push -= far * far * 8
                pull[i][0] += dx / far * push
                pull[i][1] += dy / far * push
        step = 0.1 * (1 - round_ / 300)
        for i in range(graph.count):
            size = math.hypot(*pull[i]) + 1e-9
            for k in (0, 1):
                at[i][k] += pull[i][k] / size * min(size, step)
    for k in (0, 1):
        low, high = min(p[k] for p in at), max(p[k] for p in at)
        for p in at:
            p[k] = (p[k] - low) / (high - low)
    return at


def panel(graph, answers, x, y):
    path = graph.path()
    at = [(x + 12 + p[0] * (PANEL - 24),
           y + TOP + 10 + p[1] * (PANEL - TOP - 20))
          for p in place(graph)]
    title = f"a path of {len(path) - 1} edges" if path else "no path"
    print(f'<text x="{x + 10}" y="{y + 18}" fill="#333">{title}</text>')
    for blocks, answer in enumerate(answers, 1):
        good = answer == graph.label
        print(f'<text x="{x + 28 * blocks - 18}" y="{y + 34}" '
              f'fill="{"#080" if good else "#c00"}">{blocks} '
              f'{"✓" if good else "✗"}</text>')
    for i in range(graph.count):
        for j in graph.neighbours[i]:
            if i < j:
                on = i in path and j in path \
                    and abs(path.index(i) - path.index(j)) == 1
                style = ' stroke="#06c" stroke-width="3"' if on else ""
                print(f'<path d="M{at[i][0]:.0f} {at[i][1]:.0f}'
                      f'L{at[j][0]:.0f} {at[j][1]:.0f}"{style}/>')
    for i, (cx, cy) in enumerate(at):
        style = ' r="7" fill="#0a0"' if i == graph.start else \
            ' r="7" fill="#c00"' if i == graph.goal else ' r="4"'
        print(f'<circle cx="{cx:.0f}" cy="{cy:.0f}"{style}/>')


def choose(graphs):
    """The first with a path of each length, the rest without."""
    chosen = {}
    for n, graph in enumerate(graphs):
        if graph.label:
            chosen.setdefault(len(graph.path()), n)
    chosen = [chosen[length] for length in sorted(chosen)][:MOST - 1]
    without = [n for n, graph in enumerate(graphs) if not graph.label]
    return chosen + without[:MOST - len(chosen)]


def main():
    graphs = list(read(sys.argv[1]))
    answers = []
    for path in sys.argv[2:]:
        with open(path) as file:
            answers.append([int(line.split("\t")[0]) for line in file])
    chosen = choose(graphs)
    width = COLUMNS * PANEL
    height = math.ceil(len(chosen) / COLUMNS) * PANEL
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
          f'height="{height}" font-family="sans-serif" font-size="11" '
          'stroke="#999" fill="#999">')
    print('<rect width="100%" height="100%" fill="#fff" stroke="none"/>')
    print("<style>text, circle { stroke: none }</style>")
    for slot, n in enumerate(chosen):
        row, column = divmod(slot, COLUMNS)
        panel(graphs[n], [a[n] for a in answers], column * PANEL, row * PANEL)
    print("</svg>")


main()
