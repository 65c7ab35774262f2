// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.nacelle.AbstractNetworkContractTest;
import dev.nacelle.Nacelle;
import dev.nacelle.SandboxSpec;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.engine.EngineBuilder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** The agent's network without a machine: on this kernel, as {@link AgentHypervisor} has it. */
@EnabledOnOs(OS.LINUX)
class NetworkOnThisKernelTest extends AbstractNetworkContractTest {
  /** Cargo has built it for its own tests. */
  private static final Path AGENT =
      Path.of(System.getProperty("basedir", ""))
          .resolveSibling("guest-agent/target/cargo/x86_64-unknown-linux-gnu/debug/agent_on_socket")
          .toAbsolutePath();

  NetworkOnThisKernelTest() {
    super("nacelle:6.12");
  }

  @Override
  protected Nacelle.Builder builder() {
    assumeTrue(Files.isExecutable(AGENT), "the tests' agent is not built");
    assumeTrue(Files.isWritable(Path.of("/dev/net/tun")), "there is no TUN here");
    assumeTrue(Files.isWritable(Path.of("/dev/loop-control")), "there are no loop devices here");
    return new EngineBuilder().hypervisor(new AgentHypervisor(AGENT));
  }

  @Test
  void itIsInTheContainersOwnNetworkWhereThatHasOne() {
    assertReached(spec -> spec.container(ContainerSpec.builder().ownNetwork(true).build()));
  }

  @Test
  void itIsTheSameInAPrivilegedSandbox() {
    assertReached(SandboxSpec.Builder::privileged);
  }
}
