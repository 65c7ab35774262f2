// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HostCheck.Status;
import dev.nacelle.HypervisorException;
import dev.nacelle.hyperv.schema.Version;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.StandIn;
import dev.nacelle.spi.HypervisorProvider;
import java.util.List;
import java.util.ServiceLoader;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@Timeout(60)
class HypervHostCheckTest {
  static final String USER = "S-1-5-21-1-2-3-1001";

  private final HypervHostCheck check = new HypervHostCheck("Windows 11", "amd64", () -> USER);

  @BeforeEach
  void reset() {
    StandIn.reset();
  }

  @AfterEach
  void nothingIsLeft() {
    StandIn.requireNothingLeft();
  }

  private static void takes(int major, int minor) {
    StandIn.answer(
        "HcsGetServiceProperties",
        "{\"Properties\":[{\"SupportedSchemaVersions\":[{\"Major\":"
            + major
            + ",\"Minor\":"
            + minor
            + "}]}]}");
  }

  private Finding failure() {
    HostCheck result = check.run();
    assertFalse(result.usable());
    Finding failure = result.failure(HostCheck.Ability.LINUX_KERNELS).orElseThrow();
    // What depends on it is not asked.
    assertEquals(failure, result.findings().get(result.findings().size() - 1));
    return failure;
  }

  private static void assertHolds(String expected, Finding finding) {
    assertTrue(finding.toString().contains(expected), finding::toString);
  }

  @Test
  void windowsThatMakesMachinesIsUsable() {
    takes(2, 5);
    HostCheck result = check.run();
    assertTrue(result.usable(), result::toString);
    assertEquals("hyperv", result.hypervisor());
    assertFalse(result.can(HostCheck.Ability.UNIKERNELS));
    assertEquals(
        List.of("platform", "service", "linux-kernels", "unikernels", "machines"),
        result.findings().stream().map(Finding::name).toList());
    assertEquals(0, StandIn.calls("HcsStartComputeSystem"));
    MachineDocument.Host host = check.host();
    assertEquals(new Version(2, 5), host.schema());
    assertEquals(USER, host.userSid());
    assertEquals(Owner.ofThisProcess().toString(), host.owner());
  }

  @Test
  void armIsToldApart() {
    Finding failure =
        new HypervHostCheck("Windows 11", "aarch64", () -> USER)
            .run()
            .failure(HostCheck.Ability.LINUX_KERNELS)
            .orElseThrow();
    assertEquals("platform", failure.name());
    assertHolds("Windows 11 on aarch64", failure);
    assertHolds("on x86-64 only", failure);
    assertEquals(0, StandIn.calls("HcsGetServiceProperties"));
  }

  @Test
  void serviceThatIsNotThereIsTheFeature() {
    StandIn.failCall("HcsGetServiceProperties", HResult.HCS_E_SERVICE_NOT_AVAILABLE);
    Finding failure = failure();
    assertEquals("service", failure.name());
    assertHolds("Virtual Machine Platform", failure);
  }

  @Test
  void answerThatIsNoneIsTold() {
    StandIn.answer("HcsGetServiceProperties", "[");
    assertEquals("service", failure().name());
  }

  @Test
  void tooOldABuildIsToldByWhatItTakes() {
    takes(2, 1);
    Finding failure = failure();
    assertEquals("linux-kernels", failure.name());
    assertHolds("build 18362", failure);
    assertEquals(0, StandIn.calls("HcsCreateComputeSystem"));
  }

  @Test
  void serviceThatNamesNoVersionIsTooOld() {
    assertEquals("linux-kernels", failure().name());
  }

  @ParameterizedTest
  @CsvSource({
    "HCS_E_HYPERV_NOT_INSTALLED, hypervisorlaunchtype",
    "HCS_E_ACCESS_DENIED, Hyper-V Administrators",
    "E_ACCESSDENIED, Hyper-V Administrators",
    "HCS_E_SERVICE_DISCONNECT, vmcompute"
  })
  void machineThatCannotBeMadeTellsWhy(HResult result, String remedy) {
    takes(2, 6);
    StandIn.failResult("HcsCreateComputeSystem", result, null);
    Finding failure = failure();
    assertEquals("machines", failure.name());
    assertHolds(result.name(), failure);
    assertHolds(remedy, failure);
  }

  @Test
  void trialThatFailsForAnotherReasonSaysNothingOfTheHost() {
    takes(2, 6);
    StandIn.failResult("HcsCreateComputeSystem", HResult.E_OUTOFMEMORY, null);
    HostCheck result = check.run();
    assertTrue(result.usable());
    assertEquals(Status.WARNING, result.findings().get(4).status());
  }

  @Test
  void runtimeWithoutTheModuleIsTold() {
    takes(2, 6);
    HypervHostCheck own =
        new HypervHostCheck(
            "Windows 11",
            "amd64",
            () -> {
              throw new NoClassDefFoundError("of a test");
            });
    assertHolds(
        "jdk.security.auth", own.run().failure(HostCheck.Ability.LINUX_KERNELS).orElseThrow());
  }

  @Test
  void userWhomWindowsDoesNotTellIsAFinding() {
    takes(2, 6);
    HostCheck result = new HypervHostCheck("Windows 11", "amd64", () -> "none").run();
    assertHolds("whoami", result.failure(HostCheck.Ability.LINUX_KERNELS).orElseThrow());
    assertEquals(0, StandIn.calls("HcsCreateComputeSystem"));
  }

  @Test
  @EnabledOnOs(value = OS.LINUX, disabledReason = "of a host that is not Windows")
  void providerIsFoundBesideOthersAndTouchesNothing() {
    HypervisorProvider provider = provider();
    HostCheck result = provider.check();
    assertEquals(1, result.findings().size());
    assertHolds("platform FAILED: Linux on ", result.findings().get(0));
    HypervisorException e = assertThrows(HypervisorException.class, provider::open);
    assertTrue(e.getMessage().contains("Linux on "), e::getMessage);
    assertEquals(0, StandIn.calls("HcsGetServiceProperties"));
  }

  @Test
  @EnabledOnOs(value = OS.WINDOWS, disabledReason = "only Windows has users with such names")
  void providerOpensThisWindowsForItsUser() {
    takes(2, 6);
    HypervisorProvider provider = provider();
    assertTrue(provider.supportsPlatform());
    assertTrue(provider.check().usable());
    provider.open().close();
    HypervHostCheck own = HypervHostCheck.ofThisHost();
    assertTrue(own.run().usable());
    String user = own.host().userSid();
    assertTrue(user.matches("S-1-5-21(-[0-9]+){4}"), user);
  }

  private static HypervisorProvider provider() {
    return ServiceLoader.load(HypervisorProvider.class).stream()
        .map(ServiceLoader.Provider::get)
        .filter(found -> found.name().equals("hyperv"))
        .findFirst()
        .orElseThrow();
  }
}
