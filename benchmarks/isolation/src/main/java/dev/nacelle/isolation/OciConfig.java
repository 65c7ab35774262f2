// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.SeccompAction;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.container.SeccompRule;
import java.math.BigInteger;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Set;

/**
 * A container as the OCI runtime specification writes it, with what a sandbox of Nacelle has by
 * default, which is what Docker's containers have: capabilities, system calls, filesystems, and
 * what is hidden and write-protected of them.
 */
final class OciConfig {
  /** Where a container has the program that an idle one runs. */
  static final String IDLE = "/isolation-idle";

  /** As in guest-agent/src/furnishing.rs. */
  private static final List<String> MASKED =
      List.of(
          "/proc/acpi",
          "/proc/asound",
          "/proc/interrupts",
          "/proc/kcore",
          "/proc/keys",
          "/proc/latency_stats",
          "/proc/sched_debug",
          "/proc/scsi",
          "/proc/timer_list",
          "/proc/timer_stats",
          "/sys/devices/virtual/powercap",
          "/sys/firmware");

  private static final List<String> READ_ONLY =
      List.of("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger");

  private static final ObjectMapper JSON = new ObjectMapper();

  private OciConfig() {}

  /**
   * The config.json of a bundle.
   *
   * @param command of its first process
   * @param probe a program of the host that it sees at {@link #IDLE}
   */
  static byte[] of(Workload workload, User user, Path root, List<String> command, Path probe)
      throws com.fasterxml.jackson.core.JsonProcessingException {
    ProcessSecurity security = ProcessSecurity.DEFAULT;
    ObjectNode config = JSON.createObjectNode().put("ociVersion", "1.0.2");
    config.put("hostname", "isolation");
    config.putObject("root").put("path", root.toString()).put("readonly", false);
    ObjectNode process = config.putObject("process").put("terminal", false);
    process.putObject("user").put("uid", user.uid()).put("gid", user.gid());
    process.put("cwd", workload.workingDirectory());
    texts(process.putArray("args"), command);
    texts(
        process.putArray("env"),
        workload.environment().entrySet().stream()
            .map(entry -> entry.getKey() + "=" + entry.getValue())
            .sorted()
            .toList());
    process.put("noNewPrivileges", security.noNewPrivileges());
    ObjectNode capabilities = process.putObject("capabilities");
    Set<Capability> bounding = security.capabilities().bounding();
    texts(capabilities.putArray("bounding"), names(bounding));
    boolean isRoot = user.uid() == 0 || !security.capabilities().rootOnly();
    for (String set : List.of("effective", "permitted")) {
      texts(
          capabilities.putArray(set),
          isRoot ? names(security.capabilities().permitted()) : List.of());
    }
    mounts(config.putArray("mounts"), probe);
    ObjectNode linux = config.putObject("linux");
    linux.putObject("resources").putObject("memory").put("limit", workload.memory().bytes());
    ArrayNode namespaces = linux.putArray("namespaces");
    for (String type : List.of("pid", "ipc", "uts", "mount", "cgroup")) {
      namespaces.addObject().put("type", type);
    }
    // With a service it has the host's network, which costs nothing; else one with nothing in it.
    if (workload.service().isEmpty()) {
      namespaces.addObject().put("type", "network");
    }
    linux.set("seccomp", seccomp(security.seccomp(), bounding));
    texts(linux.putArray("maskedPaths"), MASKED);
    texts(linux.putArray("readonlyPaths"), READ_ONLY);
    return JSON.writeValueAsBytes(config);
  }

  private static void mounts(ArrayNode mounts, Path probe) {
    mount(mounts, "/proc", "proc", "proc", "nosuid", "noexec", "nodev");
    mount(mounts, "/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k");
    mount(
        mounts,
        "/dev/pts",
        "devpts",
        "devpts",
        "nosuid",
        "noexec",
        "newinstance",
        "ptmxmode=0666",
        "mode=0620",
        "gid=5");
    mount(
        mounts,
        "/dev/shm",
        "tmpfs",
        "shm",
        "nosuid",
        "noexec",
        "nodev",
        "mode=1777",
        "size=65536k");
    mount(mounts, "/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev");
    mount(mounts, "/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro");
    mount(mounts, IDLE, "bind", probe.toString(), "bind", "ro");
  }

  private static void mount(
      ArrayNode mounts, String destination, String type, String source, String... options) {
    ObjectNode mount =
        mounts.addObject().put("destination", destination).put("type", type).put("source", source);
    texts(mount.putArray("options"), List.of(options));
  }

  /** A profile, as "Seccomp" in config-linux.md of the specification has it. */
  static ObjectNode seccomp(SeccompProfile profile, Set<Capability> bounding) {
    ObjectNode json = JSON.createObjectNode();
    action(json, profile.defaultAction(), "defaultAction", "defaultErrnoRet");
    texts(
        json.putArray("architectures"),
        profile.architectures().stream().map(one -> "SCMP_ARCH_" + one).sorted().toList());
    ArrayNode rules = json.putArray("syscalls");
    for (SeccompRule rule : profile.rules()) {
      boolean holds =
          bounding.containsAll(rule.capabilities())
              && rule.withoutCapabilities().stream().noneMatch(bounding::contains);
      if (!holds) {
        continue;
      }
      ObjectNode one = rules.addObject();
      texts(one.putArray("names"), rule.names());
      action(one, rule.action(), "action", "errnoRet");
      for (SeccompRule.Condition condition : rule.conditions()) {
        ArrayNode arguments = one.withArray("args");
        arguments
            .addObject()
            .put("index", condition.index())
            .put("value", unsigned(condition.value()))
            .put("valueTwo", unsigned(condition.valueTwo()))
            .put("op", "SCMP_CMP_" + condition.comparison());
      }
    }
    return json;
  }

  private static BigInteger unsigned(long value) {
    return new BigInteger(Long.toUnsignedString(value));
  }

  private static void action(ObjectNode json, SeccompAction action, String name, String errno) {
    json.put(name, "SCMP_ACT_" + action.kind());
    if (action.kind() == SeccompAction.Kind.ERRNO) {
      json.put(errno, action.value());
    }
  }

  private static List<String> names(Set<Capability> capabilities) {
    return capabilities.stream().map(capability -> "CAP_" + capability).sorted().toList();
  }

  private static void texts(ArrayNode array, Collection<String> texts) {
    texts.forEach(array::add);
  }
}
