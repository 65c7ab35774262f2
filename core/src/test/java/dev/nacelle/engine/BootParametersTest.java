// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.nacelle.SandboxSpec;
import dev.nacelle.container.Capabilities;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Mount;
import dev.nacelle.container.ProcessSecurity;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class BootParametersTest {
  private static final String NO_TRACEFS = "initcall_blacklist=trace_eval_init,tracer_init_tracefs";

  private static SandboxSpec.Builder spec() {
    return SandboxSpec.builder().image("debian");
  }

  private static String of(SandboxSpec.Builder spec) {
    return BootParameters.of(spec.build());
  }

  @Test
  void whoCannotMountTracefsHasNone() {
    assertEquals(NO_TRACEFS, of(spec()));
    assertEquals(NO_TRACEFS + " mitigations=off", of(spec().kernelParameters("mitigations=off")));
  }

  @Test
  void whoCanMountTracefsHasIt() {
    assertEquals("", of(spec().privileged()));
    assertEquals(
        "",
        of(
            spec()
                .security(
                    ProcessSecurity.builder()
                        .capabilities(Capabilities.DOCKER.plus(Capability.SYS_ADMIN))
                        .build())));
  }

  @ParameterizedTest
  @ValueSource(strings = {"tracefs", "debugfs"})
  void aContainerThatMountsTracefsHasIt(String type) {
    Mount mount = Mount.filesystem(type, "/tracing");
    assertEquals("", of(spec().container(ContainerSpec.builder().mount(mount).build())));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"trace_event=sched:*", "initcall_blacklist=", "ftrace=function", "tp_printk"})
  void parametersOfTracingAreLeftAlone(String given) {
    assertEquals(given, of(spec().kernelParameters(given)));
  }

  @Test
  void parametersThatFillTheLineAreAllOfIt() {
    String most = "x".repeat(SandboxSpec.MAXIMUM_KERNEL_PARAMETERS);
    assertEquals(most, of(spec().kernelParameters(most)));
    String less = most.substring(NO_TRACEFS.length() + 1);
    assertEquals(NO_TRACEFS + " " + less, of(spec().kernelParameters(less)));
  }
}
