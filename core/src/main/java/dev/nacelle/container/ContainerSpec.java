// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.container;

import dev.nacelle.internal.check.Bounds;
import dev.nacelle.internal.check.MountOptions;
import dev.nacelle.internal.check.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * How a sandbox's container differs from what {@code docker run} would make of its image.
 * Immutable.
 */
public final class ContainerSpec {
  private static final int MAX_MOUNTS = 256;
  private static final int MAX_DEVICES = 128;
  private static final int MAX_PATHS = 256;
  private static final int MAX_CGROUP_FILES = 64;
  private static final int MAX_CGROUP_VALUE = 4096;
  private static final Pattern CGROUP_FILE =
      Pattern.compile("(?=.{3,255}$)[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)+");

  /** As Docker has it. */
  public static final ContainerSpec DEFAULT = builder().build();

  /**
   * With nothing hidden or write-protected, all device files of the machine, and its control
   * groups: what {@code docker run --privileged} gives.
   */
  public static final ContainerSpec PRIVILEGED =
      builder()
          .allDevices(true)
          .mount(Mount.filesystem("devtmpfs", "/dev", "nosuid"))
          .mount(Mount.filesystem("sysfs", "/sys", "nosuid", "nodev", "noexec"))
          .mount(Mount.filesystem("cgroup2", "/sys/fs/cgroup", "nosuid", "nodev", "noexec"))
          .maskedPaths(List.of())
          .readOnlyPaths(List.of())
          .build();

  private final boolean readOnlyRoot;
  private final @Nullable MountPropagation rootPropagation;
  private final List<Mount> mounts;
  private final List<Device> devices;
  private final boolean allDevices;
  private final @Nullable List<String> maskedPaths;
  private final @Nullable List<String> readOnlyPaths;
  private final @Nullable String domainname;
  private final boolean imageNames;
  private final boolean ownNetwork;
  private final @Nullable UserNamespace userNamespace;
  private final @Nullable TimeNamespace timeNamespace;
  private final Map<String, String> cgroupFiles;

  private ContainerSpec(Builder builder) {
    readOnlyRoot = builder.readOnlyRoot;
    rootPropagation = builder.rootPropagation;
    mounts = List.copyOf(builder.mounts);
    devices = List.copyOf(builder.devices);
    allDevices = builder.allDevices;
    maskedPaths = builder.maskedPaths;
    readOnlyPaths = builder.readOnlyPaths;
    domainname = builder.domainname;
    imageNames = builder.imageNames;
    ownNetwork = builder.ownNetwork;
    userNamespace = builder.userNamespace;
    timeNamespace = builder.timeNamespace;
    cgroupFiles = Collections.unmodifiableMap(new LinkedHashMap<>(builder.cgroupFiles));
  }

  /** One as Docker has it, to be changed. */
  public static Builder builder() {
    return new Builder();
  }

  /** To make another that differs. */
  public Builder toBuilder() {
    return new Builder(this);
  }

  /** Whether the root filesystem can only be read. */
  public boolean readOnlyRoot() {
    return readOnlyRoot;
  }

  /** The root's mount propagation, where it is not private. */
  public Optional<MountPropagation> rootPropagation() {
    return Optional.ofNullable(rootPropagation);
  }

  /** What is mounted, in this order. */
  public List<Mount> mounts() {
    return mounts;
  }

  /** Device files beside the usual ones. */
  public List<Device> devices() {
    return devices;
  }

  /** Whether every device file can be opened. */
  public boolean allDevices() {
    return allDevices;
  }

  /** What is hidden, where it is not what Docker hides. */
  public Optional<List<String>> maskedPaths() {
    return Optional.ofNullable(maskedPaths);
  }

  /** What can only be read, where it is not what Docker protects. */
  public Optional<List<String>> readOnlyPaths() {
    return Optional.ofNullable(readOnlyPaths);
  }

  /** The NIS domain name, where it is not the kernel's default. */
  public Optional<String> domainname() {
    return Optional.ofNullable(domainname);
  }

  /** Whether the image's own files below /etc that say names are left as they are. */
  public boolean imageNames() {
    return imageNames;
  }

  /** Whether it has a network of its own. */
  public boolean ownNetwork() {
    return ownNetwork;
  }

  /** Its numbering of users, where it is not the machine's. */
  public Optional<UserNamespace> userNamespace() {
    return Optional.ofNullable(userNamespace);
  }

  /** Its clocks, where they are not the machine's. */
  public Optional<TimeNamespace> timeNamespace() {
    return Optional.ofNullable(timeNamespace);
  }

  /** What is written to files of its control group, in this order. */
  public Map<String, String> cgroupFiles() {
    return cgroupFiles;
  }

  /** In the order of writing for files of the control group. */
  private List<@Nullable Object> state() {
    return Arrays.asList(
        readOnlyRoot,
        rootPropagation,
        mounts,
        devices,
        allDevices,
        maskedPaths,
        readOnlyPaths,
        domainname,
        imageNames,
        ownNetwork,
        userNamespace,
        timeNamespace,
        List.copyOf(cgroupFiles.entrySet()));
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof ContainerSpec spec && state().equals(spec.state());
  }

  @Override
  public int hashCode() {
    return state().hashCode();
  }

  @Override
  public String toString() {
    return "container" + (readOnlyRoot ? ", read-only" : "") + ", mounts " + mounts;
  }

  /**
   * Makes a {@link ContainerSpec}. Not safe for use from several threads. What is optional, so that
   * its getter is an Optional, is taken back to its default by null, or by {@code removeX()}.
   */
  public static final class Builder {
    private boolean readOnlyRoot;
    private @Nullable MountPropagation rootPropagation;
    private List<Mount> mounts = new ArrayList<>();
    private List<Device> devices = new ArrayList<>();
    private boolean allDevices;
    private @Nullable List<String> maskedPaths;
    private @Nullable List<String> readOnlyPaths;
    private @Nullable String domainname;
    private boolean imageNames;
    private boolean ownNetwork;
    private @Nullable UserNamespace userNamespace;
    private @Nullable TimeNamespace timeNamespace;
    private final Map<String, String> cgroupFiles = new LinkedHashMap<>();

    private Builder() {}

    private Builder(ContainerSpec spec) {
      readOnlyRoot = spec.readOnlyRoot;
      rootPropagation = spec.rootPropagation;
      mounts.addAll(spec.mounts);
      devices.addAll(spec.devices);
      allDevices = spec.allDevices;
      maskedPaths = spec.maskedPaths;
      readOnlyPaths = spec.readOnlyPaths;
      domainname = spec.domainname;
      imageNames = spec.imageNames;
      ownNetwork = spec.ownNetwork;
      userNamespace = spec.userNamespace;
      timeNamespace = spec.timeNamespace;
      cgroupFiles.putAll(spec.cgroupFiles);
    }

    /**
     * Whether the root filesystem can only be read; what is mounted on it is not concerned, such as
     * /dev/shm. The default is false.
     */
    public Builder readOnlyRoot(boolean readOnly) {
      this.readOnlyRoot = readOnly;
      return this;
    }

    /** The root's mount propagation; the default is {@link MountPropagation#PRIVATE}. */
    public Builder rootPropagation(@Nullable MountPropagation propagation) {
      this.rootPropagation = propagation;
      return this;
    }

    /**
     * Mounts that after what was given before. A proc at /proc, a sysfs at /sys, a tmpfs or
     * devtmpfs at /dev, a devpts at /dev/pts, a tmpfs at /dev/shm, an mqueue at /dev/mqueue and a
     * cgroup2 at /sys/fs/cgroup come in place of the usual one, before all others, and with the
     * options that it has, no other.
     *
     * <p>Device files that processes make work on none of them, unless {@link #allDevices} says so.
     */
    public Builder mount(Mount mount) {
      mounts.add(Objects.requireNonNull(mount));
      return this;
    }

    /** These mounts, in place of all that were given before. */
    public Builder mounts(List<Mount> all) {
      mounts = new ArrayList<>(List.copyOf(all));
      return this;
    }

    /** Adds a device file. */
    public Builder device(Device device) {
      devices.add(Objects.requireNonNull(device));
      return this;
    }

    /** These device files, in place of all that were given before. */
    public Builder devices(List<Device> all) {
      devices = new ArrayList<>(List.copyOf(all));
      return this;
    }

    /**
     * Whether every device file can be opened, also those that the image has and those that
     * processes make with mknod(2): the disks of the machine are among them. The default is false.
     */
    public Builder allDevices(boolean all) {
      this.allDevices = all;
      return this;
    }

    /**
     * Hides these paths where they are there; none at all hides nothing. The default is what Docker
     * hides of /proc and /sys.
     *
     * @throws IllegalArgumentException when one is not absolute
     */
    public Builder maskedPaths(@Nullable List<String> paths) {
      this.maskedPaths = paths == null ? null : checked("masked path", paths);
      return this;
    }

    /**
     * Lets these paths only be read where they are there; none at all protects nothing. The default
     * is what Docker protects of /proc.
     *
     * @throws IllegalArgumentException when one is not absolute
     */
    public Builder readOnlyPaths(@Nullable List<String> paths) {
      this.readOnlyPaths = paths == null ? null : checked("read-only path", paths);
      return this;
    }

    private static List<String> checked(String what, List<String> paths) {
      paths.forEach(path -> Paths.absolute(what, path));
      return List.copyOf(paths);
    }

    /**
     * The NIS domain name, as {@code domainname} prints it.
     *
     * @throws IllegalArgumentException when it is not 1 to 64 characters of printable ASCII
     */
    public Builder domainname(@Nullable String name) {
      if (name != null && !name.matches("[\\x21-\\x7e]{1,64}")) {
        throw new IllegalArgumentException(
            "a domain name is 1 to 64 characters of printable ASCII, not '" + name + "'");
      }
      this.domainname = name;
      return this;
    }

    /**
     * Whether /etc/hosts, /etc/hostname, /etc/resolv.conf and /etc/mtab are left as the image has
     * them, rather than written for the sandbox. The default is false.
     */
    public Builder imageNames(boolean kept) {
      this.imageNames = kept;
      return this;
    }

    /**
     * Whether it has a network namespace of its own, with nothing but a loopback interface. The
     * default is false: it has the machine's.
     */
    public Builder ownNetwork(boolean own) {
      this.ownNetwork = own;
      return this;
    }

    /** Numbers users and groups anew; by default they are the machine's. */
    public Builder userNamespace(@Nullable UserNamespace namespace) {
      this.userNamespace = namespace;
      return this;
    }

    /** Offsets its clocks; by default they are the machine's. It needs Linux 5.6. */
    public Builder timeNamespace(@Nullable TimeNamespace namespace) {
      this.timeNamespace = namespace;
      return this;
    }

    /**
     * Writes to a file of the control group (version 2) of all of its processes: "unified" of the
     * OCI runtime specification. A controller that the kernel does not have, and a value that it
     * refuses, fail the start by name.
     *
     * @param file such as {@code cpu.max} or {@code io.max}
     * @param value as the kernel takes it; each line is written by itself
     * @throws IllegalArgumentException when it is no name of a controller's file, or the value has
     *     more than 4096 bytes
     */
    public Builder cgroupFile(String file, String value) {
      if (!CGROUP_FILE.matcher(file).matches()) {
        throw new IllegalArgumentException("'" + file + "' is no file of a control group");
      }
      cgroupFiles.put(file, Bounds.bytes("value of " + file, value, MAX_CGROUP_VALUE));
      return this;
    }

    /** Leaves a file of the control group alone that was to be written to. */
    public Builder removeCgroupFile(String file) {
      cgroupFiles.remove(file);
      return this;
    }

    /**
     * The specification as described so far.
     *
     * @throws IllegalArgumentException when there are more than 256 mounts or paths of a kind, or
     *     more than 128 devices or 64 files of the control group; and when a mount is to let device
     *     files be opened which {@link #allDevices} does not
     */
    public ContainerSpec build() {
      atMost("mounts", mounts, MAX_MOUNTS);
      atMost("devices", devices, MAX_DEVICES);
      atMost("masked paths", maskedPaths == null ? List.of() : maskedPaths, MAX_PATHS);
      atMost("read-only paths", readOnlyPaths == null ? List.of() : readOnlyPaths, MAX_PATHS);
      if (cgroupFiles.size() > MAX_CGROUP_FILES) {
        throw new IllegalArgumentException(
            "a container may have "
                + MAX_CGROUP_FILES
                + " files of its control group written, not "
                + cgroupFiles.size());
      }
      for (Mount mount : mounts) {
        if (!allDevices && MountOptions.parse(mount.options()).opensDevices()) {
          throw new IllegalArgumentException(
              "the mount " + mount + " would let any device file be opened, which allDevices does");
        }
      }
      return new ContainerSpec(this);
    }

    private static void atMost(String what, List<?> list, int most) {
      if (list.size() > most) {
        throw new IllegalArgumentException(
            "a container may have " + most + " " + what + ", not " + list.size());
      }
    }
  }
}
