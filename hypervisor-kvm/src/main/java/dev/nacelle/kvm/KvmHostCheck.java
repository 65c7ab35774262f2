// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kvm;

import dev.nacelle.HostCheck;
import dev.nacelle.HostCheck.Ability;
import dev.nacelle.HostCheck.Finding;
import dev.nacelle.HypervisorException;
import dev.nacelle.VmExit;
import dev.nacelle.kvm.sys.Capability;
import dev.nacelle.kvm.sys.CoreScheduling;
import dev.nacelle.kvm.sys.Errno;
import dev.nacelle.kvm.sys.ErrnoException;
import dev.nacelle.kvm.sys.Kvm;
import dev.nacelle.spi.Findings;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.concurrent.TimeoutException;
import java.util.function.IntSupplier;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/** Finds out, question by question, whether and why not this host can run virtual machines. */
final class KvmHostCheck {
  private static final String RUNS_KERNELS = "runs-unmodified-kernels";
  private static final Path CPUINFO = Path.of("/proc/cpuinfo");
  private static final Path SMT_ACTIVE = Path.of("/sys/devices/system/cpu/smt/active");
  private static final String SEE_MESSAGES = "Look at what the host's messages (dmesg) say of KVM.";

  private final String operatingSystem;
  private final String architecture;
  private final Path device;
  private final Supplier<Kvm> opener;
  private final Findings findings = new Findings();

  /**
   * @param operatingSystem os.name
   * @param architecture os.arch
   * @param device the device node
   * @param opener opens it
   */
  KvmHostCheck(String operatingSystem, String architecture, Path device, Supplier<Kvm> opener) {
    this.operatingSystem = operatingSystem;
    this.architecture = architecture;
    this.device = device;
    this.opener = opener;
  }

  /** Of this host. */
  static KvmHostCheck ofThisHost() {
    return new KvmHostCheck(
        System.getProperty("os.name"), System.getProperty("os.arch"), Kvm.PATH, Kvm::open);
  }

  /** Asks all questions. */
  HostCheck run() {
    Kvm kvm = openUsable();
    if (kvm != null) {
      runKernelCode(kvm);
    }
    return result();
  }

  /**
   * Asks all questions but whether unmodified kernels run.
   *
   * @return the device, which is then the caller's; null when a finding says what failed
   */
  @Nullable Kvm openUsable() {
    if (!isSupportedPlatform() || !existsDevice()) {
      return null;
    }
    Kvm kvm = open();
    if (kvm == null) {
      return null;
    }
    boolean usable = false;
    try {
      usable = hasApiVersion(kvm::apiVersion) && hasCapabilities(kvm::check);
      if (usable) {
        keepsCoresApart(CoreScheduling.ofHost(), SMT_ACTIVE);
      }
      return usable ? kvm : null;
    } finally {
      if (!usable) {
        kvm.close();
      }
    }
  }

  /** What was found so far. */
  HostCheck result() {
    return findings.of(KvmHypervisorProvider.NAME);
  }

  /** Whether KVM is driven on the operating system and the processor. */
  boolean isForPlatform() {
    return operatingSystem.equals("Linux") && architecture.equals("amd64");
  }

  private boolean isSupportedPlatform() {
    String detail = operatingSystem + " on " + architecture;
    if (isForPlatform()) {
      return findings.passed("platform", detail);
    }
    return findings.failed(
        "platform", detail, "KVM is driven on Linux on x86-64 only; use such a host.");
  }

  private boolean existsDevice() {
    if (Files.exists(device)) {
      return findings.passed("device-node", device + " exists");
    }
    String remedy =
        switch (hardwareVirtualization()) {
          case "vmx" -> "Load the module: modprobe kvm_intel";
          case "svm" -> "Load the module: modprobe kvm_amd";
          default ->
              "The processor shows no hardware virtualisation (neither vmx nor svm in "
                  + CPUINFO
                  + "): enable VT-x or AMD-V in the firmware, or nested virtualisation for this"
                  + " virtual machine where it is one";
        };
    return findings.failed(
        "device-node",
        device + " does not exist",
        remedy + ". In a container, pass the device in (--device /dev/kvm).");
  }

  private static String hardwareVirtualization() {
    try (Stream<String> lines = Files.lines(CPUINFO)) {
      return lines
          .filter(line -> line.startsWith("flags"))
          .flatMap(line -> Stream.of(line.split("\\s+")))
          .filter(flag -> flag.equals("vmx") || flag.equals("svm"))
          .findFirst()
          .orElse("");
    } catch (IOException | RuntimeException e) {
      return "";
    }
  }

  private @Nullable Kvm open() {
    try {
      Kvm kvm = opener.get();
      findings.passed("device-permission", device + " can be read and written");
      return kvm;
    } catch (ErrnoException e) {
      if (e.errno() == Errno.EACCES || e.errno() == Errno.EPERM) {
        findings.failed(
            "device-permission",
            device + " may not be read and written by user " + user() + describePermissions(),
            "Add the user to the group kvm (sudo usermod -aG kvm "
                + user()
                + ") and log in again; in a container, pass the device in (--device /dev/kvm) and"
                + " add its group.");
      } else {
        String remedy = e.remedy();
        findings.failed(
            "device-permission",
            "cannot open it: " + e.getMessage(),
            remedy != null
                ? remedy
                : "Load the KVM module of this processor (modprobe kvm_intel or modprobe kvm_amd);"
                    + " its messages (dmesg) say why it does not work.");
      }
    } catch (LinkageError e) {
      findings.failed(
          "native-access",
          "the JNA library cannot be loaded: " + e.getMessage(),
          "Make the directory for temporary files executable, or set jna.tmpdir to one that is.");
    }
    return null;
  }

  private static String user() {
    return System.getProperty("user.name");
  }

  private String describePermissions() {
    try {
      PosixFileAttributes attributes = Files.readAttributes(device, PosixFileAttributes.class);
      return " (it is "
          + PosixFilePermissions.toString(attributes.permissions())
          + " "
          + attributes.owner().getName()
          + ":"
          + attributes.group().getName()
          + ")";
    } catch (IOException | UnsupportedOperationException e) {
      return "";
    }
  }

  /** Whether KVM_GET_API_VERSION answers what every KVM does. */
  boolean hasApiVersion(IntSupplier apiVersion) {
    int version;
    try {
      version = apiVersion.getAsInt();
    } catch (RuntimeException e) {
      return findings.failed(
          "api-version",
          device + " does not answer as KVM does: " + e.getMessage(),
          "Make " + device + " the KVM device again (character device 10, 232).");
    }
    if (version == Kvm.API_VERSION) {
      return findings.passed("api-version", "KVM API version " + version);
    }
    return findings.failed(
        "api-version",
        "KVM API version " + version + " instead of " + Kvm.API_VERSION,
        "Use a Linux kernel since 2.6.22.");
  }

  /** Whether KVM_CHECK_EXTENSION answers anything but 0 for each that is required. */
  boolean hasCapabilities(ToIntFunction<Capability> check) {
    List<Capability> missing;
    try {
      missing =
          Stream.of(Capability.values())
              .filter(Capability::required)
              .filter(capability -> check.applyAsInt(capability) == 0)
              .toList();
    } catch (ErrnoException e) {
      return findings.failed(
          "capabilities", device + " does not say what it can do: " + e.getMessage(), SEE_MESSAGES);
    }
    if (missing.isEmpty()) {
      return findings.passed("capabilities", "all that are needed are there");
    }
    return findings.failed(
        "capabilities",
        "this KVM lacks " + String.join(", ", missing.stream().map(Enum::name).toList()),
        "Use a Linux kernel whose KVM has them; all Debian kernels since 9 do.");
  }

  /** Whether core scheduling keeps guests from seeing what others do on the same core. */
  void keepsCoresApart(CoreScheduling scheduling, Path smtActive) {
    long answer = scheduling.cookie(0);
    if (answer >= 0) {
      findings.passed(
          "core-scheduling",
          "no core runs a guest beside another guest or a program, unless its specification allows"
              + " that; interrupts and system calls on the core's other thread run beside it");
    } else if (answer == -Errno.ENODEV || isZero(smtActive)) {
      findings.passed(
          "core-scheduling", "not needed: no core of this host runs two threads at once");
    } else {
      findings.add(
          Finding.warning(
              "core-scheduling",
              "cores run two threads at once (SMT), so a guest can run beside another or beside the"
                  + " host, and see traces of what it does; the kernel has no core scheduling: "
                  + Errno.describe((int) -answer),
              "Where guests must not spy on each other, use a kernel since 5.14 with"
                  + " CONFIG_SCHED_CORE, or switch SMT off (nosmt)."));
    }
  }

  private static boolean isZero(Path file) {
    try {
      return Files.readString(file).strip().equals("0");
    } catch (IOException e) {
      return false;
    }
  }

  private void runKernelCode(Kvm kvm) {
    VmExit exit;
    try (KvmHypervisor hypervisor = new KvmHypervisor(kvm)) {
      exit = KernelModeProbe.run(hypervisor, hypervisor.cpuid().forVcpu(0, 1));
    } catch (TimeoutException e) {
      findings.failed(
          "virtual-machine",
          "a guest did not come to the end of a few instructions",
          "Look whether this host is overloaded, and what its messages (dmesg) say of KVM.");
      return;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      findings.failed(
          "virtual-machine", "the check was interrupted", "Run it again, and let it end.");
      return;
    } catch (RuntimeException e) {
      // A HypervisorException's own message has the remedy in it.
      Throwable cause = e.getCause() == null ? e : e.getCause();
      findings.failed(
          "virtual-machine",
          "no virtual machine can be made: " + cause.getMessage(),
          e instanceof HypervisorException refusal
              ? refusal.remedy().orElse(SEE_MESSAGES)
              : SEE_MESSAGES);
      return;
    }
    judge(exit);
  }

  /** Whether unmodified kernels run, by what came of {@link KernelModeProbe}. */
  void judge(VmExit exit) {
    switch (exit.reason()) {
      case POWER_OFF -> {
        findings.passed("virtual-machine", "a virtual machine can be made");
        findings.add(
            Finding.passed(RUNS_KERNELS, "the processor runs the guest's kernel code itself")
                .about(Ability.LINUX_KERNELS));
      }
      case CRASHED -> {
        findings.passed("virtual-machine", "a virtual machine can be made");
        lacksKernels(
            "this KVM emulates the guest's kernel code, and cannot: " + exit.detail(),
            "Use a host with hardware virtualisation (Intel VT-x or AMD-V); in a cloud, a bare-metal"
                + " instance or one with nested virtualisation.");
      }
      case RESET -> {
        findings.passed("virtual-machine", "a virtual machine can be made");
        lacksKernels(
            "the processor refuses an instruction that every kernel's start runs, such as to switch"
                + " on all register states that CPUID names",
            "Update the host's kernel: what its KVM says of this processor does not hold.");
      }
      default -> findings.failed("virtual-machine", exit.detail(), SEE_MESSAGES);
    }
  }

  private void lacksKernels(String detail, String remedy) {
    findings.add(Finding.failed(RUNS_KERNELS, detail, remedy).about(Ability.LINUX_KERNELS));
  }
}
