package io.millrace.server.openai;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.OptionalLong;
import java.util.function.LongSupplier;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;

/** Guards that a server's base seed makes its draws repeatable, and that no base makes them differ. */
class SeedsTest {
    private static long[] draw(OptionalLong base) {
        LongSupplier seeds = Seeds.fresh(base);
        return LongStream.generate(seeds).limit(100).toArray();
    }

    @Test
    void theSameBaseGivesTheSameDistinctSeeds() {
        assertThat(draw(OptionalLong.of(7))).isEqualTo(draw(OptionalLong.of(7))).doesNotHaveDuplicates();
        assertThat(draw(OptionalLong.of(7))).isNotEqualTo(draw(OptionalLong.of(8)));
        assertThat(draw(OptionalLong.empty())).isNotEqualTo(draw(OptionalLong.empty()));
    }

    @Test
    void theFirstChoiceHasTheRequestsOwnSeed() {
        assertThat(Seeds.ofChoice(5, 0)).isEqualTo(5);
        assertThat(Seeds.ofChoice(5, 1)).isNotEqualTo(5);
    }
}
