/* What Keras, PyTorch and others call what a configuration calls otherwise: for "did you mean". */
#include <ctype.h>
#include <string.h>

#include "core/keys.h"

/* Without capitals, "_" and "-", and with a blank around each. */
static const struct {
    const char *name, *words;
} synonyms[] = {
    {"lr", " learningrate baselr initlr initiallr learnrate eta eta0 alpha stepsize "},
    {"batch", " batchsize bs minibatch minibatchsize globalbatch globalbatchsize trainbatchsize "},
    {"eval_batch", " evalbatchsize testbatch testbatchsize valbatchsize validationbatchsize "},
    {"epochs", " nepochs numepochs nbepoch maxepochs maxepoch numtrainepochs epoch "},
    {"steps", " maxsteps numsteps nsteps iterations iters maxiter maxiters totalsteps "},
    {"weight_decay", " wd weightdecayrate l2 l2penalty l2reg l2regularization decay "},
    {"optimizer", " optim optimiser solver updater "},
    {"momentum", " mu mom "},
    {"beta1", " b1 beta betas "},
    {"beta2", " b2 "},
    {"epsilon", " eps adameps adamepsilon "},
    {"eps", " epsilon "},
    {"schedule", " scheduler lrscheduler lrschedule lrpolicy learningrateschedule "},
    {"milestones", " lrmilestones lrsteps boundaries schedulesteps "},
    {"warmup", " warmupsteps numwarmupsteps warmupiters warmupiterations "},
    {"horizon", " tmax decaysteps numtrainingsteps "},
    {"floor", " etamin minlr lrmin minimumlr endfactor "},
    {"peak", " pctstart warmupshare "},
    {"start_divisor", " divfactor "},
    {"end_divisor", " finaldivfactor "},
    {"gamma", " lrgamma decayrate lrdecay lrdecayrate "},
    {"seed", " randomseed randomstate manualseed rngseed "},
    {"precision", " dtype amp mixedprecision floattype "},
    {"split", " trainsize trainsplit trainingsamples validationsplit valsplit "},
    {"data", " datadir dataset datasetdir datapath dataroot datafolder root "},
    {"output", " outputdir outdir outputfolder savedir savepath logdir rundir workdir checkpointdir "},
    {"overwrite", " force existok overwriteoutputdir "},
    {"resume", " resumefrom resumefromcheckpoint restore load checkpoint ckpt pretrained "},
    {"checkpoint_interval", " saveinterval savesteps saveevery savefreq checkpointevery checkpointfreq "},
    {"keep", " keeplast maxtokeep savetotallimit "},
    {"test_interval", " evalinterval testevery evalevery evalsteps "},
    {"threads", " numthreads nthreads ompnumthreads numworkers nworkers workers "},
    {"augment", " augmentation dataaugmentation augmentprobability "},
    {"rotation", " rotate rotationrange degrees randomrotation "},
    {"progress", " verbose progressbar quiet "},
    {"timeout", " maxwait "},
    {"comm", " communicator "},
    {"network", " model layers net architecture arch "},
    {"dense", " linear fc fullyconnected innerproduct "},
    {"conv2d", " conv conv2 convolution convolution2d "},
    {"batchnorm", " bn batchnorm1d batchnorm2d batchnormalization "},
    {"instance_norm", " instancenorm2d instancenormalization "},
    {"max_pool", " maxpool2d maxpooling maxpooling2d pool "},
    {"average_pool", " avgpool avgpool2d averagepooling averagepooling2d meanpool "},
    {"global_average_pool", " globalaveragepooling globalaveragepooling2d globalavgpool gap "
                            "adaptiveavgpool adaptiveavgpool2d "},
    {"dropout", " drop dropout2d "},
    {"residual", " resblock residualblock basicblock shortcut skip "},
    {"units", " outfeatures features neurons outputdim numunits nunits hidden hiddensize width size "},
    {"channels", " outchannels filters numfilters nfilters nbfilter numoutput "},
    {"kernel", " kernelsize filtersize poolsize window ksize "},
    {"stride", " strides "},
    {"pad", " padding "},
    {"bias", " usebias hasbias "},
    {"init", " initializer kernelinitializer weightinit initialization initialisation initialiser "},
    {"rate", " p prob probability dropprob dropoutrate dropoutprob "},
    {"statistics", " trackrunningstats runningstats "},
    {"times", " n count repeats "},
};

enum { WORD_SIZE = 40 };

/* " word ", or "" for one that is too long. */
static void simplify(const char *text, char word[WORD_SIZE]) {
    size_t length = 0;
    word[length++] = ' ';
    for (; *text && length < WORD_SIZE - 2; text++)
        if (*text != '_' && *text != '-') word[length++] = (char)tolower((unsigned char)*text);
    word[length++] = ' ';
    word[*text || length == 2 ? 0 : length] = '\0';
}

bool ls_is_synonym(const char *typed, const char *name) {
    char word[WORD_SIZE], own[WORD_SIZE];
    simplify(typed, word);
    simplify(name, own);
    if (!*word) return false;
    if (strcmp(word, own) == 0) return true;
    for (size_t i = 0; i < sizeof synonyms / sizeof *synonyms; i++)
        if (strcmp(synonyms[i].name, name) == 0 && strstr(synonyms[i].words, word)) return true;
    return false;
}
