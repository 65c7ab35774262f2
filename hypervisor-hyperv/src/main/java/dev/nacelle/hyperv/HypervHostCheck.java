// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import com.sun.security.auth.module.NTSystem;
import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.hyperv.schema.DocumentException;
import dev.nacelle.hyperv.schema.PropertyQuery;
import dev.nacelle.hyperv.schema.ServiceProperties;
import dev.nacelle.hyperv.schema.Version;
import dev.nacelle.hyperv.sys.ComputeSystem;
import dev.nacelle.hyperv.sys.HResult;
import dev.nacelle.hyperv.sys.HcsException;
import dev.nacelle.hyperv.sys.HcsLimits;
import dev.nacelle.hyperv.sys.HostComputeService;
import dev.nacelle.spi.Findings;
import java.util.Objects;
import java.util.UUID;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Finds out, question by question, whether and why not this host can run virtual machines. Nothing
 * of Windows is touched where there is none.
 */
final class HypervHostCheck {
  private static final String VERSION_REMEDY = "Use Windows 10 1903 (build 18362) or newer.";

  private final String operatingSystem;
  private final String architecture;
  private final Supplier<String> userSid;
  private final Findings findings = new Findings();
  private @Nullable Version schema;

  /**
   * @param operatingSystem os.name
   * @param architecture os.arch
   * @param userSid the security identifier of the user of this process
   */
  HypervHostCheck(String operatingSystem, String architecture, Supplier<String> userSid) {
    this.operatingSystem = operatingSystem;
    this.architecture = architecture;
    this.userSid = userSid;
  }

  /** Of this host. */
  static HypervHostCheck ofThisHost() {
    return new HypervHostCheck(
        System.getProperty("os.name"),
        System.getProperty("os.arch"),
        // null where Windows fails to tell
        () -> Objects.requireNonNullElse(new NTSystem().getUserSID(), "none"));
  }

  /** Asks all questions. */
  HostCheck run() {
    if (isSupportedPlatform() && hasService() && bootsKernels()) {
      findings.add(
          Finding.failed(
                  "unikernels",
                  "the Host Compute Service boots Linux kernels only",
                  "Use a host with KVM for programs without an operating system.")
              .about(HostCheck.Ability.UNIKERNELS));
      makesMachines();
    }
    return findings.of(HypervProvider.NAME);
  }

  /** What machines are told of this host, on which nothing failed. */
  MachineDocument.Host host() {
    return new MachineDocument.Host(
        Objects.requireNonNull(schema),
        Owner.ofThisProcess().toString(),
        userSid.get(),
        Runtime.getRuntime().availableProcessors());
  }

  /** Whether this is Windows on x86-64. */
  boolean isSupportedPlatform() {
    String detail = operatingSystem + " on " + architecture;
    if (!operatingSystem.startsWith("Windows")) {
      return findings.failed(
          "platform", detail, "Hyper-V is there on Windows only; use such a host.");
    }
    if (!architecture.equals("amd64")) {
      return findings.failed(
          "platform",
          detail,
          "Hyper-V boots Linux kernels without firmware on x86-64 only; use such a host, with Java"
              + " for x86-64.");
    }
    return findings.passed("platform", detail);
  }

  private boolean hasService() {
    try {
      schema =
          ServiceProperties.highestVersion(
                  HostComputeService.properties(PropertyQuery.BASIC.toJson()))
              .orElse(new Version(2, 0)); // what came before the service could tell
      return findings.passed("service", "the Host Compute Service takes documents up to " + schema);
    } catch (LinkageError e) {
      return findings.failed(
          "service",
          "Windows has no Host Compute Service (computecore.dll)",
          Objects.requireNonNull(HResult.HCS_E_SERVICE_NOT_AVAILABLE.remedy())
              + " "
              + VERSION_REMEDY);
    } catch (HcsException e) {
      return findings.failed("service", message(e), e.remedy());
    } catch (DocumentException e) {
      return findings.failed(
          "service", "the Host Compute Service answers: " + e.getMessage(), VERSION_REMEDY);
    }
  }

  private boolean bootsKernels() {
    Version highest = Objects.requireNonNull(schema);
    return highest.compareTo(MachineDocument.OLDEST) >= 0
        ? findings.passed("linux-kernels", "this Windows boots them without firmware")
        : findings.failed(
            "linux-kernels", "this Windows does not boot them without firmware", VERSION_REMEDY);
  }

  /** Makes one, which is never started: only that tells of rights and of the hypervisor. */
  private void makesMachines() {
    try {
      String id = UUID.randomUUID().toString();
      String document = MachineDocument.trial(host()).toJson();
      ComputeSystem.create(id, document, event -> {}, HcsLimits.DEFAULT).close();
      findings.passed("machines", "this user may make machines");
    } catch (LinkageError e) {
      findings.failed(
          "machines",
          "this Java does not tell whose process it is: " + e.getMessage(),
          "Use a Java runtime with the module jdk.security.auth.");
    } catch (IllegalArgumentException e) {
      findings.failed(
          "machines",
          "Windows does not tell whose process this is: " + e.getMessage(),
          "Run it as a user whom \"whoami /user\" shows with a SID.");
    } catch (HcsException e) {
      HResult result = e.result();
      if (result == HResult.HCS_E_HYPERV_NOT_INSTALLED
          || result == HResult.HCS_E_SERVICE_NOT_AVAILABLE
          || result == HResult.HCS_E_SERVICE_DISCONNECT
          || result == HResult.HCS_E_ACCESS_DENIED
          || result == HResult.E_ACCESSDENIED) {
        findings.failed("machines", message(e), e.remedy());
      } else {
        findings.add(Finding.warning("machines", message(e), e.remedy()));
      }
    }
  }

  private static String message(HcsException failure) {
    return String.valueOf(failure.getMessage());
  }
}
