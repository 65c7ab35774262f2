// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.nacelle.DataSize;
import dev.nacelle.HypervisorException;
import dev.nacelle.MemoryPolicy;
import dev.nacelle.RateLimit;
import dev.nacelle.RateLimits;
import dev.nacelle.Stage;
import dev.nacelle.hyperv.MachineDocument.Host;
import dev.nacelle.hyperv.schema.Schema;
import dev.nacelle.hyperv.schema.Version;
import dev.nacelle.spi.VmSpec;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Documents of machines, against the published schemas. */
class MachineDocumentTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final String USER = "S-1-5-21-1004336348-1177238915-682003330-512";
  private static final String PIPE = "\\\\.\\pipe\\nacelle-m1";
  private static final Path KERNEL = Path.of("/k/vmlinux").toAbsolutePath();
  private static final Path INITRAMFS = Path.of("/k/initramfs").toAbsolutePath();

  private static final RateLimits LIMITED =
      RateLimits.NONE.withDisks(RateLimit.bytes(DataSize.mebibytes(1)));

  private static Host host(Version schema) {
    return new Host(schema, "nacelle", USER, 4);
  }

  private static Path vhd(int i) {
    return Path.of("/d/" + i + ".vhd").toAbsolutePath();
  }

  private static String json(Path path) {
    return path.toString().replace("\\", "\\\\");
  }

  private static VmSpec spec(VmSpec.Guest guest, long memory, int cpus, int disks) {
    List<VmSpec.Disk> all =
        IntStream.range(0, disks).mapToObj(i -> VmSpec.Disk.of("d" + i, vhd(i), i != 1)).toList();
    return VmSpec.builder("m1", guest, DataSize.bytes(memory)).cpus(cpus).disks(all).build();
  }

  private static VmSpec.Linux linux(MemoryPolicy policy) {
    return VmSpec.Linux.builder(KERNEL)
        .initramfs(INITRAMFS)
        .parameters(" loglevel=7 a=\"b c\" ")
        .memoryPolicy(policy)
        .build();
  }

  private static JsonNode document(VmSpec spec, Version version) throws Exception {
    return MAPPER.readTree(MachineDocument.of(spec, spec.disks(), host(version), PIPE).toJson());
  }

  /** All that there is to choose. */
  private static List<VmSpec> variants() {
    List<VmSpec> variants = new ArrayList<>();
    for (MemoryPolicy policy : List.of(MemoryPolicy.SPEED, MemoryPolicy.DENSITY)) {
      for (int disks : new int[] {0, 2, 65, 256}) {
        variants.add(spec(linux(policy), 512L << 20, 2, disks));
      }
    }
    variants.add(spec(VmSpec.Linux.builder(KERNEL).build(), 2L << 20, 1, 1));
    return variants;
  }

  @ParameterizedTest
  @CsvSource({
    "18362, 2, 2",
    "19041, 2, 3",
    "20348, 2, 4",
    "20348, 2, 5",
    "22000, 2, 6",
    "22000, 2, 7",
    "22000, 3, 0"
  })
  void everyFieldIsInTheSchemaOfTheBuild(String build, int major, int minor) throws Exception {
    Schema schema = new Schema(build);
    for (VmSpec spec : variants()) {
      JsonNode document = document(spec, new Version(major, minor));
      assertEquals(List.of(), schema.check(document, "ComputeSystem"));
      Version sent =
          new Version(
              document.at("/SchemaVersion/Major").intValue(),
              document.at("/SchemaVersion/Minor").intValue());
      assertTrue(sent.compareTo(new Version(major, minor)) <= 0);
      assertTrue(sent.compareTo(MachineDocument.NEWEST) <= 0);
    }
    String trial = MachineDocument.trial(host(new Version(major, minor))).toJson();
    assertEquals(List.of(), schema.check(MAPPER.readTree(trial), "ComputeSystem"));
  }

  @Test
  void misspeltFieldOrWrongTypeIsFound() throws Exception {
    Schema schema = new Schema("22000");
    JsonNode right = document(variants().get(5), MachineDocument.NEWEST);
    List<List<String>> paths = new ArrayList<>();
    collect(right, List.of(), paths);
    Set<String> names = new TreeSet<>();
    for (List<String> path : paths) {
      String name = path.get(path.size() - 1);
      if (!isKey(path)) {
        names.add(name);
        JsonNode misspelt = right.deepCopy();
        ObjectNode parent = parent(misspelt, path);
        parent.set(name + "s", parent.remove(name));
        assertEquals(1, schema.check(misspelt, "ComputeSystem").size(), path::toString);
      }
      JsonNode wrong = right.deepCopy();
      parent(wrong, path).set(name, MAPPER.createArrayNode());
      assertFalse(schema.check(wrong, "ComputeSystem").isEmpty(), path::toString);
    }
    assertTrue(
        names.containsAll(
            Set.of("KernelFilePath", "SizeInMB", "EnableDeferredCommit", "AlwaysAllowSparseFiles")),
        names::toString);
    JsonNode disk = right.deepCopy();
    ((ObjectNode) disk.at("/VirtualMachine/Devices/Scsi").elements().next().at("/Attachments/0"))
        .put("Type", "VirtualDisc");
    assertEquals(1, schema.check(disk, "ComputeSystem").size());
  }

  private static void collect(JsonNode node, List<String> path, List<List<String>> paths) {
    for (Map.Entry<String, JsonNode> property : node.properties()) {
      List<String> at = new ArrayList<>(path);
      at.add(property.getKey());
      paths.add(at);
      collect(property.getValue(), at, paths);
    }
  }

  /** Whether a name is one that we choose. */
  private static boolean isKey(List<String> path) {
    return path.size() > 1
        && Set.of("Scsi", "Attachments", "ComPorts").contains(path.get(path.size() - 2));
  }

  private static ObjectNode parent(JsonNode document, List<String> path) {
    JsonNode node = document;
    for (String name : path.subList(0, path.size() - 1)) {
      node = node.get(name);
    }
    return (ObjectNode) node;
  }

  @Test
  void fieldsOfLaterVersionsAreLeftOut() throws Exception {
    VmSpec spec = spec(linux(MemoryPolicy.DENSITY), 512L << 20, 2, 1);
    String disk = "/VirtualMachine/Devices/Scsi/" + MachineDocument.SCSI_CONTROLLERS.get(0);
    for (int minor = 2; minor <= 6; minor++) {
      JsonNode document = document(spec, new Version(2, minor));
      JsonNode attachment = document.at(disk + "/Attachments/0");
      assertEquals(minor >= 3, attachment.path("SupportCompressedVolumes").asBoolean());
      assertEquals(minor >= 6, attachment.path("AlwaysAllowSparseFiles").asBoolean());
      assertEquals(minor >= 6, attachment.path("SupportEncryptedFiles").asBoolean());
      JsonNode memory = document.at("/VirtualMachine/ComputeTopology/Memory");
      assertEquals(minor >= 3, memory.path("EnableColdDiscardHint").asBoolean());
      assertTrue(memory.path("EnableDeferredCommit").asBoolean());
    }
  }

  @Test
  void documentSaysWhatTheMachineIs() throws Exception {
    JsonNode expected =
        MAPPER.readTree(
            """
            {"Owner": "nacelle",
             "SchemaVersion": {"Major": 2, "Minor": 2},
             "ShouldTerminateOnLastHandleClosed": true,
             "VirtualMachine": {
               "StopOnReset": true,
               "Chipset": {
                 "UseUtc": true,
                 "LinuxKernelDirect": {
                   "KernelFilePath": "%s",
                   "InitRdPath": "%s",
                   "KernelCmdLine": "console=ttyS0 loglevel=3 8250_core.nr_uarts=1 \
            8250_core.skip_txen_test=1 panic=-1 pci=off pmtmr=0 \
            initcall_blacklist=virtio_vsock_init cryptomgr.notests nr_cpus=2 loglevel=7 a=\\"b c\\""}},
               "ComputeTopology": {
                 "Memory": {"SizeInMB": 512, "AllowOvercommit": true},
                 "Processor": {"Count": 2}},
               "Devices": {
                 "ComPorts": {"0": {"NamedPipe": "\\\\\\\\.\\\\pipe\\\\nacelle-m1"}},
                 "Scsi": {"df6d0690-79e5-55b6-a5ec-c1e2f77f580a": {"Attachments": {
                   "0": {"Type": "VirtualDisk", "Path": "%s", "ReadOnly": true},
                   "1": {"Type": "VirtualDisk", "Path": "%s", "ReadOnly": false}}}},
                 "HvSocket": {"HvSocketConfig": {
                   "DefaultBindSecurityDescriptor": "D:P(A;;FA;;;SY)(A;;FA;;;%s)",
                   "DefaultConnectSecurityDescriptor": "D:P(A;;FA;;;SY)(A;;FA;;;%s)"}}}}}
            """
                .formatted(json(KERNEL), json(INITRAMFS), json(vhd(0)), json(vhd(1)), USER, USER));
    assertEquals(
        expected,
        document(spec(linux(MemoryPolicy.SPEED), 512L << 20, 2, 2), MachineDocument.OLDEST));
  }

  @Test
  void disksFillOneControllerAfterTheOther() throws Exception {
    JsonNode scsi =
        document(spec(linux(MemoryPolicy.SPEED), 512L << 20, 2, 256), MachineDocument.OLDEST)
            .at("/VirtualMachine/Devices/Scsi");
    assertEquals(4, scsi.size());
    for (int i = 0; i < 256; i++) {
      String place = "/" + MachineDocument.SCSI_CONTROLLERS.get(i / 64) + "/Attachments/" + i % 64;
      assertEquals(vhd(i).toString(), scsi.at(place + "/Path").textValue());
    }
  }

  @Test
  void whatHyperVCannotIsRefusedWithWhatToDo() {
    VmSpec.Guest linux = linux(MemoryPolicy.SPEED);
    List<VmSpec> wrong =
        List.of(
            spec(linux, (512L << 20) + (1L << 20), 1, 1),
            spec(linux, 4096, 1, 1),
            spec(linux, 512L << 20, 5, 1),
            spec(linux, 512L << 20, 1, 257),
            spec(VmSpec.Bare.of(KERNEL, ""), 512L << 20, 1, 0),
            spec(linux(MemoryPolicy.HUGE_PAGES), 512L << 20, 1, 0),
            spec(
                VmSpec.Linux.builder(Path.of("/" + "k".repeat(259)).toAbsolutePath()).build(),
                512L << 20,
                1,
                0),
            VmSpec.builder("m1", linux, DataSize.mebibytes(512)).rateLimits(LIMITED).build(),
            VmSpec.builder("m1", linux, DataSize.mebibytes(512)).cpuQuota(0.5).build(),
            VmSpec.builder("m1", linux, DataSize.mebibytes(512)).niceness(1).build());
    for (VmSpec spec : wrong) {
      HypervisorException e =
          assertThrows(HypervisorException.class, () -> document(spec, MachineDocument.NEWEST));
      assertEquals(Stage.CREATE, e.stage());
      assertTrue(e.remedy().isPresent());
    }
  }

  @ParameterizedTest
  @CsvSource({"2, 1", "2, 0", "1, 9"})
  void windowsThatIsTooOldIsRefused(int major, int minor) {
    VmSpec spec = spec(linux(MemoryPolicy.SPEED), 512L << 20, 1, 1);
    HypervisorException e =
        assertThrows(HypervisorException.class, () -> document(spec, new Version(major, minor)));
    assertEquals(Stage.HOST, e.stage());
    assertTrue(e.remedy().orElseThrow().contains("18362"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "S-1-5", "S-1-5-18)(A;;FA;;;WD", "BA", "S-1-5-21-1-2-3-99999999999"})
  void whoIsNoUserGetsNoAccess(String sid) {
    assertThrows(
        IllegalArgumentException.class, () -> new Host(MachineDocument.NEWEST, "me", sid, 1));
  }

  @Test
  void fileThatIsNoVhdOrRelativeIsAMistake() {
    VmSpec.Linux relative = VmSpec.Linux.builder(Path.of("k")).build();
    VmSpec raw =
        VmSpec.builder("m1", linux(MemoryPolicy.SPEED), DataSize.mebibytes(512))
            .disks(List.of(VmSpec.Disk.of("d", KERNEL, true)))
            .build();
    for (VmSpec spec : List.of(spec(relative, 512L << 20, 1, 0), raw)) {
      assertThrows(IllegalArgumentException.class, () -> document(spec, MachineDocument.NEWEST));
    }
  }
}
