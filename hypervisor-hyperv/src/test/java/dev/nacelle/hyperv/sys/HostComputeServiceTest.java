// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class HostComputeServiceTest {
  @BeforeEach
  void reset() {
    StandIn.reset();
  }

  @AfterEach
  void nothingIsLeft() {
    StandIn.requireNothingLeft();
  }

  @Test
  void propertiesAreAskedFor() {
    assertEquals("{}", HostComputeService.properties("{\"PropertyTypes\":[\"Basic\"]}"));
    assertEquals("{\"PropertyTypes\":[\"Basic\"]}", StandIn.received("HcsGetServiceProperties"));
    StandIn.answer("HcsGetServiceProperties", "{\"Properties\":[]}");
    assertEquals("{\"Properties\":[]}", HostComputeService.properties("{}"));
  }

  @Test
  void serviceThatIsNotThereIsToldWithWhatToDo() {
    StandIn.failCall("HcsGetServiceProperties", HResult.HCS_E_SERVICE_NOT_AVAILABLE);
    HcsException e = assertThrows(HcsException.class, () -> HostComputeService.properties("{}"));
    assertTrue(e.remedy().contains("Virtual Machine Platform"), e::remedy);
  }

  @Test
  void machinesAreListed() {
    assertEquals("[]", HostComputeService.enumerate("{}", Duration.ofSeconds(30)));
    StandIn.answer("HcsEnumerateComputeSystems", "[{\"Id\":\"a\"}]");
    assertEquals(
        "[{\"Id\":\"a\"}]",
        HostComputeService.enumerate("{\"Owners\":[\"x\"]}", Duration.ofSeconds(30)));
    assertEquals("{\"Owners\":[\"x\"]}", StandIn.received("HcsEnumerateComputeSystems"));
  }

  @Test
  void listThatTakesTooLongIsTold() {
    StandIn.hold("HcsEnumerateComputeSystems");
    HcsException e =
        assertThrows(
            HcsException.class, () -> HostComputeService.enumerate("{}", Duration.ofMillis(20)));
    assertEquals(HResult.HCS_E_OPERATION_TIMEOUT, e.result());
    // It is waited for at the next occasion.
    StandIn.standin_release();
    StandIn.standin_quiesce();
    HostComputeService.enumerate("{}", Duration.ofSeconds(30));
  }

  @Test
  void accessIsGrantedAndRevoked() {
    Path file = Path.of("/a/ü.vhd");
    HostComputeService.grantAccess("m1", file);
    assertEquals(file.toString(), StandIn.received("HcsGrantVmAccess"));
    assertEquals("m1", StandIn.received("id"));
    HostComputeService.revokeAccess("m2", file);
    assertEquals(file.toString(), StandIn.received("HcsRevokeVmAccess"));
    assertEquals("m2", StandIn.received("id"));
    StandIn.failCall("HcsGrantVmAccess", HResult.E_ACCESSDENIED);
    StandIn.failCall("HcsRevokeVmAccess", HResult.ERROR_FILE_NOT_FOUND);
    HcsException e =
        assertThrows(HcsException.class, () -> HostComputeService.grantAccess("m1", file));
    assertEquals(HResult.E_ACCESSDENIED, e.result());
    assertTrue(e.getMessage().contains(file.toString()), e::getMessage);
    e = assertThrows(HcsException.class, () -> HostComputeService.revokeAccess("m1", file));
    assertEquals(HResult.ERROR_FILE_NOT_FOUND, e.result());
  }
}
