/* Networks in C, in about as many lines as in a configuration:
 *
 *     ls_builder *b = ls_builder_create();
 *     ls_build(b, "conv2d", "channels=%d pad=1 bias=false", 16);
 *     ls_build_open(b, "residual", "name=block");
 *     ls_build_list(b, "body");
 *     ls_build(b, "conv2d", "channels=16 pad=1");
 *     ls_build_close(b);
 *     ls_build(b, "flatten", NULL);
 *     ls_build(b, "dense", "units=10");
 *     ls_status status = ls_build_network(&b, 28, 28, 10, &network);
 *
 * Layers and keys are those of the configuration (lockstep --keys), with the same checks. After a mistake all
 * further calls do nothing, and ls_build_network() hands it out. Local. */
#ifndef LOCKSTEP_MODEL_BUILDER_H
#define LOCKSTEP_MODEL_BUILDER_H

#include "model/network.h"

typedef struct ls_builder ls_builder;

/* NULL: out of memory, which the calls below take for a builder that has failed. */
ls_builder *ls_builder_create(void);

/* Appends a layer; `settings` is a printf format for "key=value key=value", values without blanks; NULL:
 * none. */
void ls_build(ls_builder *builder, const char *type, const char *settings, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a layer with layers in it: what comes next goes into its first list, or into that of the key
 * named last, until it is closed. */
void ls_build_open(ls_builder *builder, const char *type, const char *settings, ...)
    __attribute__((format(printf, 3, 4)));
void ls_build_list(ls_builder *builder, const char *key);
void ls_build_close(ls_builder *builder);

/* Frees the builder and hands over the network, as ls_network_create() makes it. LS_USAGE: the first mistake,
 * or a layer that does not fit its input, with its name. */
ls_status ls_build_network(ls_builder **builder, int height, int width, int classes, ls_network **network);

#endif
