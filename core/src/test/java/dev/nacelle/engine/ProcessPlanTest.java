// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.NacelleException;
import dev.nacelle.ProcessException;
import dev.nacelle.ProcessSpec;
import dev.nacelle.SandboxSpec;
import dev.nacelle.Signal;
import dev.nacelle.Stage;
import dev.nacelle.StandardStream;
import dev.nacelle.TerminalSize;
import dev.nacelle.agent.Confinement;
import dev.nacelle.agent.ProcessRequest.Outputs;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.Platform;
import dev.nacelle.seccomp.SeccompFilters;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Who has the last word: the process, then the sandbox, then the image. */
class ProcessPlanTest {
  private static final ProcessSpec ENTRYPOINT = ProcessSpec.entrypoint().build();
  private static final ProcessSpec COMMAND = ProcessSpec.of("ls");

  private static ImageConfig image(String stopSignal) {
    return ImageConfig.builder(Platform.LINUX_AMD64)
        .environment(List.of("PATH=/bin", "A=image", "B=image", "C=image"))
        .entrypoint(List.of("entry"))
        .command(List.of("cmd"))
        .workingDirectory("/image")
        .user("image")
        .stopSignal(stopSignal)
        .build();
  }

  private static ImageConfig emptyImage() {
    return ImageConfig.builder(Platform.LINUX_AMD64).environment(List.of("no-variable")).build();
  }

  private static ProcessPlan plan(SandboxSpec.Builder spec, ImageConfig image) {
    return new ProcessPlan(spec.build(), image, new SeccompFilters("6.1.0", option -> false));
  }

  private static SandboxSpec.Builder spec() {
    return FakeNacelle.spec();
  }

  private static List<String> arguments(SandboxSpec.Builder spec, ProcessSpec process) {
    return plan(spec, image("")).request(process, false).arguments();
  }

  @Test
  void whatNobodySaysIsTheImages() {
    var request = plan(spec(), image("")).request(COMMAND, false);
    assertEquals(List.of("PATH=/bin", "A=image", "B=image", "C=image"), request.environment());
    assertEquals("/image", request.workingDirectory());
    assertEquals("image", request.user());
  }

  @Test
  void whatTheImageDoesNotSayIsTheEnginesDefault() {
    var request = plan(spec(), emptyImage()).request(COMMAND, false);
    assertEquals(
        List.of("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        request.environment());
    assertEquals("/", request.workingDirectory());
    assertEquals("", request.user());
    assertEquals(0, request.stopSignal());
  }

  @Test
  void theSandboxOverridesTheImageAndTheProcessBoth() {
    SandboxSpec.Builder spec =
        spec()
            .environment("B", "sandbox")
            .environment("C", "sandbox")
            .user("sandbox")
            .workingDirectory("/sandbox");
    var request = plan(spec, image("")).request(COMMAND, false);
    assertEquals(List.of("PATH=/bin", "A=image", "B=sandbox", "C=sandbox"), request.environment());
    assertEquals("/sandbox", request.workingDirectory());
    assertEquals("sandbox", request.user());

    ProcessSpec own =
        ProcessSpec.builder("ls")
            .environment("C", "process")
            .user("process")
            .workingDirectory("/process")
            .build();
    request = plan(spec, image("")).request(own, false);
    assertEquals(List.of("PATH=/bin", "A=image", "B=sandbox", "C=process"), request.environment());
    assertEquals("/process", request.workingDirectory());
    assertEquals("process", request.user());
  }

  @Test
  void anEntrypointRunsWithTheImagesCmdOrTheArguments() {
    assertEquals(List.of("entry", "cmd"), arguments(spec(), ENTRYPOINT));
    assertEquals(List.of("entry", "x"), arguments(spec(), ProcessSpec.entrypoint("x").build()));
    assertEquals(List.of("entry", "y"), arguments(spec().command("y"), ENTRYPOINT));
    assertEquals(List.of("entry"), arguments(spec().command(), ENTRYPOINT));
  }

  @Test
  void anEntrypointOfTheSandboxsTakesTheImagesCmdWithIt() {
    assertEquals(List.of("own"), arguments(spec().entrypoint("own"), ENTRYPOINT));
    assertEquals(List.of("own", "y"), arguments(spec().entrypoint("own").command("y"), ENTRYPOINT));
    assertEquals(List.of("sh"), arguments(spec().entrypoint().command("sh"), ENTRYPOINT));
  }

  @Test
  void nothingToRunIsAnErrorThatNamesTheImage() {
    ProcessPlan plan = plan(spec(), emptyImage());
    ProcessException e =
        assertThrows(ProcessException.class, () -> plan.request(ENTRYPOINT, false));
    assertTrue(e.getMessage().contains("oci:" + Path.of("/fake")), e::getMessage);
  }

  @Test
  void anEntrypointIsStoppedByTheImagesSignalAndOthersBySigterm() {
    ProcessPlan plan = plan(spec(), image("SIGQUIT"));
    assertEquals(Signal.QUIT, plan.stopSignal(ENTRYPOINT));
    assertEquals(Signal.QUIT.number(), plan.request(ENTRYPOINT, false).stopSignal());
    assertEquals(Signal.TERM, plan.stopSignal(COMMAND));
    assertEquals(0, plan.request(COMMAND, false).stopSignal());
  }

  @Test
  void theStopSignalIsTheProcesssThenTheSandboxsThenTheImages() {
    ProcessPlan plan = plan(spec().stopSignal(Signal.INT), image("SIGQUIT"));
    assertEquals(Signal.INT, plan.stopSignal(ENTRYPOINT));
    ProcessSpec own = ProcessSpec.entrypoint().stopSignal(Signal.USR1).build();
    assertEquals(Signal.USR1, plan.stopSignal(own));
    assertEquals(Signal.TERM, plan.stopSignal(COMMAND));
  }

  @Test
  void aStopSignalThatThereIsNotIsSigterm() {
    assertEquals(Signal.TERM, plan(spec(), image("SIGNONE")).stopSignal(ENTRYPOINT));
  }

  @Test
  void anEntrypointIsPidOneUnlessTheSandboxHasAnInit() {
    assertTrue(plan(spec(), image("")).request(ENTRYPOINT, false).pidOne());
    assertFalse(plan(spec(), image("")).request(COMMAND, false).pidOne());
    assertFalse(plan(spec().init(true), image("")).request(ENTRYPOINT, false).pidOne());
  }

  private static Outputs outputs(ProcessSpec.Builder process) {
    return plan(spec(), image("")).request(process.build(), false).outputs();
  }

  @Test
  void theGuestMergesAndDropsOutputsAndATerminalsAreOne() {
    assertEquals(Outputs.APART, outputs(ProcessSpec.builder("a")));
    var merged = ProcessSpec.builder("a").mergeStderr(true).discard(StandardStream.STDERR);
    assertEquals(new Outputs(true, false, false), outputs(merged));
    assertEquals(new Outputs(true, true, false), outputs(merged.discard(StandardStream.STDOUT)));
    var terminal = merged.terminal(TerminalSize.DEFAULT);
    assertEquals(new Outputs(false, true, false), outputs(terminal));
    var apart = ProcessSpec.builder("a").discard(StandardStream.STDERR);
    assertEquals(new Outputs(false, false, true), outputs(apart));
  }

  private static ImageConfig image(List<String> env, String workingDir, String user) {
    return ImageConfig.builder(Platform.LINUX_AMD64)
        .environment(env)
        .entrypoint(List.of("entry"))
        .workingDirectory(workingDir)
        .user(user)
        .build();
  }

  private static void assertRefused(String words, SandboxSpec.Builder spec, ImageConfig image) {
    var refusal = assertThrows(NacelleException.class, () -> plan(spec, image).checkImage());
    assertEquals(Stage.IMAGE, refusal.stage());
    assertTrue(
        refusal.getMessage().contains(words)
            && refusal.getMessage().contains(String.valueOf(FakeNacelle.spec().build().image())),
        refusal::getMessage);
  }

  @Test
  void whatAnImageSaysHasBoundsUnlessItIsOverridden() {
    plan(spec(), image("")).checkImage();
    ImageConfig deep = image(List.of(), "/" + "x".repeat(4095), "");
    assertRefused("the WorkingDir has 4096 bytes", spec(), deep);
    plan(spec().workingDirectory("/"), deep).checkImage();
    ImageConfig nobody = image(List.of(), "", "u".repeat(513));
    assertRefused("the User has 513 bytes", spec(), nobody);
    plan(spec().user("0"), nobody).checkImage();
    ImageConfig lost = image(List.of("PATH=" + ":".repeat(256)), "", "");
    assertRefused("the variable PATH has more than 256 directories", spec(), lost);
    plan(spec().environment("PATH", "/bin"), lost).checkImage();
    assertRefused(
        "the variable A has", spec(), image(List.of("A=" + "x".repeat(128 << 10)), "", ""));
    assertRefused(
        "65538 arguments and variables",
        spec(),
        image(IntStream.range(0, 1 << 16).mapToObj(i -> "V" + i + "=").toList(), "", ""));
  }

  @Test
  void whatAProcessGetsInAllHasABound() {
    String large = "x".repeat(100_000);
    ProcessSpec.Builder process = ProcessSpec.builder("ls");
    SandboxSpec.Builder spec = spec();
    for (int i = 0; i < 12; i++) {
      process.environment("P" + i, large);
      spec.environment("S" + i, large);
    }
    ProcessPlan plan = plan(spec, image(""));
    plan.checkImage();
    var refusal = assertThrows(ProcessException.class, () -> plan.request(process.build(), false));
    assertTrue(refusal.getMessage().contains("more than 2097152"), refusal::getMessage);
    assertFalse(refusal.getMessage().contains("xx"), "a variable may be a secret");
  }

  @Test
  void whatAProcessMayDoIsTheSandboxsUnlessItSaysOtherwise() {
    ProcessSecurity sandboxs = ProcessSecurity.builder().noNewPrivileges(true).build();
    ProcessPlan plan = plan(spec().security(sandboxs), image(""));
    Confinement confinement = plan.request(COMMAND, false).confinement();
    assertEquals(sandboxs, confinement.security());
    assertTrue(confinement.filter().size() > 0);
    ProcessSpec own = COMMAND.toBuilder().security(ProcessSecurity.PRIVILEGED).build();
    assertEquals(0, plan.request(own, false).confinement().filter().size());
  }
}
