// Compiled with NVIDIA's cuda.h before it: a function declared otherwise there is an error here, and so is another layout.
#include "cuda_api.h"

static_assert(sizeof(CUlaunchConfig) == 56 && sizeof(CUlaunchAttribute) == 72, "sizes");
static_assert(offsetof(CUlaunchConfig, hStream) == 32 && offsetof(CUlaunchConfig, attrs) == 40 && offsetof(CUlaunchConfig, numAttrs) == 48, "config");
static_assert(offsetof(CUlaunchAttribute, value) == 8, "attribute");
static_assert(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION == 6, "programmatic dependent launch");
