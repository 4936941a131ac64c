"""Names and shapes of a spec's parameters, as checkpoints have them.

`parameter_shapes` is the whole; each function above it gives one part's
{name: shape}. `trainable_names` are those that no glob of `freeze` matches.
"""


def norm_shapes(norm, name, dim):
    if norm["type"] == "none":
        return {}
    shapes = {name + ".weight": (dim,)}
    if norm["type"] == "layernorm" and norm["bias"]:
        shapes[name + ".bias"] = (dim,)
    return shapes


def linear_shapes(name, rows, columns, bias):
    shapes = {name + ".weight": (rows, columns)}
    if bias:
        shapes[name + ".bias"] = (rows,)
    return shapes


def projection_shapes(model, prefix):
    """q, k, v and out, of self-attention and cross attention alike."""
    options, dim = model["attention"], model["dim"]
    query = model["heads"] * model["head_dim"]
    key = model["kv_heads"] * model["head_dim"]
    bias = options["bias"] in (True, "qkv")
    shapes = linear_shapes(prefix + "q", query, dim, bias)
    shapes |= linear_shapes(prefix + "k", key, dim, bias)
    shapes |= linear_shapes(prefix + "v", key, dim, bias)
    if options["output"]:
        out_bias = options["bias"] is True
        shapes |= linear_shapes(prefix + "out", dim, query, out_bias)
    return shapes


def relative_shapes(model, prefix):
    heads, head_dim, dim = model["heads"], model["head_dim"], model["dim"]
    shapes = {prefix + "weight": (heads * head_dim, dim),
              prefix + "content_bias": (heads, head_dim),
              prefix + "position_bias": (heads, head_dim)}
    if model["position"]["type"] == "relative-learned":
        shapes[prefix + "table"] = (2 * model["context"] - 1, dim)
    return shapes


def attention_shapes(model, prefix):
    if not model["attention"]["projections"]:
        return {}
    shapes = projection_shapes(model, prefix)
    if model["attention"]["qk_norm"]:
        shapes[prefix + "q_norm.weight"] = (model["head_dim"],)
        shapes[prefix + "k_norm.weight"] = (model["head_dim"],)
    if model["position"]["type"] in ("relative", "relative-learned"):
        shapes |= relative_shapes(model, prefix + "relative.")
    return shapes


def feed_forward_shapes(model, prefix):
    """One matrix of each kind, or with experts one an expert."""
    ff, dim, experts = model["ff"], model["dim"], model["experts"]
    inner = prefix + "experts." if experts else prefix
    shapes = linear_shapes(inner + "up", ff["dim"], dim, ff["bias"])
    if ff["gated"]:
        shapes |= linear_shapes(inner + "gate", ff["dim"], dim, ff["bias"])
    shapes |= linear_shapes(inner + "down", dim, ff["dim"], ff["bias"])
    if not experts:
        return shapes
    count = experts["count"]
    shapes = {name: (count, *shape) for name, shape in shapes.items()}
    return {prefix + "router.weight": (count, dim)} | shapes


def block_shapes(model, prefix, crosses):
    norm, dim = model["norm"], model["dim"]
    shapes = norm_shapes(norm, prefix + "norm1", dim)
    shapes |= attention_shapes(model, prefix + "attn.")
    if crosses:
        shapes |= norm_shapes(norm, prefix + "cross_norm", dim)
        shapes |= projection_shapes(model, prefix + "cross.")
    if model["ff"]:
        shapes |= norm_shapes(norm, prefix + "norm2", dim)
        shapes |= feed_forward_shapes(model, prefix + "ff.")
    return shapes


def input_shapes(model):
    """What turns the input into vectors."""
    given, dim = model["input"], model["dim"]
    if given["type"] == "graph":
        return linear_shapes("embed.node", dim, given["features"], True)
    if given["type"] == "image":
        pixels = given["channels"] * given["patch"] ** 2
        shapes = linear_shapes("embed.patch", dim, pixels, True)
        if model["head"].get("pool") == "cls":
            shapes["embed.class.weight"] = (dim,)
        return shapes
    shapes = {"embed.token.weight": (model["vocab"], dim)}
    if model["token_types"]:
        shapes["embed.type.weight"] = (model["token_types"], dim)
    return shapes


def stack_shapes(model, prefix, blocks):
    """Positions, the embeddings' norm, the blocks and the final norm."""
    norm, dim = model["norm"], model["dim"]
    shapes = {}
    if model["position"]["type"] == "learned":
        shapes[prefix + "embed.position.weight"] = (model["context"], dim)
    if model["embedding_norm"]:
        shapes |= norm_shapes(norm, prefix + "embed.norm", dim)
    for index in range(blocks):
        shapes |= block_shapes(model, f"{prefix}blocks.{index}.",
                               prefix == "decoder.")
    if norm["place"] == "pre":
        shapes |= norm_shapes(norm, prefix + "norm", dim)
    return shapes


def head_shapes(spec):
    model = spec["model"]
    head, dim, tied = model["head"], model["dim"], model["tie_embeddings"]
    if head["type"] == "classify":
        shapes = {}
        if head["pooler"]:
            shapes = linear_shapes("head.pooler", dim, dim, True)
        return shapes | linear_shapes("head", head["classes"], dim, True)
    vocab, shapes = model["vocab"], {}
    if head["type"] == "lm" and not tied:
        shapes["head.weight"] = (vocab, dim)
    if head["type"] == "mlm":
        shapes = linear_shapes("head.transform", dim, dim, True)
        shapes |= norm_shapes(model["norm"], "head.norm", dim)
        decoder = linear_shapes("head.decoder", vocab, dim, True)
        if tied:
            del decoder["head.decoder.weight"]
        shapes |= decoder
    if spec["train"]["objective"] == "masked-token+next-sentence":
        shapes |= linear_shapes("head.pooler", dim, dim, True)
        shapes |= linear_shapes("head.next_sentence", 2, dim, True)
    return shapes


def parameter_shapes(spec):
    """{name: shape} of every parameter."""
    model = spec["model"]
    shapes = input_shapes(model)
    for prefix, blocks in model["blocks"].items():
        shapes |= stack_shapes(model, prefix, blocks)
    return shapes | head_shapes(spec)


def matches(glob, name):
    """Whether `name` is `glob`, whose `*` stands for any characters."""
    first, *rest = glob.split("*")
    if not rest:
        return name == glob
    if not name.startswith(first):
        return False
    name = name[len(first):]
    for part in rest[:-1]:
        found = name.find(part)
        if found < 0:
            return False
        name = name[found + len(part):]
    return name.endswith(rest[-1])


def trainable_names(spec, names):
    """The names that no glob of `freeze` matches; `*` crosses dots."""
    def frozen(name):
        return any(matches(glob, name) for glob in spec["train"]["freeze"])
    return [name for name in names if not frozen(name)]
