/* Two checkpoints' models, tensor by tensor. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/elementary.h"
#include "inspect/compare.h"
#include "inspect/ulp.h"
#include "io/hdf5.h"

/* --- which tensors belong together ----------------------------------------------------------------- */

static int by_path(const void *a, const void *b) {
    return strcmp((*(const ls_record *const *)a)->path, (*(const ls_record *const *)b)->path);
}

/* The records of a state in the order of their names, to look them up. */
static ls_status sort_records(const ls_state *state, const ls_record ***sorted) {
    LS_TRY(ls_calloc(sorted, (size_t)state->count, sizeof **sorted, "the names of tensors"));
    for (int i = 0; i < state->count; i++) (*sorted)[i] = &state->records[i];
    if (state->count > 0) qsort(*sorted, (size_t)state->count, sizeof **sorted, by_path);
    return LS_OK;
}

static const ls_record *find(const ls_record *const *sorted, int count, const ls_record *record) {
    const ls_record *const *found =
        count > 0 ? bsearch(&record, sorted, (size_t)count, sizeof *sorted, by_path) : NULL;
    return found ? *found : NULL;
}

static bool same_shape(const ls_record *a, const ls_record *b) {
    bool same = a->type == b->type && a->dims == b->dims;
    for (int i = 0; same && i < a->dims; i++) same = a->shape[i] == b->shape[i];
    return same;
}

static ls_h5_shape_text describe(const ls_record *record) {
    return ls_h5_describe(ls_h5_type_name(record->type), record->dims, record->shape);
}

/* --- values ---------------------------------------------------------------------------------------- */

typedef struct difference {
    int64_t elements, not_comparable;
    uint64_t ulp;    /* largest */
    double absolute; /* largest */
    int64_t at; /* the first element of the largest distance; the first that is not comparable if none is */
} difference;

static difference compare_values(const ls_record *a, const ls_record *b) {
    difference d = {.at = -1};
    int64_t count = ls_record_count(a), nan = -1;
    for (int64_t i = 0; i < count; i++) {
        ls_distance distance = ls_distance_at(a, b, i);
        if (distance.equal) continue;
        d.elements++;
        if (!distance.comparable) {
            d.not_comparable++;
            if (nan < 0) nan = i;
            continue;
        }
        if (distance.absolute > d.absolute) d.absolute = distance.absolute;
        if (d.at >= 0 && distance.ulp <= d.ulp) continue;
        d.ulp = distance.ulp;
        d.at = i;
    }
    if (d.at < 0) d.at = nan;
    return d;
}

/* The position of an element as PyTorch indexes it: "[3, 0]". */
static const char *index_text(const ls_record *record, int64_t at, char *text, size_t size) {
    int64_t index[4] = {0};
    size_t used = 0;
    for (int i = record->dims - 1; i >= 0; i--) {
        index[i] = at % record->shape[i];
        at /= record->shape[i];
    }
    text[0] = '\0';
    for (int i = 0; i < record->dims && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, i ? ", " : "[", index[i]);
    if (record->dims > 0 && used < size) snprintf(text + used, size - used, "]");
    return text;
}

static const char table_format[] = "  %-*s %10s %10s %20s %12s  %-16s %16s %16s\n";

static void print_head(int width, FILE *out) {
    fprintf(out, table_format, width, "tensor", "differ", "of", "largest ulp", "absolute", "at", "A", "B");
}

static void print_row(const ls_record *a, const ls_record *b, const difference *d, int width, FILE *out) {
    char differ[32], of[32], ulp[32], absolute[32], at[96], value_a[32], value_b[32];
    int digits = a->type == LS_RECORD_F32 ? 9 : 17;
    snprintf(differ, sizeof differ, "%" PRId64, d->elements);
    snprintf(of, sizeof of, "%" PRId64, ls_record_count(a));
    snprintf(ulp, sizeof ulp, "%" PRIu64, d->ulp);
    snprintf(absolute, sizeof absolute, "%.6g", d->absolute);
    snprintf(value_a, sizeof value_a, "%.*g", digits, ls_one_nan(ls_record_value(a, d->at)));
    snprintf(value_b, sizeof value_b, "%.*g", digits, ls_one_nan(ls_record_value(b, d->at)));
    bool none = d->not_comparable == d->elements;
    fprintf(out, table_format, width, a->path, differ, of, none ? "not comparable" : ulp,
            none ? "not comparable" : absolute, index_text(a, d->at, at, sizeof at), value_a, value_b);
    if (d->not_comparable > 0 && !none)
        fprintf(out, "  %-*s %10" PRId64 " of them not comparable (NaN)\n", width, "", d->not_comparable);
}

/* --- all of it ------------------------------------------------------------------------------------- */

typedef struct comparison {
    const ls_saved_model *a, *b;
    const ls_record **sorted_a, **sorted_b;
    int width;
    bool values;                        /* compare them; otherwise only names and shapes */
    int tensors, mismatched, differing; /* in both; of other shape or missing; of other values */
    const char *first, *farthest;       /* tensors that differ */
    uint64_t ulp;
    FILE *out;
} comparison;

static void compare_pair(comparison *c, const ls_record *a, const ls_record *b) {
    c->tensors++;
    if (!same_shape(a, b)) {
        fprintf(c->out, "  %s: %s | %s\n", a->path, describe(a).text, describe(b).text);
        c->mismatched++;
        return;
    }
    if (!c->values) return;
    difference d = compare_values(a, b);
    if (d.elements == 0) return;
    if (c->differing++ == 0) {
        print_head(c->width, c->out);
        c->first = a->path;
    }
    print_row(a, b, &d, c->width, c->out);
    if (!c->farthest || d.ulp > c->ulp) {
        c->farthest = a->path;
        c->ulp = d.ulp;
    }
}

static void compare_all(comparison *c) {
    const ls_state *a = &c->a->state, *b = &c->b->state;
    for (int i = 0; i < a->count; i++) {
        const ls_record *other = find(c->sorted_b, b->count, &a->records[i]);
        if ((int)strlen(a->records[i].path) > c->width) c->width = (int)strlen(a->records[i].path);
        if (other) continue;
        fprintf(c->out, "  %s: %s | none\n", a->records[i].path, describe(&a->records[i]).text);
        c->mismatched++;
    }
    for (int i = 0; i < b->count; i++) {
        if (find(c->sorted_a, a->count, &b->records[i])) continue;
        fprintf(c->out, "  %s: none | %s\n", b->records[i].path, describe(&b->records[i]).text);
        c->mismatched++;
    }
    for (int i = 0; i < a->count; i++) {
        const ls_record *other = find(c->sorted_b, b->count, &a->records[i]);
        if (other) compare_pair(c, &a->records[i], other);
    }
}

static void conclude(const comparison *c, bool *different) {
    uint64_t step_a = c->a->mark->step, step_b = c->b->mark->step;
    if (!c->values)
        fprintf(c->out,
                "different: checkpoints of different steps, %" PRIu64 " | %" PRIu64
                "; names and shapes of the tensors %s\n",
                step_a, step_b, c->mismatched ? "differ too" : "are the same");
    else if (c->differing > 0)
        fprintf(c->out,
                "different: %d of %d tensors at step %" PRIu64 ", the first is %s; at most %" PRIu64
                " ulp, in %s\n",
                c->differing, c->tensors, step_a, c->first, c->ulp, c->farthest);
    else if (c->mismatched > 0)
        fprintf(c->out, "different: the checkpoints of step %" PRIu64 " hold different tensors\n", step_a);
    else
        fprintf(c->out, "equal: %d tensors at step %" PRIu64 ", fingerprint %016" PRIx64 "\n", c->tensors,
                step_a, c->a->mark->fingerprint);
    if (!c->values || c->differing > 0 || c->mismatched > 0) *different = true;
}

ls_status ls_compare_models(const ls_saved_model *a, const ls_saved_model *b, FILE *out, bool *different) {
    comparison c = {.a = a, .b = b, .width = 6, .values = a->mark->step == b->mark->step, .out = out};
    ls_status status = sort_records(&a->state, &c.sorted_a);
    if (status == LS_OK) status = sort_records(&b->state, &c.sorted_b);
    if (status == LS_OK) {
        compare_all(&c);
        conclude(&c, different);
    }
    free(c.sorted_a);
    free(c.sorted_b);
    return status;
}
