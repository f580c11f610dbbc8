#include "train/program.h"

#include <stdlib.h>

#include "layers/softmax_cross_entropy/softmax_cross_entropy.h"

static ls_tensor *put_input(ls_trainer *t, ls_graph *graph, const ls_perturbation *perturbation) {
    const ls_options *o = &t->options;
    int height = t->data.train.height, width = t->data.train.width;
    ls_augmentation augmentation = {.probability = o->augment,
                                    .rotation = o->rotation,
                                    .brightness = o->brightness,
                                    .contrast = o->contrast,
                                    .contrast_probability = o->contrast_probability};
    if (perturbation)
        return ls_perturbed_input(graph, height, width, o->pixels == LS_PIXELS_UNIT, perturbation);
    return ls_input(graph, height, width, o->pixels == LS_PIXELS_UNIT, &augmentation);
}

ls_status ls_program_create(ls_trainer *t, ls_purpose purpose, int64_t batch,
                            const ls_perturbation *perturbation, ls_program *program) {
    const ls_options *o = &t->options;
    const ls_reducer reducer = ls_gradient_reducer(t->gradient);
    LS_TRY(ls_shards_create(&program->shards, (int)o->shards, t->comm->rank, t->comm->size, batch));
    LS_TRY(ls_graph_create(LS_RECORD, purpose, t->backend, &t->network->parameters, &program->shards, NULL,
                           &reducer, &program->graph));
    LS_TRY(t->backend->allocate(t->backend, &program->sample,
                                (size_t)ls_graph_rows(program->graph) * sizeof *program->sample,
                                "the samples of a batch"));
    if (purpose == LS_TRAINING) ls_gradient_join(t->gradient, program->graph);
    LS_TRY(ls_shards_create_joint(&program->all, (int)o->shards, t->comm->host_first[t->comm->host],
                                  t->comm->host_first[t->comm->host + 1], t->comm->size, batch));
    ls_tensor *x = put_input(t, program->graph, perturbation);
    x = ls_network_apply(t->network, program->graph, x);
    x = ls_softmax_cross_entropy(program->graph, x, o->loss_clip, o->clip_gradient == LS_CLIP_DAMPED);
    LS_TRY(ls_graph_status(program->graph));
    program->loss = x->producer;
    return ls_plan_create(program->graph, o->fuse, (int)o->threads, &program->plan);
}

void ls_program_resize(ls_program *p, int64_t count) {
    ls_shards_set_batch(&p->shards, count);
    ls_shards_set_batch(&p->all, count);
}

ls_status ls_program_select(const ls_trainer *t, ls_program *p, const uint32_t *samples, int64_t count) {
    ls_program_resize(p, count);
    return t->backend->upload(t->backend, p->sample, samples + p->shards.offset,
                              (size_t)ls_shards_rows(&p->shards) * sizeof *p->sample);
}

void ls_program_destroy(ls_program *program) {
    if (program->graph) {
        const ls_backend *backend = ls_graph_backend(program->graph);
        backend->release(backend, program->sample);
    }
    ls_plan_destroy(&program->plan);
    ls_graph_destroy(&program->graph);
    *program = (ls_program){0};
}
