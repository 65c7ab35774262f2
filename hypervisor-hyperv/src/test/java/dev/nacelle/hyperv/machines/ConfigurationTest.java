// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.machines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.hyperv.sys.HResult;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@DisabledOnOs(
    value = OS.WINDOWS,
    disabledReason = "the host of machines runs on Linux, whose paths it is given")
class ConfigurationTest {
  private static final String CONTROLLER = "df6d0690-79e5-55b6-a5ec-c1e2f77f580a";

  private static final String DOCUMENT =
      String.join(
          "",
          "{'Owner':'me','SchemaVersion':{'Major':2,'Minor':6},",
          "'ShouldTerminateOnLastHandleClosed':true,'VirtualMachine':{'StopOnReset':true,",
          "'Chipset':{'UseUtc':true,'LinuxKernelDirect':{'KernelFilePath':'/k/vmlinux',",
          "'InitRdPath':'/k/initramfs','KernelCmdLine':'panic=-1'}},",
          "'ComputeTopology':{'Memory':{'SizeInMB':128,'AllowOvercommit':true},",
          "'Processor':{'Count':2}},'Devices':{'ComPorts':{'0':{'NamedPipe':'pipe'}},",
          "'Scsi':{'" + CONTROLLER + "':{'Attachments':{'7':{'Type':'VirtualDisk',",
          "'Path':'/d/a.vhd','ReadOnly':true}}}},'HvSocket':{'HvSocketConfig':{",
          "'DefaultBindSecurityDescriptor':'D:P(A;;FA;;;SY)(A;;FA;;;S-1-5-21-1)',",
          "'DefaultConnectSecurityDescriptor':'D:P(A;;FA;;;SY)(A;;FA;;;S-1-5-21-1)'}}}}}");

  private static Configuration parse(String document) throws Exception {
    return Configuration.parse(document.replace('\'', '"'));
  }

  @Test
  void documentIsRead() throws Exception {
    Configuration.Disk disk = new Configuration.Disk(CONTROLLER, 0, 7, Path.of("/d/a.vhd"), true);
    assertEquals(
        new Configuration(
            Path.of("/k/vmlinux"),
            Path.of("/k/initramfs"),
            "panic=-1",
            128,
            2,
            "pipe",
            List.of(disk)),
        parse(DOCUMENT));
    assertEquals("vpc", disk.format());
  }

  @ParameterizedTest
  @CsvSource({
    "StopOnReset, StopOnRest",
    "'StopOnReset'':true', 'StopOnReset'':false'",
    "'HandleClosed'':true', 'HandleClosed'':false'",
    "'Minor'':6', 'Minor'':7'",
    "':128', ':127'",
    "':128', ':\"128\"'",
    "'Count'':2', 'Count'':0'",
    "/k/vmlinux, vmlinux",
    "df6d0690, DF6D0690",
    "'''7''', '''64'''",
    "VirtualDisk, Iso",
    "S-1-5-21-1, WD",
    "'''Owner'':''me'',', ''",
    "'}}}}}', '}}}}'"
  })
  void whatTheServiceWouldRefuseIsRefused(String from, String to) {
    String document = DOCUMENT.replace(from, to);
    assertTrue(!document.equals(DOCUMENT), from);
    ServiceError error = assertThrows(ServiceError.class, () -> parse(document));
    assertEquals(HResult.HCS_E_INVALID_JSON, error.result(), error.getMessage());
  }

  @Test
  void filesThatAreNotThereAreTold() throws Exception {
    ServiceError error = assertThrows(ServiceError.class, () -> parse(DOCUMENT).requireFiles());
    assertEquals(HResult.ERROR_FILE_NOT_FOUND, error.result());
    assertTrue(error.getMessage().contains("/d/a.vhd"), error.getMessage());
  }
}
