// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.schema;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a machine is made from: type ComputeSystem of the schema. The records inside are the types
 * of the same names; those that the schema distinguishes by a prefix have none here.
 *
 * @param owner whose it is, as {@link SystemProperties} tells
 * @param schemaVersion which version of the schema this is
 * @param shouldTerminateOnLastHandleClosed whether it ends with the process that made it
 * @param virtualMachine its hardware, and what it boots
 */
public record ComputeSystemDocument(
    String owner,
    Version schemaVersion,
    boolean shouldTerminateOnLastHandleClosed,
    VirtualMachine virtualMachine) {

  /** As text. */
  public String toJson() {
    return Json.write(this);
  }

  /**
   * A virtual machine. Without a GuestConnection, which would make its start wait for an agent of
   * Microsoft's.
   *
   * @param stopOnReset whether a reset ends it
   */
  public record VirtualMachine(
      boolean stopOnReset, Chipset chipset, Topology computeTopology, Devices devices) {}

  /**
   * What boots.
   *
   * @param useUtc whether its clock chip has UTC, as Linux takes it for
   */
  public record Chipset(boolean useUtc, @Nullable LinuxKernelDirect linuxKernelDirect) {}

  /**
   * A Linux kernel without firmware, on x64 alone.
   *
   * @param kernelFilePath a bzImage or ELF kernel
   */
  public record LinuxKernelDirect(
      String kernelFilePath, @Nullable String initRdPath, String kernelCmdLine) {}

  /** Memory and processors. */
  public record Topology(Memory memory, Processor processor) {}

  /**
   * The guest's memory.
   *
   * @param sizeInMB in MiB, an even number
   * @param allowOvercommit whether it may be paged out, and comes as it is touched; otherwise all
   *     of it is there from the start
   * @param enableDeferredCommit whether it counts against the host's commit limit only when it is
   *     touched; needs allowOvercommit
   * @param enableColdDiscardHint whether the guest may give back what it does not use
   */
  public record Memory(
      long sizeInMB,
      boolean allowOvercommit,
      @Nullable Boolean enableDeferredCommit,
      @Nullable Boolean enableColdDiscardHint) {}

  /** Its processors. */
  public record Processor(int count) {}

  /**
   * Its devices.
   *
   * @param comPorts by number, from "0"
   * @param scsi controllers by name; one that is a GUID is what the guest finds it by
   */
  public record Devices(Map<String, ComPort> comPorts, Map<String, Scsi> scsi, HvSocket hvSocket) {}

  /**
   * A serial port.
   *
   * @param namedPipe what it is connected to, where somebody must listen before the machine is made
   */
  public record ComPort(String namedPipe) {}

  /**
   * A SCSI controller.
   *
   * @param attachments by LUN, "0" to "63"
   */
  public record Scsi(Map<String, Attachment> attachments) {}

  /**
   * A disk.
   *
   * @param path of a virtual disk's file, whose name's extension tells its format
   * @param supportCompressedVolumes whether it may be compressed by NTFS; from 2.3 on
   * @param alwaysAllowSparseFiles whether it may be sparse; from 2.6 on
   * @param supportEncryptedFiles whether it may be encrypted by EFS; from 2.6 on
   */
  public record Attachment(
      AttachmentType type,
      String path,
      boolean readOnly,
      @Nullable Boolean supportCompressedVolumes,
      @Nullable Boolean alwaysAllowSparseFiles,
      @Nullable Boolean supportEncryptedFiles) {}

  /** What an attachment is. */
  public enum AttachmentType {
    @JsonProperty("VirtualDisk")
    VIRTUAL_DISK
  }

  /** Sockets between host and guest. */
  public record HvSocket(HvSocketSystemConfig hvSocketConfig) {}

  /**
   * Who of the host may use them: security descriptors as SDDL.
   *
   * @param defaultBindSecurityDescriptor who may listen for the guest
   * @param defaultConnectSecurityDescriptor who may connect to the guest
   */
  public record HvSocketSystemConfig(
      String defaultBindSecurityDescriptor, String defaultConnectSecurityDescriptor) {}
}
