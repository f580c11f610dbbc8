/* Which device a run computes on: the key `device`. */
#ifndef LOCKSTEP_TRAIN_DEVICE_H
#define LOCKSTEP_TRAIN_DEVICE_H

#include "core/backend.h"
#include "core/device_cuda.h"
#include "dist/comm.h"
#include "train/options.h"

/* The back end of this rank's GPU, or NULL where all ranks are to compute on their processors. Ranks of a node share
 * its GPUs out by their number there. set: the processor's kernels, for sums over ranks. why: what was taken, and
 * why; empty where nobody asked. LS_INTERNAL: device=cuda, and there is none that can be used; LS_USAGE: nor a program that can. Collective,
 * agreed. */
ls_status ls_device_choose(ls_comm *comm, ls_device_kind wanted, ls_precision precision,
                           ls_instruction_set set, char *why, size_t size, const ls_backend **backend);
/* After everything that lies on it; safe twice. Local. */
void ls_device_give_back(const ls_backend **backend);

/* What there is of the first GPU; nothing is left on it. LS_INTERNAL or LS_USAGE: none, with the reason. Local. */
ls_status ls_device_look(ls_device_facts *facts);

#endif
