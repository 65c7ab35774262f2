// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.agent;

import dev.nacelle.proto.agent.v1.BootMarks;
import dev.nacelle.proto.agent.v1.GetInfoResponse;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What the agent says of itself and its kernel; cleaned and bounded.
 *
 * @param agentVersion the agent's own version
 * @param kernelRelease as {@code uname -r}
 * @param kernelVersion as {@code uname -v}
 * @param kernelMachine as {@code uname -m}
 * @param memoryBytes what the kernel has, after what it took for itself
 * @param cpus online processors
 * @param agentEnteredNanos when the agent's main() was entered, since the kernel started its clock
 * @param modulesLoadedNanos when the kernel modules were loaded
 * @param connectedNanos when the connection to the host stood
 * @param features names of its optional abilities, as the contract has them
 */
public record AgentInfo(
    String agentVersion,
    String kernelRelease,
    String kernelVersion,
    String kernelMachine,
    long memoryBytes,
    int cpus,
    long agentEnteredNanos,
    long modulesLoadedNanos,
    long connectedNanos,
    Set<String> features) {
  /** Lists what was started and what is left of it. */
  static final String PROCESS_LIST = "process-list";

  /** Signals a whole tree of processes. */
  static final String SIGNAL_SCOPE = "signal-scope";

  /** Has a process be PID 1. */
  static final String PID_ONE = "pid-one";

  /** Gives a process one pipe for both outputs. */
  static final String MERGE_STDERR = "merge-stderr";

  /** Sends nothing of an output that nobody wants. */
  static final String DISCARD_OUTPUT = "discard-output";

  /** Limits /dev/shm to what the host says. */
  static final String SHARED_MEMORY = "shared-memory";

  /** Finds disks of SCSI controllers. */
  static final String SCSI_DISK = "scsi-disk";

  /** Mounts disks beside those of the root. */
  static final String DATA_DISKS = "data-disks";

  /** Furnishes the root as the host says. */
  static final String FURNISHING = "furnishing";

  /** Tells what the workload uses. */
  static final String STATISTICS = "statistics";

  /** Tells what happens to the workload. */
  static final String EVENTS = "events";

  /** Has a process have capabilities, limits and a filter as the host says. */
  static final String SECURITY = "security";

  /** Has the workload have namespaces beside the usual ones. */
  static final String NAMESPACES = "namespaces";

  /** Writes to files of the workload's control group. */
  static final String CGROUP_SETTINGS = "cgroup-settings";

  /** Executes a file by another name. */
  static final String EXECUTABLE = "executable";

  /** Holds a process before its command. */
  static final String HOLD = "hold";

  /** Numbers the owners of mounts anew, fills a tmpfs, and changes what is mounted. */
  static final String MOUNT_OPTIONS = "mount-options";

  /** Sets the wall clock. */
  static final String SET_CLOCK = "set-clock";

  /** Reads and changes files. */
  static final String FILES = "files";

  /** The same of whole directories. */
  static final String FILE_TREES = "file-trees";

  /** Carries a network of the workload's over a stream of its own. */
  static final String NETWORK = "network";

  /** More than there will be for long; what is beyond is ignored. */
  private static final int MAX_FEATURES = 256;

  static AgentInfo of(GetInfoResponse response) {
    BootMarks marks = response.getBootMarks();
    return new AgentInfo(
        GuestText.clean(response.getAgentVersion()),
        GuestText.clean(response.getKernelRelease()),
        GuestText.clean(response.getKernelVersion()),
        GuestText.clean(response.getKernelMachine()),
        notNegative(response.getMemoryBytes()),
        Math.max(0, response.getCpus()),
        notNegative(marks.getAgentEnteredNanos()),
        notNegative(marks.getModulesLoadedNanos()),
        notNegative(marks.getConnectedNanos()),
        response.getFeaturesList().stream()
            .limit(MAX_FEATURES)
            .map(GuestText::clean)
            .collect(Collectors.toUnmodifiableSet()));
  }

  /** A uint64 as a number that Java can hold: what is beyond it becomes the largest. */
  static long notNegative(long unsigned) {
    return unsigned < 0 ? Long.MAX_VALUE : unsigned;
  }
}
