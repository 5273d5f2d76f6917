"""Tables of what bench/peers has measured."""


def markdown(result):
    """Three tables: what was measured, what a second of processor time buys, and what else it costs."""
    cells = result["cells"]
    parts = [stores(result), figures(result, cells), latencies(result, cells), disk(result, cells)]
    parts.append(troubles(result))
    return "\n".join(part for part in parts if part)


def stores(result):
    head = ["store", "version", "redundancy", "durable before an answer", "encryption", "started as"]
    rows = [[store["name"], store["version"], store["redundancy"], store["durable"], store["encryption"],
             f"`{store['flags']}`"] for store in result["stores"]]
    return table(head, rows)


def figures(result, cells):
    """Medians per second of the server's processor time."""
    unit = {"mib_per_cpu_s": "MiB", "operations_per_cpu_s": "operations"}
    head = ["per server CPU-second", *(f"{cell['title']}, {unit[cell['figure']]}" for cell in cells)]
    return by_way(result, head, cells, lambda cell, found: number(median(found, cell["figure"])))


def latencies(result, cells):
    head = ["p50 / p99, ms", *(cell["title"] for cell in cells)]

    def shown(_, found):
        both = median(found, "p50_ms"), median(found, "p99_ms")
        return "" if None in both else f"{number(both[0])} / {number(both[1])}"

    return by_way(result, head, cells, shown)


def disk(result, cells):
    """Only writes have it."""
    cells = [cell for cell in cells if cell["work"][0] == "put"]
    if not cells:
        return ""
    head = ["bytes on disk per byte stored", *(cell["title"] for cell in cells)]

    def shown(_, found):
        value = median(found, "disk_bytes_per_byte")
        return "" if value is None else f"{value:.2f}"

    return by_way(result, head, cells, shown)


def troubles(result):
    """What could not be measured, and what failed."""
    lines = [f"* {name} was left out: {why}" for name, why in result["left_out"].items()]
    for run in result["runs"]:
        if why := run.get("failed") or run["errors"]:
            lines.append(f"* {run['cell']}, {run['way']}, turn {run['turn']}: {why}")
    return "".join(f"{line}\n" for line in lines)


def by_way(result, head, cells, shown):
    rows = []
    for store in result["stores"]:
        for way, protocol in store["ways"].items():
            found = [result["medians"].get(cell["name"], {}).get(way) for cell in cells]
            if any(found):
                values = [shown(cell, it) if it else "" for cell, it in zip(cells, found)]
                rows.append([f"{way} ({protocol})", *values])
    return table(head, rows)


def median(found, figure):
    return found[figure]["median"] if figure in found else None


def number(value):
    """With about three digits."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
