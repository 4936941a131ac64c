/* schema.h: the spec described: a JSON Schema, and a page a key. */
#ifndef SPEC_SCHEMA_H
#define SPEC_SCHEMA_H
#include "spec.h"

/* The JSON Schema of a spec. */
void spec_schema(Buf *out);
/* What a key is: type, default, range, whether a built program takes it, an
 * example; of a map, a line a key. */
void spec_explain(KeyId key, Buf *out);
/* All topmost keys and maps, a line each. */
void spec_explain_all(Buf *out);
#endif
