/* Everything that is public, for programs that use the installed library:
 *
 *     find_package(lockstep REQUIRED)
 *     target_link_libraries(program PRIVATE lockstep::lockstep)
 *
 * or with pkg-config: cc program.c $(pkg-config --cflags --libs lockstep)
 *
 * predict/predict.h   a data set is read, a trained model loaded, images classified
 * io/reader.h         formats of data sets of your own: ls_reader_register()
 * tensor/tensor.h     tensors with a dynamic graph
 * model/builder.h     networks in C; model/optimizer.h and model/schedule.h their update
 * layers/layer.h      layers of your own: ls_layer_register()
 * graph/graph.h       operations, eager and planned runs
 * check/gradcheck.h   is a gradient right? */
#ifndef LOCKSTEP_H
#define LOCKSTEP_H

#include "check/gradcheck.h"
#include "check/probe.h"
#include "core/elementary.h"
#include "core/real.h"
#include "core/rng.h"
#include "core/team.h"
#include "graph/graph.h"
#include "graph/op.h"
#include "graph/plan.h"
#include "io/reader.h"
#include "layers/elementwise.h"
#include "layers/initialise.h"
#include "layers/input/input.h"
#include "layers/layer.h"
#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"
#include "model/builder.h"
#include "model/optimizer.h"
#include "model/schedule.h"
#include "predict/predict.h"
#include "tensor/tensor.h"

#endif
