package io.millrace.kernels.cpu;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.bindings.CpuKernels;
import io.millrace.bindings.cpu.generated.MillraceCpu;
import io.millrace.bindings.cpu.generated.mr_add_args;
import io.millrace.bindings.cpu.generated.mr_add_rms_norm_args;
import io.millrace.bindings.cpu.generated.mr_attention_args;
import io.millrace.bindings.cpu.generated.mr_batch;
import io.millrace.bindings.cpu.generated.mr_cpu_info;
import io.millrace.bindings.cpu.generated.mr_embed_args;
import io.millrace.bindings.cpu.generated.mr_gather_args;
import io.millrace.bindings.cpu.generated.mr_kv_cache;
import io.millrace.bindings.cpu.generated.mr_linear_args;
import io.millrace.bindings.cpu.generated.mr_matrix;
import io.millrace.bindings.cpu.generated.mr_op;
import io.millrace.bindings.cpu.generated.mr_rms_norm_args;
import io.millrace.bindings.cpu.generated.mr_rope_args;
import io.millrace.bindings.cpu.generated.mr_sample_args;
import io.millrace.bindings.cpu.generated.mr_soft_cap_args;
import io.millrace.bindings.cpu.generated.mr_swiglu_args;
import io.millrace.bindings.cpu.generated.mr_weight;
import io.millrace.kernels.DType;
import io.millrace.kernels.Extent;
import io.millrace.kernels.QuantFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Property: the generated bindings and the C compiler agree on every size, offset and constant that crosses the boundary. */
class AbiLayoutTest {
    private static final List<GroupLayout> STRUCTURES = List.of(mr_matrix.layout(), mr_weight.layout(), mr_kv_cache.layout(),
            mr_embed_args.layout(), mr_rms_norm_args.layout(), mr_add_rms_norm_args.layout(), mr_add_args.layout(), mr_linear_args.layout(),
            mr_rope_args.layout(), mr_attention_args.layout(), mr_swiglu_args.layout(), mr_soft_cap_args.layout(), mr_gather_args.layout(), mr_sample_args.layout(),
            mr_op.layout(), mr_batch.layout(), mr_cpu_info.layout());

    @Test
    void sizesAndOffsetsAreThoseOfTheCompiler() {
        CpuKernels.library().require();
        List<Integer> ours = new ArrayList<>();
        for (GroupLayout structure : STRUCTURES) {
            ours.add((int) structure.byteSize());
            for (MemoryLayout member : structure.memberLayouts()) {
                if (member.name().isPresent()) {
                    ours.add((int) structure.byteOffset(PathElement.groupElement(member.name().get())));
                }
            }
        }
        try (Arena arena = Arena.ofConfined()) {
            int entries = MillraceCpu.mr_abi_layout(MemorySegment.NULL, 0);
            MemorySegment table = arena.allocate(ValueLayout.JAVA_INT, entries);
            MillraceCpu.mr_abi_layout(table, entries);
            List<Integer> theirs = new ArrayList<>();
            for (int value : table.toArray(ValueLayout.JAVA_INT)) {
                theirs.add(value);
            }
            assertThat(ours).isEqualTo(theirs);
        }
    }

    @Test
    void enumerationsHaveTheSameNumbersOnBothSides() {
        assertThat(List.of(DType.F32.ordinal(), DType.F16.ordinal(), DType.BF16.ordinal(), DType.I32.ordinal()))
                .isEqualTo(List.of(MillraceCpu.MR_F32(), MillraceCpu.MR_F16(), MillraceCpu.MR_BF16(), MillraceCpu.MR_I32()));
        assertThat(List.of(Extent.FIXED.ordinal(), Extent.TOKENS.ordinal(), Extent.LOGIT_ROWS.ordinal()))
                .isEqualTo(List.of(MillraceCpu.MR_EXTENT_FIXED(), MillraceCpu.MR_EXTENT_TOKENS(), MillraceCpu.MR_EXTENT_LOGIT_ROWS()));
        assertThat(List.of(CpuIsa.PORTABLE.ordinal(), CpuIsa.AVX2.ordinal(), CpuIsa.AVX512.ordinal(), CpuIsa.NEON.ordinal(),
                CpuIsa.AVX512_VNNI.ordinal()))
                .isEqualTo(List.of(MillraceCpu.MR_ISA_PORTABLE(), MillraceCpu.MR_ISA_AVX2(), MillraceCpu.MR_ISA_AVX512(),
                        MillraceCpu.MR_ISA_NEON(), MillraceCpu.MR_ISA_AVX512_VNNI()));
        assertThat(List.of(DType.F32.nativeCode(), DType.F16.nativeCode(), DType.BF16.nativeCode()))
                .isEqualTo(List.of(MillraceCpu.MR_FORMAT_F32(), MillraceCpu.MR_FORMAT_F16(), MillraceCpu.MR_FORMAT_BF16()));
        assertThat(Arrays.stream(QuantFormat.values()).map(QuantFormat::nativeCode).toList()).isEqualTo(List.of(MillraceCpu.MR_FORMAT_Q8_0(),
                MillraceCpu.MR_FORMAT_Q4_0(), MillraceCpu.MR_FORMAT_Q4_1(), MillraceCpu.MR_FORMAT_Q5_0(), MillraceCpu.MR_FORMAT_Q4_K(),
                MillraceCpu.MR_FORMAT_Q5_K(), MillraceCpu.MR_FORMAT_Q6_K(), MillraceCpu.MR_FORMAT_Q5_1()));
        assertThat(MillraceCpu.mr_abi_version()).isEqualTo(MillraceCpu.MR_ABI_VERSION());
    }
}
