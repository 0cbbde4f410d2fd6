package io.millrace.kernels.reference;

import io.millrace.kernels.AbstractBackendTest;
import io.millrace.kernels.Backend;
import io.millrace.kernels.BatchLimits;

class ReferenceBackendTest extends AbstractBackendTest {
    @Override
    public Backend create(BatchLimits limits, int threads) {
        return ReferenceBackend.create(limits);
    }
}
