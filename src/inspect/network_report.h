/* `lockstep inspect CONFIG`: what a network costs, before anything is trained. */
#ifndef LOCKSTEP_INSPECT_NETWORK_REPORT_H
#define LOCKSTEP_INSPECT_NETWORK_REPORT_H

#include <stdbool.h>
#include <stdio.h>

#include "core/status.h"

/* Does the file's name say that it is a configuration: does it end in .yaml or .yml? */
bool ls_is_config_name(const char *path);

/* Prints layers, output shapes, parameters, floating-point operations and memory per rank of a configuration
 * with overrides "key=value", for the data that it names or, where that cannot be read, MNIST's sizes; `as_json`: as one JSON object,
 * with memory in bytes.
 *
 * Operations are those of dense and convolution layers, 2 for each product that is added, of which a step has
 * three times as many as a forward pass: the result, the gradient of the weight, and that of the input, which
 * the first layer does without. Whatever passes over elements once (normalisation, activation, pooling) is
 * not counted. Memory is what the plans for these numbers of ranks allocate. LS_USAGE as for training. Local.
 */
ls_status ls_report_network(const char *path, const char *const *overrides, int override_count, bool as_json,
                            FILE *out);

#endif
