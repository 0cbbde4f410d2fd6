package io.millrace.server;

import static com.tngtech.archunit.base.DescribedPredicate.not;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.simpleName;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;

import com.tngtech.archunit.base.DescribedPredicate;
import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/** The arrows between modules and packages, as ARCHITECTURE.md draws them. */
@AnalyzeClasses(packages = "io.millrace", importOptions = ImportOption.DoNotIncludeTests.class)
class ArchitectureTest {
    /** Property: modules depend in one direction, each only on those below it, and telemetry on none of them. */
    @ArchTest
    static final ArchRule bindingsKnowNobody = below("bindings", "kernels", "engine", "scheduler", "server", "telemetry");
    @ArchTest
    static final ArchRule kernelsKnowBindings = below("kernels", "engine", "scheduler", "server", "telemetry");
    @ArchTest
    static final ArchRule engineKnowsKernels = below("engine", "scheduler", "server");
    /** Of the bindings the engine knows where files may be kept, and nothing native. */
    @ArchTest
    static final ArchRule engineKnowsNoBindings = noClasses().that().resideInAPackage("io.millrace.engine..").should().dependOnClassesThat(
            resideInAPackage("io.millrace.bindings..").and(not(simpleName("CacheFolder"))));
    @ArchTest
    static final ArchRule schedulerKnowsEngine = below("scheduler", "bindings", "kernels", "server");
    @ArchTest
    static final ArchRule serverKnowsNoKernels = below("server", "bindings", "kernels");
    @ArchTest
    static final ArchRule telemetryKnowsNobody = below("telemetry", "bindings", "kernels", "engine", "scheduler", "server");

    /** Property: packages of a module form no cycle, so that each can be read, and replaced, alone. */
    @ArchTest
    static final ArchRule noCyclesInServer = slices().matching("io.millrace.server.(*)..").should().beFreeOfCycles();
    @ArchTest
    static final ArchRule noCyclesInEngine = slices().matching("io.millrace.engine.(*)..").should().beFreeOfCycles();
    @ArchTest
    static final ArchRule noCyclesBetweenModules = slices().matching("io.millrace.(*)..").should().beFreeOfCycles();

    /** Property: the scheduler runs over any engine: it touches no native memory, no HTTP and no model. */
    @ArchTest
    static final ArchRule schedulerTouchesNoMemory = noClasses().that().resideInAPackage("io.millrace.scheduler..").should()
            .dependOnClassesThat().resideInAnyPackage("java.lang.foreign..", "io.helidon..", "io.millrace.engine.model..", "io.millrace.engine.weights..");

    /** Property: the HTTP side sees requests and tokens, never sequences, blocks or plans. */
    @ArchTest
    static final ArchRule httpSeesNoBlocks = noClasses().that().resideInAnyPackage("io.millrace.server.http..", "io.millrace.server.openai..").should()
            .dependOnClassesThat(new DescribedPredicate<JavaClass>("are about sequences, plans or blocks") {
                @Override
                public boolean test(JavaClass type) {
                    return type.getName().matches("io\\.millrace\\.(engine\\.(Sequence|StepPlan)|scheduler\\.(BlockPool|Scheduler))");
                }
            });

    /** Property: only the HTTP package knows Helidon, so that another front end can take its place. */
    @ArchTest
    static final ArchRule helidonStaysInHttp = onlyIn("io.helidon..", "io.millrace.server.http..");

    /** Property: what loads NVIDIA's libraries is reached through the CUDA backend alone, and JCuda through the drivers. */
    @ArchTest
    static final ArchRule cudaStaysInItsBackend = onlyIn("io.millrace.bindings.cuda..", "io.millrace.bindings.cuda..",
            "io.millrace.kernels.cuda..");
    @ArchTest
    static final ArchRule jcudaStaysInItsDrivers = onlyIn("jcuda..", "io.millrace.bindings.cuda..");

    private static ArchRule below(String module, String... forbidden) {
        String[] packages = new String[forbidden.length];
        for (int i = 0; i < forbidden.length; i++) {
            packages[i] = "io.millrace." + forbidden[i] + "..";
        }
        return noClasses().that().resideInAPackage("io.millrace." + module + "..").should().dependOnClassesThat().resideInAnyPackage(packages);
    }

    private static ArchRule onlyIn(String library, String... packages) {
        return noClasses().that().resideOutsideOfPackages(packages).should().dependOnClassesThat().resideInAPackage(library);
    }
}
