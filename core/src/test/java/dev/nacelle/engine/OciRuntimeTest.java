// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.GuestProcess;
import dev.nacelle.GuestProcessInfo;
import dev.nacelle.ProcessException;
import dev.nacelle.Signal;
import dev.nacelle.agent.NettyLeaks;
import dev.nacelle.kernel.KernelRef;
import dev.nacelle.oci.OciBundle;
import dev.nacelle.oci.OciRuntime;
import dev.nacelle.oci.OciState;
import dev.nacelle.oci.OciState.Status;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** The operations and the life of a container, clause by clause of runtime.md. */
@ExtendWith(NettyLeaks.class)
@Timeout(120)
class OciRuntimeTest {
  @TempDir Path bundle;
  private FakeNacelle fake;
  private OciRuntime runtime;

  @BeforeEach
  void start() throws IOException {
    fake = new FakeNacelle();
    runtime = new OciRuntime(fake.nacelle);
    Files.createDirectory(bundle.resolve("rootfs"));
  }

  @AfterEach
  void close() {
    fake.close();
  }

  private OciState create(String id, String members) throws IOException {
    String json =
        "{'ociVersion':'1.0.2','root':{'path':'rootfs'},'annotations':{'a':'b'}," + members + "}";
    Files.writeString(bundle.resolve("config.json"), json.replace('\'', '"'));
    return runtime.create(
        id,
        OciBundle.read(bundle),
        spec -> spec.kernel(KernelRef.file(Path.of("/fake/vmlinux"))).stopGrace(Duration.ZERO));
  }

  private static String process(String... arguments) {
    return "'process':{'cwd':'/','args':['" + String.join("','", arguments) + "']}";
  }

  /** As the guest lists it. */
  private long onlyPid(String sandbox) {
    List<GuestProcessInfo> processes =
        fake.nacelle.sandboxes().stream()
            .filter(one -> one.info().name().equals(sandbox))
            .findAny()
            .orElseThrow()
            .processes();
    assertEquals(1, processes.size());
    return processes.get(0).pid().orElseThrow();
  }

  private Status status(String id) {
    return runtime.state(id).status();
  }

  @Test
  void aContainerIsCreatedStartedKilledAndDeleted() throws IOException {
    OciState created = create("one", process("hang"));
    assertEquals("1.0.2", created.ociVersion());
    assertEquals("one", created.id());
    assertEquals(Status.CREATED, created.status());
    assertEquals(OptionalLong.of(onlyPid("one")), created.pid());
    assertEquals(bundle.toAbsolutePath(), created.bundle());
    assertEquals(Map.of("a", "b"), created.annotations());
    assertEquals(created.toJson(), runtime.state("one").toJson());
    GuestProcess process = runtime.start("one");
    assertEquals(Status.RUNNING, status("one"));
    assertThrows(IllegalStateException.class, () -> runtime.start("one"));
    assertThrows(IllegalStateException.class, () -> runtime.delete("one"));
    runtime.kill("one", Signal.TERM);
    process.waitFor();
    assertEquals(Status.STOPPED, status("one"));
    assertEquals(OptionalLong.empty(), runtime.state("one").pid());
    assertThrows(IllegalStateException.class, () -> runtime.kill("one", Signal.KILL));
    assertThrows(IllegalStateException.class, () -> runtime.start("one"));
    runtime.delete("one");
    assertThrows(IllegalArgumentException.class, () -> runtime.state("one"));
    // And its id may be another's.
    create("one", process("true"));
    runtime.start("one").waitFor();
    runtime.delete("one");
  }

  @Test
  void operationsOnWhatIsNotThereAreErrors() {
    assertThrows(IllegalArgumentException.class, () -> runtime.state("none"));
    assertThrows(IllegalArgumentException.class, () -> runtime.start("none"));
    assertThrows(IllegalArgumentException.class, () -> runtime.kill("none", Signal.KILL));
    assertThrows(IllegalArgumentException.class, () -> runtime.delete("none"));
  }

  @Test
  void anIdIsOneContainersAlone() throws IOException {
    create("one", process("hang"));
    assertThrows(IllegalArgumentException.class, () -> create("one", process("hang")));
    assertEquals(1, fake.hypervisor.machines().size());
    assertThrows(IllegalArgumentException.class, () -> create("a b", process("hang")));
    create("two", process("hang"));
    assertEquals(Status.CREATED, status("one"));
  }

  @Test
  void whatBecomesOfTheBundleDoesNotMatter() throws IOException {
    create("one", process("echo", "first"));
    Files.writeString(bundle.resolve("config.json"), "{}");
    GuestProcess process = runtime.start("one");
    assertEquals("first\n", new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8));
  }

  @Test
  void aContainerWithoutAProcessCannotBeStarted() throws IOException {
    create("one", "'linux':{}");
    assertThrows(IllegalStateException.class, () -> runtime.start("one"));
    assertEquals(Status.CREATED, status("one"));
    assertThrows(IllegalStateException.class, () -> runtime.delete("one"));
    runtime.kill("one", Signal.KILL);
    assertEquals(Status.STOPPED, status("one"));
    runtime.delete("one");
    assertEquals(0, fake.hypervisor.openMachines());
  }

  @Test
  void aContainerThatWasNotStartedEndsBySignals() throws IOException {
    create("one", process("hang"));
    runtime.kill("one", Signal.TERM);
    while (status("one") == Status.CREATED) {
      Thread.onSpinWait();
    }
    assertEquals(Status.STOPPED, status("one"));
    assertEquals(OptionalLong.empty(), runtime.state("one").pid());
    assertThrows(IllegalStateException.class, () -> runtime.start("one"));
    runtime.delete("one");
  }

  @Test
  void hooksComeBeforeTheProcessAndGetTheState() throws IOException {
    create(
        "one",
        process("echo", "after")
            + ",'hooks':{'startContainer':[{'path':'/true','args':['true']},"
            + "{'path':'/cat','args':['cat','x']}]}");
    runtime.start("one").waitFor();
    assertEquals(Status.STOPPED, status("one"));
  }

  @Test
  void aHookThatFailsDestroysTheContainer() throws IOException {
    create(
        "one",
        process("true") + ",'hooks':{'startContainer':[{'path':'/false','args':['false']}]}");
    ProcessException failure = assertThrows(ProcessException.class, () -> runtime.start("one"));
    assertTrue(
        String.valueOf(failure.getMessage()).startsWith("The hook startContainer /false failed"),
        failure::toString);
    assertThrows(IllegalArgumentException.class, () -> runtime.state("one"));
    assertEquals(0, fake.hypervisor.openMachines());
  }

  @Test
  void aProcessThatCannotBeExecutedLeavesAStoppedContainer() throws IOException {
    create("one", process("no-such-command"));
    assertThrows(ProcessException.class, () -> runtime.start("one"));
    assertEquals(Status.STOPPED, status("one"));
    runtime.delete("one");
  }

  @Test
  void hooksOfTheContainerRunAtItsCreationToo() throws IOException {
    create(
        "one",
        process("hang")
            + ",'hooks':{'createContainer':[{'path':'/true','args':['true']}],"
            + "'startContainer':[{'path':'/cat','args':['cat','x']}]}");
    assertEquals(Status.CREATED, status("one"));
    runtime.start("one");
    ProcessException failure =
        assertThrows(
            ProcessException.class,
            () ->
                create(
                    "two",
                    process("hang")
                        + ",'hooks':{'createContainer':[{'path':'/false','args':['false']}]}"));
    assertTrue(
        String.valueOf(failure.getMessage()).startsWith("The hook createContainer /false failed"),
        failure::toString);
    assertThrows(IllegalArgumentException.class, () -> runtime.state("two"));
    assertEquals(1, fake.hypervisor.openMachines());
  }

  @Test
  void hooksOfTheHostAreRefusedWhereNobodyHasAllowedThem() {
    for (String kind : List.of("prestart", "createRuntime", "poststart", "poststop")) {
      IllegalArgumentException refusal =
          assertThrows(
              IllegalArgumentException.class,
              () -> create("one", process("hang") + ",'hooks':{'" + kind + "':[{'path':'/x'}]}"));
      assertEquals(
          "hooks."
              + kind
              + ": it is a program of this host, and OciRuntime.withHostHooks alone runs those",
          refusal.getMessage());
    }
    assertEquals(0, fake.hypervisor.machines().size());
  }

  private String hook(String kind, String script) {
    return "'"
        + kind
        + "':[{'path':'/bin/sh','args':['sh','-c','"
        + script
        + "'],'env':['OUT="
        + bundle.resolve("told")
        + "','PATH=/usr/bin:/bin']}]";
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void hooksOfTheHostRunInTheOrderOfTheLifeAndGetTheState() throws IOException {
    runtime = OciRuntime.withHostHooks(fake.nacelle);
    String tell = "(echo $0; pwd; cat; echo) >> $OUT";
    create(
        "one",
        process("hang")
            + ",'hooks':{"
            + hook("prestart", tell.replace("$0", "prestart"))
            + ","
            + hook("createRuntime", tell.replace("$0", "createRuntime"))
            + ","
            + hook("poststart", tell.replace("$0", "poststart"))
            + ","
            + hook("poststop", tell.replace("$0", "poststop") + "; exit 1")
            + "}");
    long pid = runtime.state("one").pid().orElseThrow();
    runtime.start("one");
    runtime.kill("one", Signal.KILL);
    while (status("one") == Status.RUNNING) {
      Thread.onSpinWait();
    }
    // That the last fails, is logged.
    runtime.delete("one");
    String state =
        "{\"ociVersion\":\"1.0.2\",\"id\":\"one\",\"status\":\"%s\",%s\"bundle\":\"%s\",\"annotations\":{\"a\":\"b\"}}";
    String withPid = "\"pid\":" + pid + ",";
    Path where = bundle.toAbsolutePath();
    List<String> expected =
        List.of(
            "prestart",
            where.toString(),
            state.formatted("creating", withPid, where),
            "createRuntime",
            where.toString(),
            state.formatted("creating", withPid, where),
            "poststart",
            where.toString(),
            state.formatted("running", withPid, where),
            "poststop",
            where.toString(),
            state.formatted("stopped", "", where));
    assertEquals(expected, Files.readAllLines(bundle.resolve("told")));
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void aHookOfTheHostThatFailsEndsTheContainer() throws IOException {
    runtime = OciRuntime.withHostHooks(fake.nacelle);
    String last = hook("poststop", "echo poststop >> $OUT");
    for (String kind : List.of("prestart", "createRuntime")) {
      String hooks = ",'hooks':{" + hook(kind, "echo why; exit 3") + "," + last + "}";
      ProcessException failure =
          assertThrows(ProcessException.class, () -> create("one", process("hang") + hooks));
      String message = String.valueOf(failure.getMessage());
      assertTrue(
          message.startsWith("The hook " + kind + " /bin/sh failed: exit code 3: why"), message);
    }
    create("one", process("hang") + ",'hooks':{" + hook("poststart", "exit 3") + "," + last + "}");
    assertThrows(ProcessException.class, () -> runtime.start("one"));
    assertThrows(IllegalArgumentException.class, () -> runtime.state("one"));
    assertEquals(0, fake.hypervisor.openMachines());
    assertEquals(
        List.of("poststop", "poststop", "poststop"), Files.readAllLines(bundle.resolve("told")));
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void aHookOfTheHostHasATimeAndItsOwnEnvironment() throws IOException {
    runtime = OciRuntime.withHostHooks(fake.nacelle);
    String slow = "'prestart':[{'path':'/bin/sleep','args':['sleep','1000'],'timeout':1}]";
    ProcessException failure =
        assertThrows(
            ProcessException.class,
            () -> create("one", process("hang") + ",'hooks':{" + slow + "}"));
    assertTrue(String.valueOf(failure.getMessage()).contains("it had not ended after PT1S"));
    String alone = "'prestart':[{'path':'/usr/bin/env','env':['A=b']}]";
    String all = "'createRuntime':[{'path':'/bin/sh','args':['sh','-c','exit 7']}]";
    failure =
        assertThrows(
            ProcessException.class,
            () -> create("one", process("hang") + ",'hooks':{" + alone + "," + all + "}"));
    assertTrue(String.valueOf(failure.getMessage()).contains("createRuntime /bin/sh"));
    String none = "'prestart':[{'path':'/no/such/hook'}]";
    failure =
        assertThrows(
            ProcessException.class,
            () -> create("one", process("hang") + ",'hooks':{" + none + "}"));
    assertTrue(String.valueOf(failure.getMessage()).contains("/no/such/hook"));
  }

  @Test
  void theStateIsJsonAsItsSchemaHasIt() throws IOException {
    String json = create("one", process("hang")).toJson();
    assertEquals(
        "{\"ociVersion\":\"1.0.2\",\"id\":\"one\",\"status\":\"created\",\"pid\":"
            + onlyPid("one")
            + ",\"bundle\":\""
            + bundle.toAbsolutePath().toString().replace("\\", "\\\\")
            + "\",\"annotations\":{\"a\":\"b\"}}",
        json);
  }
}
