/* corpus.c (test): examples of every objective through corpus.h, from files
 * written here: what rows hold, which example a step's row is, what is held
 * out, names of labels, what is drawn, and hostile bytes in every format.
 * SPDX-License-Identifier: 0BSD */
#include "check.h"
#include "../../runtime/corpus.h"
#include "../../runtime/sentences.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { T = 16, CALL = 20 };             /* a window, and a row of a call */

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    fwrite(text, 1, strlen(text), file);
    fclose(file);
}

/* ---- a program and its settings ----------------------------------------- */

static Program program_of(const char *objective)
{
    return (Program){ .kind = "decoder", .input = "tokens", .head = "lm",
                      .objective = objective, .vocab = 270, .context = CALL,
                      .sequence = T, .batch = 4 };
}

static Settings settings_of(const char **path)
{
    return (Settings){
        .data_path = { path, 1 }, .data_format = "auto",
        .data_order = "sequential", .data_split = "0", .seed = 5,
        .special_pad = -1, .special_bos = -1, .special_eos = -1,
        .special_unk = -1, .special_cls = -1, .special_sep = -1,
        .special_mask = -1, .masking_rate = 0.5, .masking_mask = 0.8,
        .masking_random = 0.1,
    };
}

typedef struct Rows {
    int32_t tokens[2 * CALL], targets[2 * CALL], types[CALL], source[CALL];
    int32_t lengths[2], source_lengths[1], labels[1];
    float images[4];
    Example example;
} Rows;

static const Example *rows(Rows *r)
{
    memset(r, 0x55, sizeof *r);
    r->example = (Example){
        .tokens = r->tokens, .targets = r->targets, .lengths = r->lengths,
        .source = r->source, .source_lengths = r->source_lengths,
        .types = r->types, .labels = r->labels, .images = r->images,
        .sequence = CALL,
    };
    return &r->example;
}

/* "[c]ab[s]", with a dot for -1. */
static const char *spell(const int32_t *ids, int64_t count)
{
    static char text[2][300];
    static int turn;
    char *out = text[turn ^= 1], *at = out;
    for (int64_t i = 0; i < count; i++)
        at += ids[i] >= 256 ? sprintf(at, "[%c]", "pbeucsm???????"[ids[i] - 256])
            : sprintf(at, "%c", ids[i] < 0 ? '.' : (char)ids[i]);
    *at = 0;
    return out;
}

/* A row is as said, and padding follows. */
static void holds(Checks *c, const int32_t *ids, int32_t length, int32_t rest,
                  const char *want)
{
    const char *got = spell(ids, length < 0 || length > CALL ? 0 : length);
    int wrong = 0;
    for (int i = length; i >= 0 && i < CALL; i++)
        wrong += ids[i] != rest;
    check(c, strcmp(got, want) == 0 && wrong == 0, "'%s' and %d, not '%s'",
          got, wrong, want);
}

static void refuses(Checks *c, const Program *program, const Settings *settings,
                    const char *why)
{
    Corpus *corpus = calloc(1, sizeof *corpus);
    Error error = { 0 };
    bool good = corpus_open(corpus, program, settings, NULL, &error);
    check(c, !good && error.status == ERROR_INPUT && strstr(error.text, why),
          "'%s', not '%s'", error.text, why);
    if (good)
        corpus_close(corpus);
    free(corpus);
}

static Corpus *open_corpus(Checks *c, const Program *program,
                           const Settings *settings)
{
    Corpus *corpus = calloc(1, sizeof *corpus);
    Error error = { 0 };
    if (check(c, corpus_open(corpus, program, settings, NULL, &error), "%s",
              error.text))
        return corpus;
    free(corpus);
    return NULL;
}

static void close_corpus(Corpus *corpus)
{
    corpus_close(corpus);
    free(corpus);
}

static bool train(Corpus *corpus, int64_t step, int64_t row, Rows *r)
{
    Error error = { 0 };
    return corpus_train_example(corpus, step, row, rows(r), &error);
}

static bool eval(Corpus *corpus, int64_t index, Rows *r)
{
    Error error = { 0 };
    return corpus_eval_example(corpus, index, rows(r), &error);
}

/* ---- objectives --------------------------------------------------------- */

/* Windows are those of data.h, padded to the row of a call. */
static void test_windows(Checks *c)
{
    const char *path = "text.txt";
    Program program = program_of("next-token");
    Settings settings = settings_of(&path);
    FILE *file = fopen(path, "wb");
    for (int i = 0; i < 1000; i++)
        fputc('a' + i * 7 % 26, file);
    fclose(file);
    settings.data_order = "shuffled";
    settings.data_split = "0.1";
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, strcmp(corpus_unit(corpus), "tokens") == 0 &&
          corpus->train.count == 900 && corpus->eval.count == 100 &&
          corpus_train_count(corpus) == 56 && corpus_eval_count(corpus) == 7,
          "%d windows", (int)corpus_train_count(corpus));
    int wrong = 0;
    for (int i = 0; i < 150; i++) {
        Rows r;
        int32_t tokens[T], targets[T];
        Error error;
        wrong += !train(corpus, i / 4 + 1, i % 4, &r);
        wrong += !data_train_window(&corpus->train, &corpus->order, i / 4 + 1,
                                    i % 4, tokens, targets, &error);
        wrong += memcmp(tokens, r.tokens, sizeof tokens) != 0
            || memcmp(targets, r.targets, sizeof targets) != 0
            || r.lengths[0] != T || r.targets[T] != -1 || r.tokens[T] != 256;
        wrong += corpus_train_index(corpus, i / 4 + 1, i % 4) * T
            != data_train_start(&corpus->train, &corpus->order, i / 4 + 1,
                                i % 4);
    }
    check(c, wrong == 0, "%d windows", wrong);
    Rows r;
    check(c, eval(corpus, 6, &r) && r.lengths[0] == 4 && r.targets[2] >= 0 &&
          r.targets[3] == -1 && r.tokens[4] == 0, "the last window");
    check(c, eval(corpus, 7, &r) && r.lengths[0] == 0 && r.targets[0] == -1 &&
          r.labels[0] == -1, "past the last");
    close_corpus(corpus);
}

/* Responses to prompts, from both formats; the order is as said. */
static void test_replies(Checks *c)
{
    static const char *const paths[] = { "chat.tsv", "chat.jsonl" };
    put(paths[0], "ask\tsay\r\n\nlonger than the row is\tx\n\tall");
    put(paths[1], "{\"prompt\":\"ask\",\"response\":\"say\"}\n"
        "{\"prompt\":\"longer than the row is\",\"response\":\"x\"}\n"
        "{\"response\":\"all\",\"prompt\":\"\",\"more\":null}\n");
    for (int i = 0; i < 2; i++) {
        const char *path = paths[i];
        Program program = program_of("next-token");
        Settings settings = settings_of(&path);
        Rows r;
        Corpus *corpus = open_corpus(c, &program, &settings);
        if (!corpus)
            continue;
        check(c, corpus_train_count(corpus) == 3 &&
              strcmp(corpus_unit(corpus), "examples") == 0, "three");
        check(c, train(corpus, 1, 3, &r), "row 3 is the first one again");
        holds(c, r.tokens, r.lengths[0], 256, "asksay");
        holds(c, r.targets, r.lengths[0], -1, "..say[e]");
        check(c, train(corpus, 1, 1, &r), "row 1");
        holds(c, r.tokens, r.lengths[0], 256, "longer than the row ");
        holds(c, r.targets, r.lengths[0], -1, "....................");
        check(c, train(corpus, 1, 2, &r), "row 2");
        holds(c, r.targets, r.lengths[0], -1, "ll[e]");
        close_corpus(corpus);
        program.vocab = 258;
        refuses(c, &program, &settings, "next-token needs a special token eos: "
                "train.data.special.eos");
    }
    const char *path = "chat.jsonl";
    Program program = program_of("next-token");
    Settings settings = settings_of(&path);
    put(path, "{\"prompt\":\"a\",\"response\":\"b\"}\n\n{\"prompt\":\"a\"}\n");
    refuses(c, &program, &settings, "chat.jsonl:3: there is no member");
    put(path, "\n{\"prompt\":\"a\",,}\n");
    refuses(c, &program, &settings, "chat.jsonl:2: column 15");
    put(path, "{\"prompt\":\"\",\"response\":\"\"}\n");
    refuses(c, &program, &settings, "chat.jsonl:1: both texts are empty");
}

static void test_order(Checks *c)
{
    const char *path = "order.tsv";
    FILE *file = fopen(path, "wb");
    for (int i = 0; i < 103; i++)
        fprintf(file, "%c\t%c\n", 'A' + i / 26, 'a' + i % 26);
    fclose(file);
    Program program = program_of("next-token");
    Settings settings = settings_of(&path);
    settings.data_order = "shuffled";
    settings.data_split = "0.03";
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, corpus->train.count == 100 && corpus_eval_count(corpus) == 3,
          "100 and 3");
    int wrong = 0, in_place = 0;
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[100] = { 0 };
        for (int i = 0; i < 100; i++) {
            int at = epoch * 100 + i;
            Rows r;
            wrong += !train(corpus, at / 4 + 1, at % 4, &r);
            int index = (r.tokens[0] - 'A') * 26 + r.tokens[1] - 'a';
            wrong += index < 0 || index >= 100
                || corpus_train_index(corpus, at / 4 + 1, at % 4) != index;
            seen[index >= 0 && index < 100 ? index : 0]++;
            in_place += index == i;
        }
        for (int i = 0; i < 100; i++)
            wrong += seen[i] != 1;
    }
    check(c, wrong == 0 && in_place < 20, "%d wrong, %d in place", wrong,
          in_place);
    Rows r;
    bool read = eval(corpus, 2, &r);
    check(c, read && r.tokens[0] == 'D' && r.tokens[1] == 'y' &&
          r.targets[0] == 'y', "the last is held out: %s",
          read ? spell(r.tokens, r.lengths[0]) : "not read");
    Error error;
    check(c, corpus_train_at(corpus, 99, rows(&r), &error) &&
          r.tokens[0] == 'D' && r.tokens[1] == 'v', "training example 99");
    close_corpus(corpus);
    settings.data_split = "2";
    refuses(c, &program, &settings, "split '2'");
}

static const RunKey pool_first[] = {
    { .path = "model.head.classify.pool", .value = "first" },
};

static void test_classify(Checks *c)
{
    const char *path = "classes.tsv";
    Program program = program_of("classify");
    Settings settings = settings_of(&path);
    Rows r;
    program.kind = "encoder";
    program.classes = 3;
    program.token_types = 2;
    put(path, "\xef\xbb\xbfit\tciao\nde\thallo\tda\nes\thola\nde\tja\n");
    settings.data_split = "0.5";
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, train(corpus, 1, 0, &r) && r.labels[0] == 2, "it is 2");
    holds(c, r.tokens, r.lengths[0], 256, "ciao");
    check(c, train(corpus, 1, 1, &r) && r.labels[0] == 0, "de is 0");
    holds(c, r.tokens, r.lengths[0], 256, "hallo[s]da");
    check(c, r.types[5] == 0 && r.types[6] == 1 && r.types[8] == 0, "types");
    check(c, eval(corpus, 0, &r) && r.labels[0] == 1, "es is held out");
    check(c, strcmp(corpus_label_name(corpus, 1), "es") == 0 &&
          !corpus_label_name(corpus, 3) && !corpus_label_name(corpus, -1),
          "names");
    char *text;
    size_t length;
    Error error;
    check(c, corpus_example_text(corpus, 1, &text, &length, &error) &&
          strcmp(text, "de\tja") == 0 && length == 5, "line");
    free(text);
    close_corpus(corpus);
    program.keys = pool_first;
    program.key_count = 1;
    corpus = open_corpus(c, &program, &settings);
    if (corpus && check(c, train(corpus, 1, 1, &r), "row"))
        holds(c, r.tokens, r.lengths[0], 256, "[c]hallo[s]da[s]");
    if (corpus)
        close_corpus(corpus);
}

static void test_labels_refused(Checks *c)
{
    const char *path = "classes.tsv", *other = "held.tsv";
    Program program = program_of("classify");
    Settings settings = settings_of(&path);
    program.classes = 2;
    static const char *const sets[][2] = {
        { "it\ta\nde\tb\n\nes\tc\nfr\td\n", "classes.tsv:4: label 'es' is one "
          "too many: the model has 2 classes" },
        { "0\ta\n1\tb\n2\tc\n", "classes.tsv:3: label '2' is not below" },
        { "0\ta\n-1\tb\n", "classes.tsv:2: label '-1' is negative" },
        { "0\ta\nb\n", "classes.tsv:2: label, tab, text" },
        { "0\ta\n\tb\n", "classes.tsv:2: a label is wanted" },
        { "0\ta\n1\t\n", "classes.tsv:2: the text is empty" },
        { "0\ta\n1\tb\tc\td\n", "classes.tsv:2: label, tab, text" },
        { "", "no line" }, { "\n\n", "no line" },
    };
    for (int i = 0; i < (int)(sizeof sets / sizeof *sets); i++) {
        put(path, sets[i][0]);
        refuses(c, &program, &settings, sets[i][1]);
    }
    put(path, "a\tx\nb\ty\n");
    put(other, "b\tx\nc\ty\n");
    settings.data_eval = (TextList){ &other, 1 };
    refuses(c, &program, &settings,
            "held.tsv:2: label 'c' is none of the training data's");
    put(path, "0\tx\n1\ty\n");
    refuses(c, &program, &settings, "held.tsv:1: label 'b' is no number");
    program.vocab = 261;
    settings.data_eval.count = 0;
    put(path, "0\tx\n1\ty\tz\n");
    refuses(c, &program, &settings, "classes.tsv:2: a pair of texts needs a "
            "special token sep: train.data.special.sep");
}

/* Opens a source, and says the labels of its examples, or the error. */
static const char *labels_of(const Program *program, const Settings *settings,
                             const CorpusSource *source)
{
    static char text[sizeof(Error)];
    Corpus *corpus = calloc(1, sizeof *corpus);
    Error error = { 0 };
    text[0] = 0;
    if (!corpus_open_source(corpus, program, settings, source, &error)) {
        snprintf(text, sizeof text, "%s", error.text);
        free(corpus);
        return text;
    }
    for (int64_t i = 0; i < corpus_eval_count(corpus); i++) {
        Rows r;
        if (eval(corpus, i, &r))
            sprintf(text + strlen(text), "%d ", r.labels[0]);
    }
    close_corpus(corpus);
    return text;
}

static void test_sources(Checks *c)
{
    const char *path = "missing.tsv";
    static const char *names[] = { "a", "b", "c" };
    static const TextList list = { names, 3 };
    Program program = program_of("classify");
    Settings settings = settings_of(&path);
    program.classes = 3;
    put("all.tsv", "c\tx\na\ty\nb\tz\n");
    put("some.tsv", "c\tx\na\ty\n");
    put("open.tsv", "c\tx\ny\n\tz\n");
    put("lines.txt", "c\tx\n\ny\n");
    put("numbers.tsv", "2\tx\n0\ty\n");
#define IS(want, ...) do { \
        const CorpusSource source = { __VA_ARGS__ }; \
        const char *got = labels_of(&program, &settings, &source); \
        check(c, strncmp(got, want, strlen(want)) == 0, "'%s', not '%s'", got, \
              want); \
    } while (0)
    IS("2 0 1 ", "all.tsv", NULL, false);
    IS("some.tsv: has 2 labels of the model's 3", "some.tsv", NULL, false);
    IS("2 0 ", "some.tsv", &list, false);
    IS("2 0 ", "numbers.tsv", NULL, false);
    IS("numbers.tsv:1: label '2' is none", "numbers.tsv", &list, false);
    IS("open.tsv:2: label, tab, text", "open.tsv", &list, false);
    IS("2 -1 -1 ", "open.tsv", &list, true);
    IS("-1 -1 ", "lines.txt", NULL, true);
    IS("lines.txt: classify reads tsv or safetensors, not text", "lines.txt",
       NULL, false);
    path = "all.tsv";
    IS("2 0 ", "some.tsv", NULL, false);
    path = "numbers.tsv";
    IS("some.tsv:1: label 'c' is no number", "some.tsv", NULL, false);
#undef IS
}

static void test_translation(Checks *c)
{
    const char *path = "words.tsv";
    Program program = program_of("seq2seq");
    Settings settings = settings_of(&path);
    Rows r;
    program.kind = "encoder-decoder";
    put(path, "house\thaus\n\t\nabcdefghijklmnopqrstuvwxyz\t"
        "abcdefghijklmnopqrstuvwxyz\n");
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, train(corpus, 1, 0, &r), "row 0");
    holds(c, r.source, r.source_lengths[0], 256, "house[e]");
    holds(c, r.tokens, r.lengths[0], 256, "[b]haus");
    holds(c, r.targets, r.lengths[0], -1, "haus[e]");
    check(c, train(corpus, 1, 1, &r), "row 1");
    holds(c, r.source, r.source_lengths[0], 256, "[e]");
    holds(c, r.targets, r.lengths[0], -1, "[e]");
    check(c, train(corpus, 1, 2, &r), "row 2");
    holds(c, r.source, r.source_lengths[0], 256, "abcdefghijklmnopqrs[e]");
    holds(c, r.tokens, r.lengths[0], 256, "[b]abcdefghijklmnopqrs");
    holds(c, r.targets, r.lengths[0], -1, "abcdefghijklmnopqrst");
    check(c, corpus_special(corpus, "bos") == 257 &&
          corpus_special(corpus, "unknown") == -1, "special");
    close_corpus(corpus);
    settings.special_bos = 1;
    program.vocab = 258;
    refuses(c, &program, &settings, "seq2seq needs a special token eos");
    settings.special_eos = 300;
    refuses(c, &program, &settings, "train.data.special.eos is 300");
    put(path, "alone\n");
    settings.special_eos = 2;
    refuses(c, &program, &settings, "words.tsv:1: a text, tab, text is wanted");
    const CorpusSource source = { .path = path, .unlabelled = true };
    corpus = calloc(1, sizeof *corpus);
    Error error = { 0 };
    if (check(c, corpus_open_source(corpus, &program, &settings, &source,
                                    &error), "%s", error.text)) {
        check(c, eval(corpus, 0, &r), "alone");
        holds(c, r.source, r.source_lengths[0], 256, "alone\2");
        check(c, r.lengths[0] == 0 && r.targets[0] == -1, "no target");
        corpus_close(corpus);
    }
    free(corpus);
}

static void test_preference(Checks *c)
{
    const char *path = "pairs.jsonl";
    Program program = program_of("preference");
    Settings settings = settings_of(&path);
    Rows r;
    put(path, "{\"prompt\":\"q\",\"chosen\":\"yes\",\"rejected\":\"n\"}\n");
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, train(corpus, 3, 2, &r) && !corpus_has_reference(corpus), "pair");
    holds(c, r.tokens, r.lengths[0], 256, "qyes");
    holds(c, r.targets, r.lengths[0], -1, "yes[e]");
    holds(c, r.tokens + CALL, r.lengths[1], 256, "qn");
    holds(c, r.targets + CALL, r.lengths[1], -1, "n[e]");
    check(c, eval(corpus, 0, &r) && r.lengths[0] == 0 && r.lengths[1] == 0 &&
          r.targets[2 * CALL - 1] == -1, "padding has two sides");
    close_corpus(corpus);
    path = "words.tsv";
    refuses(c, &program, &settings, "preference reads jsonl or safetensors, "
            "not tsv");
}

/* Masked tokens need none behind a window: 960 are 60 windows, 97 are 7. */
static void test_masked_counts(Checks *c)
{
    const char *path = "1057.txt";
    Program program = program_of("masked-token");
    Settings settings = settings_of(&path);
    FILE *file = fopen(path, "wb");
    for (int i = 0; i < 1057; i++)
        fputc(i < 960 ? 'x' : 'y', file);
    fclose(file);
    settings.data_split = "0.092";
    settings.data_order = "shuffled";
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, corpus->train.count == 960 && corpus_train_count(corpus) == 60 &&
          corpus_eval_count(corpus) == 7, "%d and %d windows",
          (int)corpus_train_count(corpus), (int)corpus_eval_count(corpus));
    int last = 0;
    for (int i = 0; i < 60; i++)
        last += corpus_train_index(corpus, i / 4 + 1, i % 4) == 59;
    Rows r;
    check(c, last == 1 && eval(corpus, 6, &r) && r.lengths[0] == 1,
          "the last window comes %d times", last);
    close_corpus(corpus);
}

static void test_masked(Checks *c)
{
    const char *path = "text.txt";
    Program program = program_of("masked-token");
    Settings settings = settings_of(&path);
    Rows r, again;
    program.kind = "encoder";
    settings.data_order = "shuffled";
    settings.data_split = "0.1";
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    /* 900 and 100 tokens of 16: no token behind a window is needed. */
    check(c, corpus_train_count(corpus) == 56 && corpus_eval_count(corpus) == 7,
          "%d windows", (int)corpus_train_count(corpus));
    int wrong = 0, scored = 0, start = 0;
    for (int i = 0; i < 56; i++) {
        wrong += !train(corpus, i / 4 + 1, i % 4, &r);
        int64_t at = T * corpus_train_index(corpus, i / 4 + 1, i % 4);
        start += at == 0;
        for (int t = 0; t < T; t++) {
            int32_t was = 'a' + (int)(at + t) * 7 % 26;
            scored += r.targets[t] >= 0;
            wrong += r.targets[t] >= 0 ? r.targets[t] != was
                                       : r.tokens[t] != was;
        }
        wrong += r.targets[T] != -1 || r.lengths[0] != T;
    }
    check(c, wrong == 0 && start == 1 && scored > 300 && scored < 600,
          "%d wrong, %d scored", wrong, scored);
    check(c, train(corpus, 2, 1, &r) && train(corpus, 16, 1, &again) &&
          corpus_train_index(corpus, 2, 1) >= 0, "rows");
    check(c, eval(corpus, 6, &r) && eval(corpus, 6, &again) &&
          r.lengths[0] == 4 && r.targets[4] == -1 &&
          memcmp(r.tokens, again.tokens, sizeof r.tokens) == 0, "evaluation");
    close_corpus(corpus);
    program.batch = 8;
    Corpus *wider = open_corpus(c, &program, &settings);
    program.batch = 4;
    corpus = open_corpus(c, &program, &settings);
    check(c, train(corpus, 2, 3, &r) && train(wider, 1, 7, &again) &&
          memcmp(r.tokens, again.tokens, sizeof r.tokens) == 0, "batch");
    close_corpus(corpus);
    close_corpus(wider);
    program.vocab = 262;
    refuses(c, &program, &settings, "masked-token needs a special token mask");
}

/* Documents 0 … 9 of 5 sentences each: "d3s2". */
static void test_sentences(Checks *c)
{
    const char *path = "sentences.txt";
    Program program = program_of("masked-token+next-sentence");
    Settings settings = settings_of(&path);
    FILE *file = fopen(path, "wb");
    for (int i = 0; i < 50; i++)
        fprintf(file, "%sd%ds%d\n", i % 5 || !i ? "" : "\n", i / 5, i % 5);
    fclose(file);
    program.kind = "encoder";
    program.token_types = 2;
    settings.data_split = "0.5";
    settings.masking_rate = 0;
    settings.data_order = "shuffled";
    Corpus *corpus = open_corpus(c, &program, &settings);
    if (!corpus)
        return;
    check(c, corpus_train_count(corpus) == 20 && corpus_eval_count(corpus) == 20,
          "%d pairs", (int)corpus_train_count(corpus));
    int next = 0, wrong = 0, drawn[10] = { 0 };
    for (int i = 0; i < 400; i++) {
        Rows r;
        int a[2], b[2];
        wrong += !train(corpus, i / 4 + 1, i % 4, &r);
        const char *text = spell(r.tokens, r.lengths[0]);
        if (sscanf(text, "[c]d%ds%d[s]d%ds%d[s]", &a[0], &a[1], &b[0], &b[1])
            != 4) {
            wrong++;
            continue;
        }
        wrong += a[0] > 4 || b[0] > 4 || a[1] > 3;
        wrong += r.labels[0] == NEXT_SENTENCE ? b[0] != a[0] || b[1] != a[1] + 1
                                              : b[0] == a[0];
        next += r.labels[0] == NEXT_SENTENCE;
        drawn[b[0]] += r.labels[0] != NEXT_SENTENCE;
        wrong += r.types[5] != 0 || r.types[6] != 1 || r.types[10] != 1;
        wrong += r.lengths[0] != 11 || r.targets[3] != -1;
    }
    check(c, wrong == 0 && next > 160 && next < 240, "%d pairs, %d of 400 next",
          wrong, next);
    for (int i = 0; i < 5; i++)
        check(c, drawn[i] > 15, "document %d is drawn %d times", i, drawn[i]);
    int held = 0;
    Rows r, again;
    for (int i = 0; i < 20; i++)
        held += eval(corpus, i, &r) && eval(corpus, i, &again) &&
            r.tokens[2] - '0' >= 5 && r.tokens[7] - '0' >= 5 &&
            memcmp(r.tokens, again.tokens, sizeof r.tokens) == 0;
    check(c, held == 20, "%d of 20 are held out", held);
    close_corpus(corpus);
    settings.masking_rate = 1;
    settings.masking_mask = 1;
    settings.masking_random = 0;
    corpus = open_corpus(c, &program, &settings);
    check(c, corpus && train(corpus, 1, 0, &r), "masked");
    holds(c, r.tokens, r.lengths[0], 256, "[c][m][m][m][m][s][m][m][m][m][s]");
    check(c, r.targets[0] == -1 && r.targets[1] == 'd' && r.targets[5] == -1 &&
          r.targets[10] == -1, "special tokens are no targets");
    close_corpus(corpus);
}

/* One document of few lines, and none of two. */
static void test_few_sentences(Checks *c)
{
    const char *path = "few.txt";
    Program program = program_of("masked-token+next-sentence");
    Settings settings = settings_of(&path);
    put(path, "a\nb\n");
    Corpus *corpus = open_corpus(c, &program, &settings);
    Rows r;
    int other = 0;
    for (int i = 1; corpus && i < 50; i++)
        other += !train(corpus, i, 0, &r) || r.labels[0] != NEXT_SENTENCE;
    check(c, other == 0, "two lines: there is no other");
    if (corpus)
        close_corpus(corpus);
    put(path, "a\nb\nx\n");
    settings.masking_rate = 0;
    corpus = open_corpus(c, &program, &settings);
    other = 0;
    int wrong = 0;
    for (int i = 1; corpus && i < 50; i++) {
        wrong += !train(corpus, i, 0, &r);
        other += r.labels[0] == OTHER_SENTENCE;
        wrong += r.labels[0] == OTHER_SENTENCE
            && r.tokens[3] != ('a' + 'x') - r.tokens[1];
    }
    check(c, wrong == 0 && other > 10 && other < 40, "%d wrong, %d other",
          wrong, other);
    if (corpus)
        close_corpus(corpus);
    put(path, "a\n\nb\n\nc");
    refuses(c, &program, &settings, "few.txt: no document has two lines");
}

static void test_images(Checks *c)
{
    const char *path = "i-images-idx3-ubyte";
    Program program = program_of("classify");
    Settings settings = settings_of(&path);
    static const char images[] = "\0\0\10\3\0\0\0\2\0\0\0\2\0\0\0\2" "\0\63\146\377"
                                 "abcd";
    static const char labels[] = "\0\0\10\1\0\0\0\2" "\1\0";
    FILE *file = fopen(path, "wb");
    fwrite(images, 1, sizeof images - 1, file);
    fclose(file);
    file = fopen("i-labels-idx1-ubyte", "wb");
    fwrite(labels, 1, sizeof labels - 1, file);
    fclose(file);
    program.vocab = 0;
    program.image_size = 2;
    program.channels = 1;
    program.classes = 2;
    Corpus *corpus = open_corpus(c, &program, &settings);
    Rows r;
    if (!corpus)
        return;
    check(c, corpus_train_count(corpus) == 2 && train(corpus, 1, 2, &r) &&
          r.labels[0] == 1 && r.images[1] == 0.2f && r.images[3] == 1 &&
          r.lengths[0] == CALL && !corpus_label_name(corpus, 0), "image 0");
    close_corpus(corpus);
    path = "text.txt";
    refuses(c, &program, &settings, "classify reads idx or safetensors, not "
            "text");
    program.image_size = 0;
    program.nodes = 3;
    refuses(c, &program, &settings, "classify reads safetensors, not text");
}

/* Kinds of files must agree, with each other and with the objective. */
static void test_formats(Checks *c)
{
    const char *mixed[] = { "text.txt", "words.tsv" };
    const char *path = "text.txt";
    Program program = program_of("next-token");
    Settings settings = settings_of(&path);
    settings.data_path = (TextList){ mixed, 2 };
    refuses(c, &program, &settings, "words.tsv is tsv, but text.txt is text");
    settings.data_path = (TextList){ &path, 1 };
    static const struct { const char *objective, *format, *why; } sets[] = {
        { "masked-token", "tsv", "masked-token reads text, tokens or" },
        { "masked-token+next-sentence", "jsonl", "reads text (a sentence a" },
        { "seq2seq", "text", "seq2seq reads tsv, jsonl or safetensors" },
        { "classify", "jsonl", "classify reads tsv or safetensors" },
        { "preference", "text", "preference reads jsonl or safetensors" },
        { "next-token", "idx", "next-token reads text, tokens, tsv, jsonl" },
    };
    for (int i = 0; i < 6; i++) {
        program.objective = sets[i].objective;
        settings.data_format = sets[i].format;
        refuses(c, &program, &settings, sets[i].why);
    }
    settings.data_format = "tsv";
    program.objective = "next-token";
    program.vocab = 200;
    refuses(c, &program, &settings, "text needs a vocabulary of at least 256");
}

/* Any bytes in any format: an error or rows within bounds. */
static void test_hostile(Checks *c)
{
    static const char *const objectives[] = {
        "next-token", "masked-token", "masked-token+next-sentence", "seq2seq",
        "classify", "preference",
    };
    static const char *const formats[] = {
        "text", "tsv", "jsonl", "idx", "safetensors", "nanogpt", "llmc",
    };
    static const char *const pieces[] = {
        "\t", "\n", "\r", "0", "1", "-1", "{\"prompt\":\"", "\",\"response\":\"",
        "\"}", "\",\"chosen\":\"", "\",\"rejected\":\"", "\x1f\x8b\x08", "a",
        "\xff", "\\u0000", "\xef\xbb\xbf", "  ", "[", "\n\n",
    };
    const char *path = "hostile";
    unsigned state = 7;
    int wrong = 0, opened = 0;
    for (int i = 0; i < 6000; i++) {
        FILE *file = fopen(path, "wb");
        for (int n = 0; n < i % 40; n++) {
            state = state * 1664525 + 1013904223;
            unsigned draw = state >> 12;
            if (draw % 16 == 0)
                fputc(0, file);
            fputs(pieces[draw / 16 % 19], file);
        }
        fclose(file);
        Program program = program_of(objectives[i % 6]);
        Settings settings = settings_of(&path);
        settings.data_format = formats[i / 6 % 7];
        program.classes = 2;
        program.token_types = 2;
        program.image_size = i % 6 == 4 && i / 6 % 7 == 3 ? 2 : 0;
        program.channels = program.image_size / 2;
        Corpus corpus;
        Error error = { 0 };
        const CorpusSource source = { .path = path, .unlabelled = true };
        bool whole = i / 42 % 2;
        bool good = whole ? corpus_open_source(&corpus, &program, &settings,
                                               &source, &error)
                          : corpus_open(&corpus, &program, &settings, NULL,
                                        &error);
        wrong += !good && error.status != ERROR_INPUT;
        if (!good)
            continue;
        opened++;
        Rows r;
        bool read = whole ? eval(&corpus, 0, &r) : train(&corpus, 1, 1, &r);
        wrong += !read;
        for (int t = 0; read && t < CALL && !program.image_size; t++)
            wrong += r.tokens[t] < 0 || r.tokens[t] >= 270;
        corpus_close(&corpus);
    }
    check(c, wrong == 0 && opened > 500, "%d wrong, %d opened", wrong, opened);
}

int main(int argc, char **argv)
{
    Checks checks = { .name = "corpus" };
    if (argc < 2 || chdir(argv[1]) != 0)
        return 2;
    test_windows(&checks);
    test_replies(&checks);
    test_order(&checks);
    test_classify(&checks);
    test_labels_refused(&checks);
    test_sources(&checks);
    test_translation(&checks);
    test_preference(&checks);
    test_masked(&checks);
    test_masked_counts(&checks);
    test_sentences(&checks);
    test_few_sentences(&checks);
    test_images(&checks);
    test_formats(&checks);
    test_hostile(&checks);
    return check_end(&checks);
}
