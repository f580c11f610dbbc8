#include <string.h>

#include "core/rng.h"
#include "graph/replica.h"
#include "layers/residual/residual.h"

enum { MOST_TENSORS = 32, FEWEST_STEPS = 5, MORE_STEPS = 12 };

typedef struct wiring {
    const ls_network *network;
    ls_graph *graph;
    uint32_t seed, draws;
    bool used[MOST_TENSORS]; /* layers */
    ls_tensor *tensor[MOST_TENSORS];
    int count;
} wiring;

static int draw(wiring *w, int n) {
    ls_rng rng = ls_rng_stream(w->seed, LS_RNG_TEST, 0, 0, w->draws++);
    uint32_t words[4];
    ls_rng_block(&rng, 0, words);
    return (int)(words[0] % (uint32_t)n);
}

/* The newest in a third of all draws, so that there are chains to fold. */
static ls_tensor *any_tensor(wiring *w) {
    return w->tensor[draw(w, 3) == 0 ? w->count - 1 : draw(w, w->count)];
}

static bool has_state(const ls_layer *layer) {
    static const char *const kinds[] = {"dense", "conv2d", "batchnorm", "instance_norm"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(layer->class->name, kinds[i]) == 0) return true;
    return false;
}

static ls_tensor *apply(const wiring *w, int layer, ls_tensor *x) {
    const ls_layer *at = &w->network->list.layers[layer];
    return at->class->apply(at, w->graph, x);
}

/* One of the layers between the first and the last, those with parameters or statistics once. */
static ls_tensor *any_layer(wiring *w) {
    int layer = 1 + draw(w, w->network->list.count - 2);
    if (w->used[layer]) return ls_add(w->graph, any_tensor(w), any_tensor(w));
    w->used[layer] = has_state(&w->network->list.layers[layer]);
    return apply(w, layer, any_tensor(w));
}

ls_tensor *random_graph(uint32_t seed, const ls_network *network, ls_graph *graph, ls_tensor *x) {
    wiring w = {.network = network, .graph = graph, .seed = seed, .count = 1};
    w.tensor[0] = apply(&w, 0, x);
    int steps = FEWEST_STEPS + draw(&w, MORE_STEPS);
    for (int i = 0; i < steps; i++) {
        ls_tensor *next = draw(&w, 3) == 0 ? ls_add(graph, any_tensor(&w), any_tensor(&w)) : any_layer(&w);
        w.tensor[w.count++] = next;
    }
    x = w.tensor[w.count - 1];
    for (int i = draw(&w, 4); i > 0; i--) x = ls_add(graph, x, any_tensor(&w));
    return apply(&w, network->list.count - 1, x);
}
