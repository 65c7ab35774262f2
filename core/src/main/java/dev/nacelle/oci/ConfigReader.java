// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import dev.nacelle.ProcessSpec;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TerminalSize;
import dev.nacelle.container.Capabilities;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Device;
import dev.nacelle.container.IdMapping;
import dev.nacelle.container.Mount;
import dev.nacelle.container.MountPropagation;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.ProcessSecurity.IoPriority;
import dev.nacelle.container.ProcessSecurity.Scheduler;
import dev.nacelle.container.ResourceLimit;
import dev.nacelle.container.SeccompProfile;
import dev.nacelle.container.TimeNamespace;
import dev.nacelle.container.UserNamespace;
import dev.nacelle.internal.check.MountOptions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Reads a config.json, section by section of config.md and config-linux.md. */
final class ConfigReader {
  private static final long MAX_ID = (1L << 32) - 1;
  private static final String HOSTS =
      "it resolves in the runtime's namespaces, and a container's machine does not see those";

  /** What every container has: "Default Devices", and drivers that the kernel may have. */
  private static final Set<String> USUAL_DEVICES =
      Set.of(
          "c 1:3",
          "c 1:5",
          "c 1:7",
          "c 1:8",
          "c 1:9",
          "c 5:0",
          "c 5:1",
          "c 5:2",
          "c 136:*",
          "c 10:200",
          "c 10:229");

  private final Json config;
  private final Json linux;
  private final Json process;

  ConfigReader(Json config) {
    this.config = config;
    linux = config.get("linux");
    process = config.get("process");
  }

  /** "Specification version". */
  String version() {
    Json version = config.require("ociVersion");
    if (!version.text().matches("1\\.\\d+\\.\\d+([-+].*)?")) {
      throw version.fault("'" + version.text() + "' is no version 1 of the specification");
    }
    return version.text();
  }

  /** "Root": the path, absolute or relative to the bundle. */
  String rootPath() {
    return config.require("root").require("path").text();
  }

  /** "Annotations". */
  Map<String, String> annotations() {
    Map<String, String> annotations = new LinkedHashMap<>();
    config.get("annotations").members().forEach((key, value) -> annotations.put(key, value.text()));
    return annotations;
  }

  /** What the sandbox is to be, but for its image. */
  void sandbox(SandboxSpec.Builder spec) {
    for (String other : List.of("freebsd", "solaris", "vm", "windows", "zos")) {
      config.get(other).unsupported("it is for another platform than Linux");
    }
    config.get("hostname").optionalText().ifPresent(name -> hostname(spec, name));
    linux
        .get("sysctl")
        .members()
        .forEach((name, value) -> value.as(json -> spec.sysctl(name, json.text())));
    spec.container(container());
    spec.security(security());
  }

  private void hostname(SandboxSpec.Builder spec, String name) {
    config.get("hostname").as(json -> spec.hostname(name));
  }

  private ContainerSpec container() {
    linux.get("mountLabel").unsupported("no kernel of a sandbox has SELinux");
    linux.get("intelRdt").unsupported("a machine has no resctrl filesystem");
    linux.get("netDevices").unsupported(HOSTS);
    linux.get("memoryPolicy").unsupported("a machine has one memory node, and no policy for it");
    ContainerSpec.Builder container =
        ContainerSpec.builder()
            .readOnlyRoot(config.get("root").get("readonly").bool())
            .imageNames(true);
    propagation().ifPresent(container::rootPropagation);
    config.get("mounts").list().forEach(mount -> container.mount(mount.as(this::mount)));
    Set<String> devices = new HashSet<>(USUAL_DEVICES);
    for (Json json : linux.get("devices").list()) {
      Device device = json.as(ConfigReader::device);
      container.device(device);
      devices.add(
          (device.type() == Device.Type.BLOCK ? "b " : "c ")
              + device.major()
              + ":"
              + device.minor());
    }
    container.allDevices(allowsAll(devices));
    linux.get("maskedPaths").as(json -> container.maskedPaths(json.texts()));
    linux.get("readonlyPaths").as(json -> container.readOnlyPaths(json.texts()));
    config.get("domainname").optionalText().ifPresent(name -> domainname(container, name));
    namespaces(container);
    Json resources = linux.get("resources");
    Resources.read(resources)
        .forEach((file, value) -> resources.as(json -> container.cgroupFile(file, value)));
    return container.build();
  }

  private void domainname(ContainerSpec.Builder container, String name) {
    config.get("domainname").as(json -> container.domainname(name));
  }

  /** "Rootfs Mount Propagation". */
  private Optional<MountPropagation> propagation() {
    Json json = linux.get("rootfsPropagation");
    return json.optionalText()
        .map(
            name ->
                switch (name) {
                  case "shared", "rshared" -> MountPropagation.SHARED;
                  case "slave", "rslave" -> MountPropagation.SLAVE;
                  case "private", "rprivate" -> MountPropagation.PRIVATE;
                  case "unbindable", "runbindable" -> MountPropagation.UNBINDABLE;
                  default -> throw json.fault("there is no propagation '" + name + "'");
                });
  }

  /** "Mounts". */
  private Mount mount(Json json) {
    MountOptions read = MountOptions.parse(json.get("options").texts());
    Json uids = json.get("uidMappings");
    Json gids = json.get("gidMappings");
    Mount mount = plainMount(json, read);
    if (uids.saysSomething() != gids.saysSomething()) {
      throw (uids.saysSomething() ? gids : uids).fault("users and groups have mappings together");
    }
    if (!read.idMap() && !uids.saysSomething()) {
      return mount;
    }
    if (!uids.saysSomething()) {
      uids = linux.get("uidMappings");
      gids = linux.get("gidMappings");
      if (!uids.saysSomething() || !gids.saysSomething()) {
        throw json.get("options")
            .fault("idmap and ridmap want uidMappings and gidMappings, or a user namespace's");
      }
    }
    return mount.withIdMappings(mappings(uids), mappings(gids), read.recursiveIdMap());
  }

  private static Mount plainMount(Json json, MountOptions read) {
    String given = json.require("destination").text();
    String destination = given.startsWith("/") ? given : "/" + given;
    List<String> options =
        json.get("options").texts().stream()
            .filter(option -> !option.equals("idmap") && !option.equals("ridmap"))
            .toList();
    if (read.remount()) {
      return Mount.remount(
          destination, options.stream().filter(option -> !option.equals("remount")).toList());
    }
    if (read.bind()) {
      throw json.get("source").fault(HOSTS);
    }
    String type = json.require("type").text();
    // As a runtime on version 2 has it.
    String filesystem = type.equals("cgroup") ? "cgroup2" : type;
    String source = json.get("source").optionalText().orElse(filesystem);
    return Mount.filesystem(filesystem, source, destination, options);
  }

  /** "Devices". */
  private static Device device(Json json) {
    String path = json.require("path").text();
    String type = json.require("type").text();
    Device device =
        switch (type) {
          case "c", "u" -> Device.character(path, major(json), minor(json));
          case "b" -> Device.block(path, major(json), minor(json)).withMode(0666);
          case "p" -> Device.fifo(path);
          default -> throw json.get("type").fault("there is no device of type '" + type + "'");
        };
    Json mode = json.get("fileMode");
    // Go's has bits of the type as well.
    Device moded =
        mode.isThere() ? device.withMode((int) (mode.number(0, MAX_ID) & 07777)) : device;
    return moded.withOwner(id(json.get("uid")), id(json.get("gid")));
  }

  private static int major(Json json) {
    return (int) json.require("major").number(0, Integer.MAX_VALUE);
  }

  private static int minor(Json json) {
    return (int) json.require("minor").number(0, Integer.MAX_VALUE);
  }

  private static long id(Json json) {
    return json.isThere() ? json.number(0, MAX_ID - 1) : 0;
  }

  /**
   * "Allowed Device list": whether all device files can be opened. Otherwise those of the container
   * can, and no others; a list that says anything else cannot be applied.
   */
  private boolean allowsAll(Set<String> devices) {
    boolean all = false;
    for (Json rule : linux.get("resources").get("devices").list()) {
      boolean allow = rule.require("allow").bool();
      String access = rule.get("access").optionalText().orElse("rwm");
      String type = rule.get("type").optionalText().orElse("a");
      String major = number(rule.get("major"));
      String minor = number(rule.get("minor"));
      boolean isAny = major.equals("*") && minor.equals("*");
      if (!access.matches("[rwm]{1,3}") || !type.matches("[abc]")) {
        throw rule.fault("its type or its access is none that there is");
      }
      boolean opens = access.contains("r") || access.contains("w");
      if (isAny && type.equals("a") && opens) {
        all = allow;
      } else if (!allow && opens) {
        throw rule.fault("a single device cannot be denied");
      } else if (opens && !all && !devices.contains(type + " " + major + ":" + minor)) {
        throw rule.fault("it allows a device that is not among linux.devices");
      }
      // Making a device file is always allowed, and of no use without opening it.
    }
    return all;
  }

  private static String number(Json json) {
    return json.isThere() && json.number() != -1 ? Long.toString(json.number(0, MAX_ID)) : "*";
  }

  /**
   * "Namespaces". The runtime's namespaces, which a container without one of its own inherits, are
   * those of its machine, which it has for itself.
   */
  private void namespaces(ContainerSpec.Builder container) {
    Set<String> types = new HashSet<>();
    for (Json namespace : linux.get("namespaces").list()) {
      String type = namespace.require("type").text();
      if (!List.of("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
          .contains(type)) {
        throw namespace.fault("there is no namespace '" + type + "'");
      }
      if (!types.add(type)) {
        throw namespace.fault("a namespace '" + type + "' was there before");
      }
      namespace.get("path").unsupported(HOSTS);
    }
    container.ownNetwork(types.contains("network"));
    Json uids = linux.get("uidMappings");
    Json gids = linux.get("gidMappings");
    if (types.contains("user")) {
      container.userNamespace(uids.as(json -> new UserNamespace(mappings(uids), mappings(gids))));
    } else {
      uids.unsupported("there is no user namespace");
      gids.unsupported("there is no user namespace");
    }
    Json offsets = linux.get("timeOffsets");
    if (types.contains("time")) {
      offsets
          .members()
          .forEach(
              (clock, json) -> {
                if (!clock.equals("monotonic") && !clock.equals("boottime")) {
                  throw json.fault("this clock has no offset");
                }
              });
      container.timeNamespace(
          new TimeNamespace(offset(offsets.get("monotonic")), offset(offsets.get("boottime"))));
    } else {
      offsets.unsupported("there is no time namespace");
    }
  }

  private static List<IdMapping> mappings(Json json) {
    return json.list().stream()
        .map(
            one ->
                one.as(
                    mapping ->
                        new IdMapping(
                            mapping.require("containerID").number(0, MAX_ID),
                            mapping.require("hostID").number(0, MAX_ID),
                            mapping.require("size").number(0, MAX_ID))))
        .toList();
  }

  private static Duration offset(Json json) {
    Json seconds = json.get("secs");
    Json nanos = json.get("nanosecs");
    return Duration.ofSeconds(
        seconds.isThere() ? seconds.number() : 0,
        nanos.isThere() ? nanos.number(0, 999_999_999) : 0);
  }

  /** "Process"; absent where there is none to start. */
  Optional<ProcessSpec> process() {
    if (!process.isThere()) {
      return Optional.empty();
    }
    List<String> arguments = process.require("args").texts();
    if (arguments.isEmpty()) {
      throw process.get("args").fault("it is empty");
    }
    ProcessSpec.Builder spec = ProcessSpec.entrypoint(arguments);
    process.require("cwd").as(json -> spec.workingDirectory(json.text()));
    environment(process.get("env")).forEach(spec::environment);
    Json user = process.get("user");
    spec.user(id(user.get("uid")) + ":" + id(user.get("gid")));
    if (process.get("terminal").bool()) {
      spec.terminal(terminal(process.get("consoleSize")));
    }
    return Optional.of(spec.security(security()).build());
  }

  private static Map<String, String> environment(Json json) {
    Map<String, String> variables = new LinkedHashMap<>();
    for (Json entry : json.list()) {
      int equals = entry.text().indexOf('=');
      if (equals < 1) {
        throw entry.fault("'" + entry.text() + "' is not NAME=value");
      }
      variables.put(entry.text().substring(0, equals), entry.text().substring(equals + 1));
    }
    return variables;
  }

  private static TerminalSize terminal(Json size) {
    return size.isThere()
        ? new TerminalSize(
            (int) size.require("height").number(0, 65535),
            (int) size.require("width").number(0, 65535))
        : new TerminalSize(24, 80);
  }

  /** "POSIX process", "Linux Process", "User", and what config-linux.md has for processes. */
  private ProcessSecurity security() {
    process.get("apparmorProfile").unsupported("no kernel of a sandbox has AppArmor");
    process.get("selinuxLabel").unsupported("no kernel of a sandbox has SELinux");
    ProcessSecurity.Builder security =
        ProcessSecurity.builder()
            .capabilities(capabilities(process.get("capabilities")))
            .noNewPrivileges(process.get("noNewPrivileges").bool())
            .seccomp(SeccompProfile.UNCONFINED);
    Json seccomp = linux.get("seccomp");
    if (seccomp.isThere()) {
      seccomp.as(json -> security.seccomp(SeccompProfile.parse(json.node().toString())));
    }
    Set<ResourceLimit.Resource> limited = EnumSet.noneOf(ResourceLimit.Resource.class);
    for (Json limit : process.get("rlimits").list()) {
      ResourceLimit.Resource resource =
          limit.require("type").as(json -> ResourceLimit.Resource.parse(json.text()));
      if (!limited.add(resource)) {
        throw limit.fault("the limit " + resource + " was there before");
      }
      long soft = limit.require("soft").unsigned();
      long hard = limit.require("hard").unsigned();
      limit.as(json -> security.limit(resource, new ResourceLimit(soft, hard)));
    }
    Json score = process.get("oomScoreAdj");
    if (score.isThere()) {
      security.oomScoreAdj((int) score.number(-1000, 1000));
    }
    Json mask = process.get("user").get("umask");
    if (mask.isThere()) {
      security.umask((int) mask.number(0, 0777));
    }
    List<Long> groups = new ArrayList<>();
    process.get("user").get("additionalGids").list().forEach(gid -> groups.add(id(gid)));
    security.additionalGroups(groups);
    scheduling(security);
    return security.build();
  }

  private void scheduling(ProcessSecurity.Builder security) {
    Json scheduler = process.get("scheduler");
    if (scheduler.isThere()) {
      security.scheduler(scheduler(scheduler));
    }
    Json priority = process.get("ioPriority");
    if (priority.isThere()) {
      Json kind = priority.require("class");
      IoPriority.Kind parsed =
          switch (kind.text()) {
            case "IOPRIO_CLASS_RT" -> IoPriority.Kind.REAL_TIME;
            case "IOPRIO_CLASS_BE" -> IoPriority.Kind.BEST_EFFORT;
            case "IOPRIO_CLASS_IDLE" -> IoPriority.Kind.IDLE;
            default -> throw kind.fault("there is no class '" + kind.text() + "'");
          };
      security.ioPriority(new IoPriority(parsed, (int) priority.require("priority").number(0, 7)));
    }
    Json personality = linux.get("personality");
    if (personality.isThere()) {
      personality.get("flags").unsupported("the specification has no flags");
      Json domain = personality.require("domain");
      security.personality(
          switch (domain.text()) {
            case "LINUX" -> 0x0;
            case "LINUX32" -> 0x8;
            default -> throw domain.fault("there is no domain '" + domain.text() + "'");
          });
    }
    // "execCPUAffinity" is not applicable to the container's init process, the specification says.
  }

  private static Scheduler scheduler(Json json) {
    Json policy = json.require("policy");
    Scheduler.Policy parsed =
        switch (policy.text()) {
          case "SCHED_OTHER" -> Scheduler.Policy.OTHER;
          case "SCHED_FIFO" -> Scheduler.Policy.FIFO;
          case "SCHED_RR" -> Scheduler.Policy.RR;
          case "SCHED_BATCH" -> Scheduler.Policy.BATCH;
          case "SCHED_IDLE" -> Scheduler.Policy.IDLE;
          case "SCHED_DEADLINE" -> Scheduler.Policy.DEADLINE;
          default -> throw policy.fault("Linux has no policy '" + policy.text() + "'");
        };
    List<String> names =
        List.of(
            "RESET_ON_FORK",
            "RECLAIM",
            "DL_OVERRUN",
            "KEEP_POLICY",
            "KEEP_PARAMS",
            "UTIL_CLAMP_MIN",
            "UTIL_CLAMP_MAX");
    long flags = 0;
    for (Json flag : json.get("flags").list()) {
      int bit = names.indexOf(flag.text().replaceFirst("^SCHED_FLAG_", ""));
      if (bit < 0) {
        throw flag.fault("there is no flag '" + flag.text() + "'");
      }
      flags |= 1L << bit;
    }
    Json nice = json.get("nice");
    Json priority = json.get("priority");
    return new Scheduler(
        parsed,
        nice.isThere() ? (int) nice.number(-20, 19) : 0,
        priority.isThere() ? (int) priority.number(0, 99) : 0,
        flags,
        nanos(json.get("runtime")),
        nanos(json.get("deadline")),
        nanos(json.get("period")));
  }

  private static long nanos(Json json) {
    return json.isThere() ? json.unsigned() : 0;
  }

  /** What cannot be granted is logged and left out, as the specification has it for these alone. */
  private static Capabilities capabilities(Json json) {
    Set<Capability> bounding = set(json.get("bounding"));
    Set<Capability> permitted = set(json.get("permitted"));
    Set<Capability> inheritable = within(json.get("inheritable"), bounding);
    Set<Capability> effective = within(json.get("effective"), permitted);
    Set<Capability> both = EnumSet.copyOf(permitted);
    both.retainAll(inheritable);
    return Capabilities.sets(
        bounding, effective, permitted, inheritable, within(json.get("ambient"), both));
  }

  private static Set<Capability> within(Json json, Set<Capability> all) {
    Set<Capability> set = set(json);
    Set<Capability> left = EnumSet.copyOf(set);
    left.removeAll(all);
    if (!left.isEmpty()) {
      logger().log(System.Logger.Level.WARNING, json.name() + ": cannot be granted: " + left);
      set.retainAll(all);
    }
    return set;
  }

  private static EnumSet<Capability> set(Json json) {
    EnumSet<Capability> set = EnumSet.noneOf(Capability.class);
    for (Json name : json.list()) {
      try {
        set.add(Capability.parse(name.text()));
      } catch (IllegalArgumentException e) {
        logger().log(System.Logger.Level.WARNING, name.name() + ": " + e.getMessage());
      }
    }
    return set;
  }

  /** "POSIX-platform Hooks". */
  Map<Hook.Kind, List<Hook>> hooks() {
    Map<Hook.Kind, List<Hook>> all = new EnumMap<>(Hook.Kind.class);
    for (Hook.Kind kind : Hook.Kind.values()) {
      List<Json> hooks = config.get("hooks").get(kind.property()).list();
      all.put(kind, hooks.stream().map(ConfigReader::hook).toList());
    }
    return all;
  }

  private static Hook hook(Json json) {
    String path = json.require("path").text();
    if (!path.startsWith("/")) {
      throw json.get("path").fault("it is not absolute");
    }
    List<String> arguments = json.get("args").texts();
    Json timeout = json.get("timeout");
    return new Hook(
        path,
        arguments.isEmpty() ? List.of(path) : arguments,
        environment(json.get("env")),
        timeout.isThere()
            ? Optional.of(Duration.ofSeconds(timeout.number(1, Integer.MAX_VALUE)))
            : Optional.empty());
  }

  private static System.Logger logger() {
    return System.getLogger(ConfigReader.class.getName());
  }
}
