// Every kernel file in a namespace of its own, for the host.
#include "kernels.h"

#include "tile.h"
#include "common.h"

namespace of_plan {
#include "attend_plan.cu"
}
namespace of_decode {
#include "attend_decode.cu"
}
namespace of_elementwise {
#include "elementwise.cu"
}
namespace of_prefill {
#include "attend_prefill.cu"
}
namespace of_embed {
#include "embed.cu"
}
namespace of_gate {
#include "gate.cu"
}
namespace of_gather {
#include "gather.cu"
}
namespace of_linear {
#include "linear.cu"
}
namespace of_norm {
#include "norm.cu"
}
namespace of_qkv {
#include "qkv_post.cu"
}
namespace of_sample {
#include "sample.cu"
}

namespace stub {

namespace {

template <class P, void (*kernel)(const P)>
void run(const emu::Launch &launch, const void *parameters) {
    P p;
    std::memcpy(&p, parameters, sizeof(P));
    emu::run(launch, kernel, p);
}

template <class P, void (*kernel)(const P)>
constexpr Kernel entry(const char *name, int threads) {
    return {name, sizeof(P), threads, run<P, kernel>};
}

#define ENTRY(space, name, type, threads) entry<type, space::name>(#name, threads)
#define LINEAR_ENTRIES(what)                                                                  \
    ENTRY(of_linear, mr_linear_##what##_8, mr_linear_params, of_linear::linear_threads),      \
        ENTRY(of_linear, mr_linear_##what##_16, mr_linear_params, of_linear::linear_threads), \
        ENTRY(of_linear, mr_linear_##what##_32, mr_linear_params, of_linear::linear_threads), \
        ENTRY(of_linear, mr_linear_##what##_64, mr_linear_params, of_linear::linear_threads)
#define ATTENTION_ENTRIES(head_dim)                                                                                   \
    ENTRY(of_decode, mr_paged_decode_##head_dim, mr_paged_decode_params, of_decode::decode_threads),                  \
        ENTRY(of_prefill, mr_paged_prefill_##head_dim, mr_paged_prefill_params, of_prefill::prefill_threads)
#define NORM_ENTRY(vectors) ENTRY(of_norm, mr_add_rms_norm_##vectors, mr_add_rms_norm_params, of_norm::norm_threads)

}  // namespace

const std::vector<Kernel> &all_kernels() {
    static const std::vector<Kernel> all = {
        ENTRY(of_plan, mr_attention_plan, mr_attention_plan_params, of_plan::plan_threads),
        ATTENTION_ENTRIES(16),
        ATTENTION_ENTRIES(32),
        ATTENTION_ENTRIES(64),
        ATTENTION_ENTRIES(96),
        ATTENTION_ENTRIES(128),
        ATTENTION_ENTRIES(256),
        ENTRY(of_elementwise, mr_add, mr_add_params, of_elementwise::elementwise_threads),
        ENTRY(of_elementwise, mr_soft_cap, mr_soft_cap_params, of_elementwise::elementwise_threads),
        ENTRY(of_embed, mr_embed, mr_embed_params, of_embed::embed_threads),
        ENTRY(of_gate, mr_silu_mul, mr_gate_params, of_gate::gate_threads),
        ENTRY(of_gate, mr_gelu_mul, mr_gate_params, of_gate::gate_threads),
        ENTRY(of_gather, mr_gather_rows, mr_gather_params, of_gather::gather_threads),
        LINEAR_ENTRIES(store),
        LINEAR_ENTRIES(add),
        LINEAR_ENTRIES(logits),
        LINEAR_ENTRIES(silu),
        LINEAR_ENTRIES(gelu),
        NORM_ENTRY(1),
        NORM_ENTRY(2),
        NORM_ENTRY(4),
        NORM_ENTRY(8),
        ENTRY(of_qkv, mr_qkv_post, mr_qkv_post_params, 32 * of_qkv::qkv_heads_per_block),
        ENTRY(of_sample, mr_sample, mr_sample_params, of_sample::sample_threads),
    };
    return all;
}

const Kernel *find_kernel(const std::string &name) {
    for (const Kernel &k : all_kernels()) {
        if (name == k.name) {
            return &k;
        }
    }
    return nullptr;
}

}  // namespace stub
