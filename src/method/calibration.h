/*
 * What a static choice is made by before the first step, where that is more than a step's gradient:
 *   fisher              the mean over rows of each row's squared gradient (FISH);
 *   gradient, d3        the gradient of the rows' whole loss (SAM takes all of them);
 *   movement            what full fine-tuning changed (LT-SFT).
 * This is the one place where a selective method holds something dense: an fp32 number for every
 * element that may be chosen, and for FISH a gradient for what a pass uses more than once (a tied
 * vocabulary). It is freed as soon as the choice is made.
 */
#ifndef UM_METHOD_CALIBRATION_H
#define UM_METHOD_CALIBRATION_H

#include "method/method.h"

struct um_calibration {
    struct um_tuning *tuning;
    bool is_squared;    /* rows one by one, squares added */
    float **dense;      /* per parameter, NULL where nothing is chosen */
    float **sums;       /* gradients of a row that come in several factors */
    int32_t *n_factors; /* per parameter, of a pass */
    struct um_gradient_work work;
    float *tile;
    size_t tile_capacity;
    enum um_status status; /* of what the sink did */
    struct um_error fault;
};

/* Opens it for a tuning that um_tuning_is_calibrated. Close also after a failure. */
enum um_status um_calibration_open(struct um_calibration *calibration, struct um_tuning *tuning,
                                   struct um_error *err);
void um_calibration_close(struct um_calibration *calibration);

/* The sink of a pass that only counts factors: with squares, one comes before all others. */
struct um_sink um_calibration_count(struct um_calibration *calibration);
/* After it: room for what comes in several factors. */
enum um_status um_calibration_counted(struct um_calibration *calibration, struct um_error *err);
/* The sink of a pass over rows (with squares: one row), and its end. */
struct um_sink um_calibration_sink(struct um_calibration *calibration);
enum um_status um_calibration_end(struct um_calibration *calibration, struct um_error *err);

/* Chooses by what was gathered, and fills the tuning's set. */
enum um_status um_calibration_choose(struct um_calibration *calibration, int64_t n_steps,
                                     struct um_error *err);

#endif
