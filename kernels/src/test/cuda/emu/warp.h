// Warp collectives, computed from the lane layouts that the PTX manual gives.
#pragma once
#include "memory.h"

namespace emu {

template <class Lane>
inline Lane &lane_of(void *const *lanes, unsigned i) {
    return *static_cast<Lane *>(lanes[i]);
}

struct ShuffleLane {
    uint64_t value;
    unsigned source;
    uint64_t result;
};

inline void resolve_shuffle(void *const *lanes) {
    for (unsigned i = 0; i < warp_size; i++) {
        ShuffleLane &l = lane_of<ShuffleLane>(lanes, i);
        l.result = lane_of<ShuffleLane>(lanes, l.source % warp_size).value;
    }
}

struct VoteLane {
    bool value;
    uint32_t result;
};

inline void resolve_ballot(void *const *lanes) {
    uint32_t ballot = 0;
    for (unsigned i = 0; i < warp_size; i++) {
        ballot |= uint32_t{lane_of<VoteLane>(lanes, i).value} << i;
    }
    for (unsigned i = 0; i < warp_size; i++) {
        lane_of<VoteLane>(lanes, i).result = ballot;
    }
}

inline void resolve_sync(void *const *) { current->warp->epoch++; }

// Halves of a register.
inline float bf16_half(uint32_t pair, int half) {
    uint32_t bits = half ? pair & 0xffff0000u : pair << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

struct MmaLane {
    float *c;
    const uint32_t *a;
    uint32_t b[2];
};

// mma.m16n8k16: with g = lane / 4 and t = lane % 4,
//   A 16x16  a0 (g, 2t..)  a1 (g + 8, 2t..)  a2 (g, 2t + 8..)  a3 (g + 8, 2t + 8..)
//   B 16x8   b0 (2t.., g)  b1 (2t + 8.., g)
//   C 16x8   c0 c1 (g, 2t..)  c2 c3 (g + 8, 2t..)
inline void resolve_mma(void *const *lanes) {
    float a[16][16];
    float b[16][8];
    for (unsigned i = 0; i < warp_size; i++) {
        const MmaLane &l = lane_of<MmaLane>(lanes, i);
        unsigned g = i / 4;
        unsigned t = i % 4;
        for (int h = 0; h < 2; h++) {
            for (int r = 0; r < 4; r++) {
                a[g + r % 2 * 8][2 * t + h + r / 2 * 8] = bf16_half(l.a[r], h);
            }
            b[2 * t + h][g] = bf16_half(l.b[0], h);
            b[2 * t + h + 8][g] = bf16_half(l.b[1], h);
        }
    }
    float c[16][8];
    for (int row = 0; row < 16; row++) {
        for (int col = 0; col < 8; col++) {
            c[row][col] = 0;
        }
        for (int k = 0; k < 16; k++) {
            for (int col = 0; col < 8; col++) {
                c[row][col] += a[row][k] * b[k][col];
            }
        }
    }
    for (unsigned i = 0; i < warp_size; i++) {
        MmaLane &l = lane_of<MmaLane>(lanes, i);
        for (int r = 0; r < 4; r++) {
            l.c[r] += c[i / 4 + r / 2 * 8][2 * (i % 4) + r % 2];
        }
    }
}

struct LdmatrixLane {
    size_t row;  // offset of the row that this lane names: lanes 8m..8m+7 those of matrix m
    uint32_t *result;
    bool transposed;
    Site site;
};

inline void resolve_ldmatrix(void *const *lanes) {
    Accessor who = accessor();
    uint16_t matrix[4][8][8];
    for (unsigned i = 0; i < warp_size; i++) {
        const LdmatrixLane &l = lane_of<LdmatrixLane>(lanes, i);
        who.thread = static_cast<uint16_t>(current->index - current->lane + i);
        checked(l.row, 16, 16, l.site);
        current->block->shadow.read_by_warp(l.row, 16, who, l.site);
        std::memcpy(matrix[i / 8][i % 8], current->block->shared + l.row, 16);
    }
    for (unsigned i = 0; i < warp_size; i++) {
        LdmatrixLane &l = lane_of<LdmatrixLane>(lanes, i);
        unsigned g = i / 4;
        unsigned t = i % 4;
        for (int m = 0; m < 4; m++) {
            uint32_t low = l.transposed ? matrix[m][2 * t][g] : matrix[m][g][2 * t];
            uint32_t high = l.transposed ? matrix[m][2 * t + 1][g] : matrix[m][g][2 * t + 1];
            l.result[m] = low | high << 16;
        }
    }
}

struct TransposeLane {
    uint32_t value;
    uint32_t result;
};

// movmatrix: the 8x8 matrix of which lane (g, t) holds elements (g, 2t) and (g, 2t + 1).
inline void resolve_transpose(void *const *lanes) {
    auto element = [&](unsigned row, unsigned col) {
        return lane_of<TransposeLane>(lanes, row * 4 + col / 2).value >> (col % 2 * 16) & 0xffffu;
    };
    for (unsigned i = 0; i < warp_size; i++) {
        lane_of<TransposeLane>(lanes, i).result = element(2 * (i % 4), i / 4) | element(2 * (i % 4) + 1, i / 4) << 16;
    }
}

}  // namespace emu
