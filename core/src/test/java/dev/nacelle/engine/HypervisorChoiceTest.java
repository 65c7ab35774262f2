// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.HostCheck;
import dev.nacelle.HypervisorUnavailableException;
import dev.nacelle.Nacelle;
import dev.nacelle.Sandbox;
import dev.nacelle.SandboxSpec;
import dev.nacelle.fake.FakeHypervisor;
import dev.nacelle.fake.FakeHypervisor.Fault;
import dev.nacelle.spi.GuestDriver;
import dev.nacelle.spi.Hypervisor;
import dev.nacelle.spi.HypervisorProvider;
import dev.nacelle.spi.VmSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Several hypervisors on the class path, as with Nacelle's own: which of them is used. */
class HypervisorChoiceTest {
  /** One of another operating system, whose every use but what is allowed there is a fault. */
  private static final Named FOREIGN = new Named("foreign", false, Fault.UNUSABLE_HOST);

  private static final Named BROKEN = new Named("broken", true, Fault.UNUSABLE_HOST);
  private static final Named FIRST = new Named("first", true, Fault.NONE);
  private static final Named SECOND = new Named("second", true, Fault.NONE);

  private record Named(String name, boolean supportsPlatform, FakeHypervisor fake)
      implements HypervisorProvider {
    Named(String name, boolean supportsPlatform, Fault fault) {
      this(name, supportsPlatform, new FakeHypervisor(Map.of(), fault));
    }

    @Override
    public List<GuestDriver> drivers() {
      return List.of(
          new GuestDriver("BUS_OF_" + name.toUpperCase(Locale.ROOT), "bus", GuestDriver.Use.BUS));
    }

    @Override
    public HostCheck check() {
      return HostCheck.of(name, fake.check().findings());
    }

    @Override
    public Hypervisor open() {
      return fake.open();
    }
  }

  private static EngineBuilder builder(Named... found) {
    return new EngineBuilder().among(List.of(found)).sources(new FakeSources());
  }

  private static void assertUses(Named expected, EngineBuilder builder) {
    int before = expected.fake.machines().size();
    try (Nacelle nacelle = builder.build();
        Sandbox sandbox = nacelle.start(FakeNacelle.spec().build())) {
      assertTrue(sandbox.isAlive());
      assertEquals(before + 1, expected.fake.machines().size());
    }
  }

  private static List<String> checked(EngineBuilder builder) {
    return builder.checkHost().stream().map(HostCheck::hypervisor).toList();
  }

  @Test
  void theFirstThatWorksIsUsed() {
    assertUses(FIRST, builder(FOREIGN, BROKEN, FIRST, SECOND));
    assertUses(SECOND, builder(SECOND, FIRST));
  }

  @Test
  void oneIsChosenByName() {
    assertUses(SECOND, builder(FIRST, SECOND).hypervisor("second"));
  }

  @Test
  void theChosenOneIsUsedOrNone() {
    EngineBuilder builder = builder(FIRST, BROKEN).hypervisor("broken");
    HypervisorUnavailableException e =
        assertThrows(HypervisorUnavailableException.class, builder::build);
    assertEquals(List.of("broken"), e.checks().stream().map(HostCheck::hypervisor).toList());
    assertEquals("Load the fake module.", e.remedy().orElseThrow());
  }

  @Test
  void whatIsOfAnotherSystemIsNotBroughtUp() {
    HypervisorUnavailableException e =
        assertThrows(HypervisorUnavailableException.class, builder(FOREIGN, BROKEN)::build);
    assertTrue(e.getMessage().contains("broken: "), e::getMessage);
    assertFalse(e.getMessage().contains("foreign"), e::getMessage);
  }

  @Test
  void whereNoneIsForTheSystemEachSaysSo() {
    Named other = new Named("other", false, Fault.UNUSABLE_HOST);
    HypervisorUnavailableException e =
        assertThrows(HypervisorUnavailableException.class, builder(FOREIGN, other)::build);
    assertTrue(e.getMessage().contains("foreign: "), e::getMessage);
    assertTrue(e.getMessage().contains("other: "), e::getMessage);
    assertEquals(List.of("foreign", "other"), checked(builder(FOREIGN, other)));
  }

  @Test
  void withoutAnyTheDependencyIsNamed() {
    HypervisorUnavailableException e =
        assertThrows(HypervisorUnavailableException.class, builder()::build);
    assertEquals("Add the dependency dev.nacelle:nacelle.", e.remedy().orElseThrow());
    assertEquals(List.of(), checked(builder()));
  }

  @Test
  void hostIsCheckedForThoseThatCouldBeUsed() {
    assertEquals(List.of("broken", "first"), checked(builder(FOREIGN, BROKEN, FIRST)));
    assertEquals(List.of("foreign"), checked(builder(FOREIGN, FIRST).hypervisor("foreign")));
  }

  @Test
  void kernelsArePreparedForTheFirstOfTheSystemOrForTheChosenOne() {
    List<String> options = new ArrayList<>();
    FakeSources sources =
        new FakeSources() {
          @Override
          public BootKernel kernel(SandboxSpec spec, List<GuestDriver> drivers) throws Exception {
            drivers.forEach(driver -> options.add(driver.option()));
            return super.kernel(spec, drivers);
          }
        };
    SandboxSpec spec = FakeNacelle.spec().build();
    builder(FOREIGN, BROKEN, FIRST).sources(sources).prepare(spec);
    builder(FOREIGN, BROKEN).hypervisor("foreign").sources(sources).prepare(spec);
    assertEquals(List.of("BUS_OF_BROKEN", "BUS_OF_FOREIGN"), options);
    assertThrows(HypervisorUnavailableException.class, () -> builder(FOREIGN).prepare(spec));
  }

  @Test
  void hypervisorSaysOfWhichKernelsTheClockIsItsOwn() {
    for (String option : new String[] {"FAKE_GUEST", "OTHER_GUEST"}) {
      try (FakeNacelle fake = new FakeNacelle()) {
        fake.hypervisor.keepTimeFor(option);
        try (Sandbox sandbox = fake.start()) {
          VmSpec.Linux guest = (VmSpec.Linux) fake.machine().spec().guest();
          assertEquals(option.equals("FAKE_GUEST"), guest.paravirtualClock());
          assertTrue(sandbox.isAlive());
        }
      }
    }
    try (FakeNacelle fake = new FakeNacelle();
        Sandbox sandbox = fake.start()) {
      assertFalse(((VmSpec.Linux) fake.machine().spec().guest()).paravirtualClock());
      assertTrue(sandbox.isAlive());
    }
  }
}
