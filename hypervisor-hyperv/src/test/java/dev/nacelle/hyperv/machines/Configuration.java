// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.nacelle.hyperv.schema.Schema;
import dev.nacelle.hyperv.sys.HResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * What a document asks for, read by the published schema of its version alone: no class of the
 * module has a part in it.
 *
 * @param kernel null of a machine that is never started
 * @param initramfs null for none
 * @param console the pipe that COM1 writes to; empty for none
 */
record Configuration(
    Path kernel,
    Path initramfs,
    String parameters,
    int mebibytes,
    int processors,
    String console,
    List<Disk> disks) {

  /**
   * @param host the number of its controller, from 0
   */
  record Disk(String controller, int host, int lun, Path file, boolean readOnly) {
    /** QEMU's name of its format, by which Hyper-V knows it: the file's extension. */
    String format() throws ServiceError {
      String name = file.toString();
      if (name.endsWith(".vhd")) {
        return "vpc";
      }
      if (name.endsWith(".vhdx")) {
        return "vhdx";
      }
      throw new ServiceError(HResult.ERROR_NOT_SUPPORTED, name + " is no virtual disk");
    }
  }

  private static final Pattern GUID = Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

  /** The builds that brought versions of the schema. */
  private static final Map<String, String> BUILDS =
      Map.of("2.2", "18362", "2.3", "19041", "2.4", "20348", "2.5", "20348", "2.6", "22000");

  private static final int MAXIMUM_LUN = 63;

  static Configuration parse(String json) throws ServiceError, IOException {
    JsonNode document;
    try {
      document = new ObjectMapper().readTree(json);
    } catch (JsonProcessingException e) {
      throw invalid(e.getMessage());
    }
    JsonNode version = document.path("SchemaVersion");
    String build =
        BUILDS.get(version.path("Major").asText() + "." + version.path("Minor").asText());
    if (build == null) {
      throw invalid("SchemaVersion is " + version);
    }
    List<String> problems = new Schema(build).check(document, "ComputeSystem");
    if (!problems.isEmpty()) {
      throw invalid(problems.toString());
    }
    require(!document.path("Owner").asText().isEmpty(), "nobody owns it");
    require(
        document.path("ShouldTerminateOnLastHandleClosed").asBoolean(), "it outlives its process");
    JsonNode machine = document.path("VirtualMachine");
    require(machine.path("StopOnReset").asBoolean(), "it outlives a reset");
    require(machine.path("GuestConnection").isMissingNode(), "it waits for Microsoft's agent");
    JsonNode boot = machine.path("Chipset").path("LinuxKernelDirect");
    JsonNode topology = machine.path("ComputeTopology");
    int mebibytes = topology.path("Memory").path("SizeInMB").asInt();
    require(mebibytes >= 32 && mebibytes % 2 == 0, "memory of " + mebibytes + " MiB");
    int processors = topology.path("Processor").path("Count").asInt();
    require(processors > 0, "it has no processor");
    requireUserOnly(machine.path("Devices").path("HvSocket").path("HvSocketConfig"));
    return new Configuration(
        path(boot.path("KernelFilePath")),
        path(boot.path("InitRdPath")),
        boot.path("KernelCmdLine").asText(),
        mebibytes,
        processors,
        machine.path("Devices").path("ComPorts").path("0").path("NamedPipe").asText(),
        disks(machine.path("Devices").path("Scsi")));
  }

  private static void requireUserOnly(JsonNode sockets) throws ServiceError {
    for (String field :
        List.of("DefaultBindSecurityDescriptor", "DefaultConnectSecurityDescriptor")) {
      String descriptor = sockets.path(field).asText();
      require(
          descriptor.matches("D:P\\(A;;FA;;;SY\\)\\(A;;FA;;;S-1-[0-9-]+\\)"),
          field + " is " + descriptor);
    }
  }

  private static Path path(JsonNode node) throws ServiceError {
    if (node.isMissingNode()) {
      return null;
    }
    Path path = Path.of(node.asText());
    require(path.isAbsolute(), path + " is not absolute");
    return path;
  }

  private static List<Disk> disks(JsonNode controllers) throws ServiceError {
    List<Disk> disks = new ArrayList<>();
    int host = 0;
    for (Map.Entry<String, JsonNode> controller : controllers.properties()) {
      require(GUID.matcher(controller.getKey()).matches(), controller.getKey() + " is no GUID");
      for (Map.Entry<String, JsonNode> unit :
          controller.getValue().path("Attachments").properties()) {
        JsonNode attachment = unit.getValue();
        int lun = Integer.parseInt(unit.getKey());
        require(lun >= 0 && lun <= MAXIMUM_LUN, "LUN " + lun);
        require(attachment.path("Type").asText().equals("VirtualDisk"), "no virtual disk");
        disks.add(
            new Disk(
                controller.getKey(),
                host,
                lun,
                path(attachment.path("Path")),
                attachment.path("ReadOnly").asBoolean()));
      }
      host++;
    }
    require(host <= 4, host + " controllers");
    return disks;
  }

  private static void require(boolean right, String problem) throws ServiceError {
    if (!right) {
      throw invalid(problem);
    }
  }

  private static ServiceError invalid(String problem) {
    return new ServiceError(HResult.HCS_E_INVALID_JSON, problem);
  }

  /** As far as the service looks for them itself. */
  void requireFiles() throws ServiceError {
    List<Path> files = new ArrayList<>();
    disks.forEach(disk -> files.add(disk.file));
    if (kernel == null) {
      throw invalid("it has nothing to boot");
    }
    files.add(kernel);
    if (initramfs != null) {
      files.add(initramfs);
    }
    for (Path file : files) {
      if (!Files.isRegularFile(file)) {
        throw new ServiceError(HResult.ERROR_FILE_NOT_FOUND, file + " is not there");
      }
    }
  }
}
