// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Ability;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HostCheck.Status;
import dev.nacelle.VmExit;
import dev.nacelle.VmExit.Reason;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.CoreScheduling;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(60)
class KvmHostCheckTest {
  private static final Supplier<Kvm> NEVER =
      () -> {
        throw new AssertionError("must not be opened");
      };

  private static Finding onlyFailure(HostCheck check) {
    assertFalse(check.usable());
    Finding failure = check.failure(Ability.LINUX_KERNELS).orElseThrow();
    assertEquals(failure, check.findings().get(check.findings().size() - 1), "the last question");
    assertTrue(failure.remedy().isPresent(), failure::toString);
    return failure;
  }

  private static HostCheck checkOpening(Supplier<Kvm> opener) {
    return new KvmHostCheck("Linux", "amd64", Kvm.PATH, opener).run();
  }

  @Test
  void saysThatThePlatformIsNotSupported() {
    for (String[] platform :
        new String[][] {{"Mac OS X", "aarch64"}, {"Windows 11", "amd64"}, {"Linux", "aarch64"}}) {
      HostCheck check = new KvmHostCheck(platform[0], platform[1], Kvm.PATH, NEVER).run();
      Finding failure = onlyFailure(check);
      assertEquals("platform", failure.name());
      assertFalse(new KvmHostCheck(platform[0], platform[1], Kvm.PATH, NEVER).isForPlatform());
      assertEquals(platform[0] + " on " + platform[1], failure.detail());
    }
  }

  @Test
  void saysThatThereIsNoDevice() {
    Path missing = Path.of("/dev/no-such-kvm");
    Finding failure = onlyFailure(new KvmHostCheck("Linux", "amd64", missing, NEVER).run());
    assertEquals("device-node", failure.name());
    assertEquals("/dev/no-such-kvm does not exist", failure.detail());
    assertTrue(failure.remedy().orElseThrow().contains("--device /dev/kvm"));
  }

  @Test
  void saysThatTheDeviceIsNotPermitted() {
    HostCheck check =
        checkOpening(
            () -> {
              throw new ErrnoException("open /dev/kvm", Errno.EACCES);
            });
    Finding failure = onlyFailure(check);
    assertEquals("device-permission", failure.name());
    assertTrue(failure.detail().contains(System.getProperty("user.name")), failure::detail);
    assertTrue(failure.detail().contains("root:"), failure::detail);
    assertTrue(failure.remedy().orElseThrow().contains("group kvm"));
  }

  @Test
  void saysThatTheDeviceDoesNotWork() {
    HostCheck check =
        checkOpening(
            () -> {
              throw new ErrnoException("open /dev/kvm", Errno.ENODEV);
            });
    Finding failure = onlyFailure(check);
    assertEquals("device-permission", failure.name());
    assertTrue(failure.detail().contains("ENODEV"), failure::detail);
    assertTrue(failure.remedy().orElseThrow().contains("modprobe"));
  }

  @Test
  void saysThatTheDeviceDoesNotAnswerAsKvmDoes() {
    HostCheck check =
        checkOpening(
            () -> {
              Kvm kvm = Kvm.open();
              kvm.close();
              return kvm;
            });
    assertEquals("api-version", onlyFailure(check).name());
  }

  private static KvmHostCheck checkOfAnOpenDevice() {
    return new KvmHostCheck("Linux", "amd64", Kvm.PATH, NEVER);
  }

  @Test
  void saysThatTheApiHasAnotherVersion() {
    KvmHostCheck check = checkOfAnOpenDevice();
    assertFalse(check.hasApiVersion(() -> 11));
    Finding failure = onlyFailure(check.result());
    assertEquals("api-version", failure.name());
    assertEquals("KVM API version 11 instead of 12", failure.detail());
    assertEquals("Use a Linux kernel since 2.6.22.", failure.remedy().orElseThrow());
  }

  @ParameterizedTest
  @EnumSource
  void saysWhichCapabilityIsMissingWhereItIsNeeded(Capability missing) {
    KvmHostCheck check = checkOfAnOpenDevice();
    boolean passed = check.hasCapabilities(capability -> capability == missing ? 0 : 1);
    assertEquals(!missing.required(), passed);
    if (!passed) {
      Finding failure = onlyFailure(check.result());
      assertEquals("capabilities", failure.name());
      assertEquals("this KVM lacks " + missing, failure.detail());
      assertTrue(failure.remedy().orElseThrow().contains("Linux kernel"), failure::toString);
    }
  }

  @Test
  void saysThatThisProcessHasTooManyFilesOpen() {
    HostCheck check =
        checkOpening(
            () -> {
              throw new ErrnoException("open /dev/kvm", Errno.EMFILE);
            });
    assertTrue(onlyFailure(check).remedy().orElseThrow().contains("ulimit -n"));
  }

  @Test
  void doesNotTakeAnInterruptForAnAnswer() {
    Thread.currentThread().interrupt();
    HostCheck check = new KvmHypervisorProvider().check();
    assertTrue(Thread.interrupted(), "the interrupt is kept");
    Finding failure = onlyFailure(check);
    assertEquals("virtual-machine", failure.name());
    assertEquals("the check was interrupted", failure.detail());
  }

  @Test
  void isMadeForThisPlatform() {
    assertTrue(new KvmHypervisorProvider().supportsPlatform());
  }

  @Test
  void findsOutWhetherThisHostRunsKernels() {
    HostCheck check = new KvmHypervisorProvider().check();
    assertEquals("kvm", check.hypervisor());
    List<String> names = check.findings().stream().map(Finding::name).toList();
    assertEquals(
        List.of(
            "platform",
            "device-node",
            "device-permission",
            "api-version",
            "capabilities",
            "core-scheduling",
            "virtual-machine",
            "runs-unmodified-kernels"),
        names);
    for (Finding finding : check.findings().subList(0, 7)) {
      // Cores that are shared are only warned of.
      assertNotEquals(Status.FAILED, finding.status());
      assertEquals(finding.status() == Status.PASSED, finding.remedy().isEmpty());
    }
    // Hardware runs the code, or KVM says which instruction it could not emulate.
    Finding last = check.findings().get(7);
    assertTrue(
        last.status() == Status.PASSED || last.detail().contains("cannot emulate an instruction"),
        last::detail);
  }

  @Test
  void judgesByWhatCameOfTheProbe() {
    assertEquals(Status.PASSED, judgement(Reason.POWER_OFF).status());
    Finding emulated = judgement(Reason.CRASHED);
    assertEquals(Status.FAILED, emulated.status());
    assertTrue(emulated.detail().contains("emulates"), emulated::detail);
    Finding refused = judgement(Reason.RESET);
    assertEquals(Status.FAILED, refused.status());
    assertTrue(refused.detail().contains("the processor refuses an instruction"), refused::detail);
  }

  private static Finding judgement(Reason reason) {
    KvmHostCheck check = checkOfAnOpenDevice();
    check.judge(VmExit.of(reason, "what happened"));
    Finding last = check.result().findings().get(1);
    assertEquals(Optional.of(Ability.LINUX_KERNELS), last.ability());
    assertEquals(reason == Reason.POWER_OFF, check.result().can(Ability.LINUX_KERNELS));
    assertTrue(check.result().can(Ability.UNIKERNELS));
    return last;
  }

  @Test
  void saysWhetherCoresAreKeptApart(@TempDir Path directory) throws Exception {
    FakeCoreScheduling present = new FakeCoreScheduling();
    FakeCoreScheduling withoutSmt = new FakeCoreScheduling();
    withoutSmt.failWith(Errno.ENODEV);
    CoreScheduling absent = new NoCoreScheduling();
    Path active = Files.writeString(directory.resolve("active"), "1\n");
    Path inactive = Files.writeString(directory.resolve("inactive"), "0\n");
    Path unknown = directory.resolve("none");

    assertTrue(coreScheduling(present, active).detail().startsWith("no core runs a guest beside"));
    assertTrue(coreScheduling(withoutSmt, unknown).detail().startsWith("not needed"));
    assertTrue(coreScheduling(absent, inactive).detail().startsWith("not needed"));
    for (Path smt : List.of(active, unknown)) {
      Finding warning = coreScheduling(absent, smt);
      assertEquals(Status.WARNING, warning.status());
      assertTrue(warning.detail().contains("EINVAL"), warning::detail);
      assertTrue(warning.remedy().orElseThrow().contains("nosmt"), warning::toString);
    }
  }

  private static Finding coreScheduling(CoreScheduling scheduling, Path smtActive) {
    KvmHostCheck check = checkOfAnOpenDevice();
    check.keepsCoresApart(scheduling, smtActive);
    assertTrue(check.result().usable());
    Finding only = check.result().findings().get(0);
    assertEquals("core-scheduling", only.name());
    return only;
  }

  /** As a kernel before 5.14 answers. */
  private static final class NoCoreScheduling implements CoreScheduling {
    @Override
    public int create() {
      return -Errno.EINVAL;
    }

    @Override
    public int shareFrom(int thread) {
      return -Errno.EINVAL;
    }

    @Override
    public long cookie(int thread) {
      return -Errno.EINVAL;
    }
  }

  @Test
  void leavesNothingBehind() {
    HostCheck first = new KvmHypervisorProvider().check();
    Resources before = Resources.now();
    assertEquals(first.usable(), new KvmHypervisorProvider().check().usable());
    assertEquals(before, Resources.now());
  }

  @Test
  void isFoundByTheServiceLoaderAndOpens() {
    HypervisorProvider provider =
        ServiceLoader.load(HypervisorProvider.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(candidate -> candidate.name().equals("kvm"))
            .findFirst()
            .orElseThrow();
    try (Hypervisor hypervisor = provider.open()) {
      assertNotNull(hypervisor);
    }
  }
}
