"""Cases of everything but the plain decoder, as cases.py's tables have them:
encoders, encoder-decoders, experts, images, graphs, classifiers, preferences.

Every row differs from a decoder of this file's MODEL, which is smaller than
cases.py's.
"""
MODEL = {"vocab": 23, "context": 11, "dim": 10, "heads": 2, "blocks": 1,
         "ff": {"dim": 14}}
BATCH = {"batch": 3, "sequence": 9}

LENGTHS = {"lengths": [4, 9, 1]}
BOTH = {"lengths": [4, 9, 1], "source_lengths": [9, 2, 6]}

ENCODER = {"kind": "encoder"}
MLM = ENCODER | {"head": "mlm"}
SENTENCES = {"objective": "masked-token+next-sentence"}
SEQ2SEQ = {"kind": "encoder-decoder", "blocks": {"encoder": 1, "decoder": 1}}
PREFERENCE = {"objective": "preference"}
SCALE = {"embedding_scale": True}
UNTIED = {"tie_embeddings": False}
POST = {"norm": {"place": "post"}}
RMSNORM = {"norm": {"type": "rmsnorm", "eps": 1e-6}}
GATED = {"ff": {"activation": "silu", "gated": True, "bias": False}}
EVEN_HEADS = {"dim": 12, "position": "rotary"}
RELATIVE = {"position": "relative"}
LEARNED = {"position": "relative-learned"}


def attention(**options):
    return {"attention": options}


def classify(pool, **options):
    return {"head": {"classify": {"classes": 5, "pool": pool} | options}}


def experts(count, **options):
    return {"experts": {"count": count} | options}


def image(size, channels, patch, pool="mean", **options):
    return ENCODER | classify(pool, **options) | {
        "input": {"image": {"size": size, "channels": channels,
                            "patch": patch}},
        "vocab": None, "context": None}


def graph(pool="mean", **options):
    return ENCODER | classify(pool, **options) | {
        "input": {"graph": {"nodes": 9, "features": 7}},
        "vocab": None, "context": None}


PATCHES = {"sequence": None}    # as many as the image has
BERT = MLM | {"norm": {"place": "post", "eps": 1e-12}, "embedding_norm": True,
              "token_types": 2, "blocks": 2, "ff": {"activation": "gelu"}}
VASWANI = SEQ2SEQ | POST | SCALE | {
    "blocks": {"encoder": 2, "decoder": 2}, "position": "sinusoidal",
    "ff": {"activation": "relu"}}
T5 = SEQ2SEQ | RMSNORM | {
    "position": "none", "attention": {"bias": False, "scale": False},
    "ff": {"activation": "gelu-tanh", "gated": True, "bias": False}}
MIXTRAL = EVEN_HEADS | RMSNORM | GATED | UNTIED | {
    "heads": 6, "kv_heads": 3, "blocks": 2, "dim": 24,
    "attention": {"bias": False},
    "experts": {"count": 5, "top_k": 2, "aux_loss": 0.02}}
TRANSFORMER_XL = RELATIVE | POST | UNTIED | {
    "attention": {"bias": False}, "blocks": 2, "ff": {"activation": "relu"}}

ENCODERS = [
    ("encoder", ENCODER, {}, {}),
    ("encoder-lengths", ENCODER, {}, LENGTHS),
    ("encoder-causal", ENCODER | attention(mask="causal"), {}, {}),
    ("encoder-next-token", ENCODER | attention(mask="causal"),
     {"objective": "next-token"}, {}),
    ("encoder-window-alibi-untied",
     ENCODER | UNTIED | {"position": "alibi"} | attention(window=3), {},
     LENGTHS),
    ("encoder-blocks-zero", ENCODER | {"blocks": 0}, {}, {}),
    ("mlm", MLM, {}, {"unscored": 0.7}),
    ("mlm-untied", MLM | UNTIED, {}, {}),
    ("mlm-rmsnorm-post", MLM | {"norm": {"type": "rmsnorm", "place": "post"}},
     {}, LENGTHS),
    ("mlm-norm-bias-false", MLM | {"norm": {"bias": False, "eps": 0.1}},
     {}, {}),
    ("mlm-embedding-scale", MLM | SCALE, {"label_smoothing": 0.1}, {}),
    ("mlm-decoder", {"head": "mlm"}, {}, {}),
    ("masked-token-decoder", attention(mask="full"),
     {"objective": "masked-token"}, {}),
    ("next-sentence", MLM, SENTENCES, {}),
    ("next-sentence-lm", ENCODER | UNTIED, SENTENCES, {}),
    ("next-sentence-smoothing-micro-batch", MLM | {"token_types": 2},
     SENTENCES | {"label_smoothing": 0.2, "micro_batch": 1},
     LENGTHS | {"unscored": 0.6}),
    ("token-types", {"token_types": 3}, {}, {}),
    ("token-types-absent", {"token_types": 2}, {}, {"types": False}),
    ("token-types-scale-norm",
     ENCODER | SCALE | {"token_types": 2, "embedding_norm": True}, {}, {}),
    ("bert", BERT, SENTENCES, LENGTHS | {"unscored": 0.5, "wide_ids": True}),
]

CLASSIFIERS = [
    ("classify-" + pool, ENCODER | classify(pool), {}, LENGTHS)
    for pool in ("mean", "sum", "max", "cls", "first", "last")
] + [
    ("classify-pool-default",
     ENCODER | {"head": {"classify": {"classes": 3}}}, {}, {}),
    ("classify-pooler", ENCODER | classify("first", pooler=True), {}, {}),
    ("classify-pooler-mean-post",
     ENCODER | POST | classify("mean", pooler=True), {}, LENGTHS),
    ("classify-decoder", classify("last"), {}, LENGTHS),
    ("classify-label-smoothing", ENCODER | classify("mean"),
     {"label_smoothing": 0.2, "micro_batch": 1}, {}),
    ("classify-bag-of-words",
     ENCODER | classify("mean") | {"blocks": 0, "position": "none"}, {},
     LENGTHS),
    ("classify-max-bag-of-words",
     ENCODER | classify("max") | {"blocks": 0, "position": "none",
                                  "norm": "none"}, {}, LENGTHS),
    ("classify-lengths-zero", ENCODER | classify("mean"), {},
     {"lengths": [0, 9, 3]}),
    ("classify-lengths-zero-max", ENCODER | classify("max", pooler=True), {},
     {"lengths": [0, 9, 3]}),
    ("classify-token-types", ENCODER | classify("cls", pooler=True)
     | {"token_types": 2}, {}, LENGTHS | {"wide_ids": True}),
    ("classify-relative", ENCODER | classify("mean") | RELATIVE, {}, LENGTHS),
    ("simple-attention",
     ENCODER | classify("mean") | UNTIED
     | {"position": "none", "ff": "none", "norm": "none"}
     | attention(projections=False, scale=False, residual=False), {}, LENGTHS),
]

IMAGES = [
    ("image", image(9, 1, 3), PATCHES, {}),
    ("image-channels", image(8, 3, 4, "sum"), PATCHES, {}),
    ("image-cls", image(9, 2, 3, "cls"), PATCHES, {}),
    ("image-first", image(6, 2, 2, "first"), PATCHES, {}),
    ("image-last", image(6, 1, 3, "last"), PATCHES, {}),
    ("image-max", image(6, 1, 2, "max"), PATCHES, {}),
    ("image-decoder", image(6, 1, 2, "last") | {"kind": "decoder"},
     PATCHES, {}),
    ("image-context", image(6, 1, 2, "cls") | {"context": 10}, PATCHES, {}),
    ("image-one-patch", image(5, 2, 5), PATCHES, {}),
    ("image-patch-one", image(3, 3, 1, "cls"), PATCHES, {}),
    ("image-cls-sinusoidal-norm",
     image(6, 2, 3, "cls") | {"position": "sinusoidal",
                              "embedding_norm": True}, PATCHES, {}),
    ("image-embedding-scale", image(6, 2, 3, "cls") | SCALE, PATCHES, {}),
    ("image-cls-rotary", image(6, 1, 2, "cls") | EVEN_HEADS, PATCHES, {}),
    ("image-relative-learned", image(6, 1, 2) | LEARNED, PATCHES, {}),
    ("image-experts", image(6, 1, 2) | experts(3), PATCHES, {}),
    ("vit", image(8, 3, 2, "cls") | {"blocks": 2, "ff": {"activation": "gelu"},
                                     "norm": {"eps": 1e-12}},
     PATCHES | {"batch": 4, "micro_batch": 2}, {}),
]

GRAPHS = [
    ("graph", graph(), {}, {}),
    ("graph-edges-absent", graph(), {}, {"edges": False}),
    ("graph-context", graph() | LEARNED | {"context": 12}, {}, {}),
    ("graph-lengths", graph("sum"), {}, LENGTHS),
    ("graph-cls", graph("cls"), {}, LENGTHS),
    ("graph-max", graph("max", pooler=True) | {"position": "none"}, {},
     LENGTHS),
    ("graph-causal-window-alibi",
     graph("last") | {"position": "alibi"}
     | attention(mask="causal", window=4), {}, LENGTHS),
    ("graph-relative", graph() | RELATIVE, {}, LENGTHS),
    ("graph-rotary-kv-heads", graph() | EVEN_HEADS | {"kv_heads": 1}, {}, {}),
    ("graph-projections-false",
     graph() | attention(projections=False), {}, {}),
    ("graph-experts", graph() | experts(3, top_k=1, capacity=1), {}, LENGTHS),
    ("graph-transformer",
     graph("mean") | {"position": "none", "blocks": 3}, {"micro_batch": 1},
     {}),
]

POSITIONS = [
    ("relative", RELATIVE, {}, {}),
    ("relative-full", RELATIVE | attention(mask="full"), {}, LENGTHS),
    ("relative-odd-dim", RELATIVE | {"dim": 9, "heads": 3}, {}, {}),
    ("relative-scale-false", RELATIVE | attention(scale=False), {}, {}),
    ("relative-bias-false", RELATIVE | attention(bias=False), {}, {}),
    ("relative-kv-heads", RELATIVE | {"heads": 4, "kv_heads": 2, "dim": 12},
     {}, {}),
    ("relative-head-dim", RELATIVE | {"head_dim": 7}, {}, {}),
    ("relative-qk-norm", RELATIVE | attention(qk_norm=True), {}, {}),
    ("relative-window", RELATIVE | attention(window=4), {},
     LENGTHS | {"unscored": 0.5}),
    ("relative-output-false", RELATIVE | attention(output=False), {}, {}),
    ("relative-ff-none", RELATIVE | attention(bias=False) | {"ff": "none"},
     {}, {}),
    ("relative-micro-batch", RELATIVE, {"micro_batch": 1}, {}),
    ("relative-learned", LEARNED, {"sequence": None}, {}),
    ("relative-learned-short", LEARNED, {"sequence": 6}, {}),
    ("relative-learned-full", LEARNED | attention(mask="full"), {}, LENGTHS),
    ("transformer-xl", TRANSFORMER_XL, {}, {}),
]

EXPERTS = [
    ("experts", experts(4), {}, {}),
    ("experts-top-one", experts(4, top_k=1), {}, {}),
    ("experts-top-all", experts(3, top_k=3), {}, {}),
    ("experts-one", experts(1, top_k=1), {}, {}),
    ("experts-aux-zero", experts(5, aux_loss=0), {}, {}),
    ("experts-aux-large", experts(5, aux_loss=2.5), {}, LENGTHS),
    ("experts-ties", experts(4, top_k=3), {}, {"tied_routers": True}),
    ("experts-ties-top-one", experts(5, top_k=1), {}, {"tied_routers": True}),
    ("experts-lengths", experts(4), {}, LENGTHS),
    ("experts-capacity", experts(4, capacity=1), {}, {}),
    ("experts-capacity-more", experts(4, capacity=1.25), {}, LENGTHS),
    ("experts-capacity-less", experts(3, capacity=0.4, top_k=1), {}, {}),
    # 0.4 · 3 · 10 / 4 is 3; the binary fraction nearest to 0.4 gives 4
    ("experts-capacity-exact", experts(4, top_k=3, capacity=0.4),
     {"sequence": 10}, {}),
    ("experts-capacity-tiny", experts(4, capacity=0.001), {}, LENGTHS),
    ("experts-capacity-huge", experts(4, capacity=100), {}, {}),
    ("experts-bias-false", experts(4) | {"ff": {"bias": False}}, {}, {}),
    ("experts-gated", experts(4) | {"ff": {"gated": True}}, {}, {}),
    ("experts-gated-silu", experts(4) | GATED, {}, {}),
    ("experts-post-rmsnorm",
     experts(4) | {"norm": {"type": "rmsnorm", "place": "post"}}, {}, {}),
    ("experts-norm-none", experts(3) | {"norm": "none"}, {}, {}),
    ("experts-residual-false", experts(3) | attention(residual=False), {}, {}),
    ("experts-micro-batch", experts(4, capacity=1) | {"blocks": 2},
     {"micro_batch": 1}, LENGTHS),
    ("experts-nothing-scored", experts(4), {}, {"unscored": 1}),
    ("experts-freeze", experts(4),
     {"freeze": ["*.router.*", "*.experts.*.bias"]}, {}),
    ("experts-classify", ENCODER | experts(4) | classify("mean"), {}, LENGTHS),
    ("experts-mlm", MLM | experts(3, top_k=1), SENTENCES, LENGTHS),
    ("experts-seq2seq", SEQ2SEQ | experts(3), {"micro_batch": 1}, BOTH),
    ("mixtral", MIXTRAL, {}, LENGTHS),
]

PAIRS = [
    ("seq2seq", SEQ2SEQ, {}, {}),
    ("seq2seq-lengths", SEQ2SEQ, {}, BOTH),
    ("seq2seq-source-length-zero", SEQ2SEQ, {},
     {"source_lengths": [0, 9, 4]}),
    ("seq2seq-blocks", SEQ2SEQ | {"blocks": {"encoder": 1, "decoder": 3}},
     {}, {}),
    ("seq2seq-blocks-number", SEQ2SEQ | {"blocks": 2}, {}, {}),
    ("seq2seq-encoder-zero",
     SEQ2SEQ | {"blocks": {"encoder": 0, "decoder": 2}}, {}, BOTH),
    ("seq2seq-decoder-zero",
     SEQ2SEQ | {"blocks": {"encoder": 1, "decoder": 0}}, {}, {}),
    ("seq2seq-embedding-norm-scale",
     SEQ2SEQ | SCALE | {"embedding_norm": True}, {}, BOTH),
    ("seq2seq-untied", SEQ2SEQ | UNTIED, {}, {}),
    ("seq2seq-post", SEQ2SEQ | POST, {}, BOTH),
    ("seq2seq-rmsnorm", SEQ2SEQ | RMSNORM, {}, {}),
    ("seq2seq-norm-none", SEQ2SEQ | {"norm": "none"}, {}, {}),
    ("seq2seq-rotary", SEQ2SEQ | EVEN_HEADS, {}, BOTH),
    ("seq2seq-alibi", SEQ2SEQ | {"position": "alibi"}, {}, BOTH),
    ("seq2seq-relative", SEQ2SEQ | RELATIVE, {}, BOTH),
    ("seq2seq-relative-learned", SEQ2SEQ | LEARNED, {}, BOTH),
    ("seq2seq-kv-heads", SEQ2SEQ | {"heads": 4, "kv_heads": 2, "dim": 12},
     {}, BOTH),
    ("seq2seq-head-dim", SEQ2SEQ | {"head_dim": 7}, {}, {}),
    ("seq2seq-window", SEQ2SEQ | attention(window=3), {}, BOTH),
    ("seq2seq-mask-full", SEQ2SEQ | attention(mask="full"), {}, BOTH),
    ("seq2seq-qk-norm", SEQ2SEQ | attention(qk_norm=True), {}, {}),
    ("seq2seq-scale-false", SEQ2SEQ | attention(scale=False), {}, {}),
    ("seq2seq-bias-false", SEQ2SEQ | attention(bias=False), {}, {}),
    ("seq2seq-bias-qkv", SEQ2SEQ | attention(bias="qkv"), {}, {}),
    ("seq2seq-output-false", SEQ2SEQ | attention(output=False), {}, {}),
    ("seq2seq-residual-false",
     SEQ2SEQ | {"blocks": {"encoder": 2, "decoder": 2}}
     | attention(residual=False), {}, {}),
    ("seq2seq-ff-none", SEQ2SEQ | {"ff": "none"}, {}, {}),
    ("seq2seq-freeze", SEQ2SEQ, {"freeze": ["encoder.*", "*.cross.k.*"]}, {}),
    ("seq2seq-micro-batch-smoothing", SEQ2SEQ,
     {"micro_batch": 1, "label_smoothing": 0.1}, BOTH | {"unscored": 0.5}),
    ("original-transformer", VASWANI, {"label_smoothing": 0.1}, BOTH),
    ("t5", T5, {}, BOTH | {"wide_ids": True}),
]

PAIR_LENGTHS = {"lengths": [4, 9, 7, 3, 9, 9]}
PREFERENCES = [
    ("preference", {}, PREFERENCE, {}),
    ("preference-beta", {}, PREFERENCE | {"preference": {"beta": 0.6}}, {}),
    ("preference-lengths", {}, PREFERENCE, PAIR_LENGTHS | {"unscored": 0.5}),
    ("preference-micro-batch", UNTIED, PREFERENCE | {"micro_batch": 1},
     {"wide_ids": True}),
    ("preference-smoothing", {}, PREFERENCE | {"label_smoothing": 0.3}, {}),
    ("preference-token-types", {"token_types": 2}, PREFERENCE, PAIR_LENGTHS),
    ("preference-sure", UNTIED,
     PREFERENCE | {"batch": 1, "preference": {"beta": 2}}, {}),
    ("preference-experts", experts(4, aux_loss=0.5), PREFERENCE,
     PAIR_LENGTHS),
    ("preference-llama", EVEN_HEADS | RMSNORM | GATED | UNTIED
     | {"heads": 6, "kv_heads": 2, "dim": 24, "attention": {"bias": False}},
     PREFERENCE, PAIR_LENGTHS),
]

OTHERS = [
    ("blocks-zero", {"blocks": 0}, {}, {}),
    ("blocks-zero-experts", {"blocks": 0} | experts(3), {}, {}),
    ("blocks-zero-post-untied", {"blocks": 0} | POST | UNTIED, {}, {}),
]

GRADIENT = (ENCODERS + CLASSIFIERS + IMAGES + GRAPHS + POSITIONS + EXPERTS
            + PAIRS + PREFERENCES + OTHERS)

# --- training, on files of examples ------------------------------------------

TRAIN = {"batch": 4, "sequence": 9, "steps": 24,
         "data": {"format": "safetensors", "order": "sequential", "split": 0},
         "optimizer": {"lr": 3e-3},
         "schedule": {"warmup": 5, "min_lr": 3e-4},
         "eval": {"every": 12, "steps": 2}}
ONE_FILE = {"data.safetensors": 22}
TWO_FILES = {"data.safetensors": 22, "eval.safetensors": 11}
RANDOM = {"lengths": True, "source_lengths": True}

TRAINING = [
    ("train-masked-token", MLM, {}, TWO_FILES, {"unscored": 0.7}),
    ("train-next-sentence", BERT | {"blocks": 1}, SENTENCES, TWO_FILES,
     {"lengths": True, "unscored": 0.6}),
    ("train-seq2seq", VASWANI | {"blocks": {"encoder": 1, "decoder": 1}},
     {"micro_batch": 2, "label_smoothing": 0.1}, TWO_FILES, RANDOM),
    ("train-seq2seq-experts", SEQ2SEQ | experts(3), {}, ONE_FILE, RANDOM),
    ("train-classify", ENCODER | classify("mean"),
     {"micro_batch": 1, "data": {"split": 0.25}}, ONE_FILE,
     {"lengths": True}),
    ("train-classify-relative-sgd",
     ENCODER | classify("cls", pooler=True) | LEARNED,
     {"optimizer": {"type": "sgd", "lr": 0.05, "momentum": 0.9}}, TWO_FILES,
     {"lengths": True}),
    ("train-image", image(6, 2, 2, "cls"), PATCHES | {"micro_batch": 2},
     TWO_FILES, {}),
    ("train-graph", graph("max"), {}, TWO_FILES, {"lengths": True}),
    ("train-preference", {}, PREFERENCE, ONE_FILE,
     {"lengths": True, "unscored": 0.4}),
    ("train-preference-eval", UNTIED,
     PREFERENCE | {"micro_batch": 2, "preference": {"beta": 0.3}}, TWO_FILES,
     {}),
]

TRAINING_IDS = [
    ("train-relative", RELATIVE, {}),
    ("train-experts", experts(4, aux_loss=0.1) | {"ff": {"gated": True}},
     {"optimizer": {"weight_decay": 0.5}}),
    ("train-experts-capacity", experts(3, capacity=1) | {"blocks": 2},
     {"optimizer": {"type": "adam", "weight_decay": 0.02},
      "micro_batch": 1}),
]

# files of lines and images; a token is a byte, and all special tokens are there
FILES = {"batch": 4, "sequence": 17, "steps": 24,
         "data": {"order": "sequential", "split": 0.25},
         "optimizer": {"lr": 3e-3},
         "schedule": {"warmup": 5, "min_lr": 3e-4},
         "eval": {"every": 12, "steps": 2}}
TEXT = {"vocab": 263, "context": 17}

TRAINING_FILES = [
    ("train-tsv-labels", ENCODER | classify("mean") | TEXT, {}, "labels"),
    ("train-tsv-pairs", ENCODER | classify("max") | TEXT | {"token_types": 2},
     {}, "pairs"),
    ("train-tsv-pairs-cls",
     ENCODER | classify("cls", pooler=True) | TEXT | {"token_types": 2},
     {"micro_batch": 2}, "pairs"),
    ("train-tsv-seq2seq", SEQ2SEQ | TEXT, {}, "source and target"),
    ("train-tsv-next-token", TEXT, {}, "source and target"),
    ("train-jsonl-chat", TEXT, {"micro_batch": 1}, "chat"),
    ("train-jsonl-preference", TEXT, PREFERENCE, "preference"),
    ("train-idx", image(6, 1, 3), PATCHES, "images"),
]
