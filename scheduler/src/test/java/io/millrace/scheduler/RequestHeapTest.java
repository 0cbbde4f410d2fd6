package io.millrace.scheduler;

import static org.assertj.core.api.Assertions.assertThat;

import io.millrace.engine.SamplingParams;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class RequestHeapTest {
    private static final class Counting extends RequestHeap {
        private long numComparisons;

        @Override
        boolean isBefore(RequestState a, RequestState b) {
            numComparisons++;
            return a.rank < b.rank;
        }

        @Override
        int place(RequestState request) {
            return request.queuePlace;
        }

        @Override
        void setPlace(RequestState request, int place) {
            request.queuePlace = place;
        }
    }

    private static RequestState request(double rank) {
        RequestState state = new RequestState(1, new GenerationRequest(new int[] {1}, SamplingParams.greedy(1), new RecordingSink()), 16, 0, null);
        state.rank = rank;
        return state;
    }

    /** Property: whatever is added and taken out of the middle, the first is the least of those inside, and places are right. */
    @Test
    void theFirstIsTheLeast() {
        Random random = new Random(1);
        Counting heap = new Counting();
        List<RequestState> inside = new ArrayList<>();
        for (int i = 0; i < 20_000; i++) {
            if (inside.size() < 5 || random.nextInt(100) < 52) {
                RequestState request = request(random.nextDouble());
                inside.add(request);
                heap.add(request);
            } else {
                RequestState gone = inside.remove(random.nextInt(inside.size()));
                heap.remove(gone);
                assertThat(gone.queuePlace).isEqualTo(RequestHeap.ABSENT);
            }
            if (i % 50 == 0) {
                heap.checkIntegrity();
                assertThat(heap.first()).isSameAs(inside.stream().min(Comparator.comparingDouble(r -> r.rank)).orElseThrow());
                assertThat(heap.size()).isEqualTo(inside.size());
            }
        }
    }

    /** Property: an operation on 100,000 takes no more than a few times the comparisons that the height of the tree needs. */
    @Test
    void operationsTakeTheLogarithm() {
        Random random = new Random(2);
        Counting heap = new Counting();
        for (int i = 0; i < 100_000; i++) {
            heap.add(request(random.nextDouble()));
        }
        heap.numComparisons = 0;
        for (int i = 0; i < 1000; i++) {
            RequestState first = heap.first();
            heap.remove(first);
            first.rank = random.nextDouble();
            heap.add(first);
        }
        // 17 levels: down with two a level, up with one, for the removal and the return.
        assertThat(heap.numComparisons / 1000).isLessThan(4 * 17);
    }
}
