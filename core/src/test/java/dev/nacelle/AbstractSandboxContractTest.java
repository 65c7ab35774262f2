// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.container.Capabilities;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Device;
import dev.nacelle.container.IdMapping;
import dev.nacelle.container.Mount;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.ResourceLimit;
import dev.nacelle.container.TimeNamespace;
import dev.nacelle.container.UserNamespace;
import dev.nacelle.files.FileInfo;
import dev.nacelle.files.TransferProgress;
import dev.nacelle.files.TreeCopy;
import dev.nacelle.files.WriteOptions;
import dev.nacelle.image.ImageConfig;
import dev.nacelle.image.testing.MountedImage;
import dev.nacelle.image.testing.Tool;
import dev.nacelle.internal.OpenFiles;
import dev.nacelle.kernel.store.TestKernels;
import dev.nacelle.oci.OciBundle;
import dev.nacelle.oci.OciRuntime;
import dev.nacelle.oci.OciState;
import dev.nacelle.spi.ContractGuest;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * All that a user may rely on of a sandbox: what {@link AbstractKernelContractTest} has, and what
 * is the host's or the agent's doing whatever the kernel. Each hypervisor's tests extend it for one
 * kernel of Debian's and one of our own.
 */
public abstract class AbstractSandboxContractTest extends AbstractKernelContractTest {
  /**
   * @param kernel as {@link dev.nacelle.kernel.KernelRef#parse} takes it
   */
  protected AbstractSandboxContractTest(String kernel, int cpus) {
    super(kernel, cpus);
  }

  /** Whether the host gets back what a guest has deleted from its disk. */
  protected boolean disksShrink() {
    return true;
  }

  @Test
  void hasTheHostNameThatWasAskedFor() {
    assertEquals("box\n", output("uname", "-n"));
  }

  @Test
  void withoutANetworkThereIsLocalhostAlone() {
    String devices = output("sh", "-c", "busybox cut -d: -f1 /proc/net/dev | busybox tail -n +3");
    assertFalse(devices.contains("tun"), devices);
    assertTrue(devices.contains("lo"), devices);
    assertEquals("", output("sh", "-c", "busybox tail -n +2 /proc/net/route"));
    assertEquals("box\n", output("sh", "-c", "echo $HOSTNAME"));
    assertTrue(output("cat", "/etc/hosts").endsWith("127.0.1.1\tbox\n"));
    assertEquals("# No name servers: there is no network.\n", output("cat", "/etc/resolv.conf"));
    assertThrows(IllegalStateException.class, sandbox::network);
  }

  @Test
  void environmentWorkingDirectoryAndUserAreTheImages() {
    assertEquals(
        "blue /srv app apps\n", output("sh", "-c", "echo $COLOUR $(pwd) $(id -un) $(id -gn)"));
  }

  @Test
  void environmentWorkingDirectoryAndUserCanBeOverridden() {
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("sh", "-c", "echo $COLOUR $(pwd) $(id -u)")
                .environment("COLOUR", "red")
                .workingDirectory("/tmp")
                .user("0")
                .build());
    assertEquals("red /tmp 0\n", result.stdout().text());
  }

  @Test
  void userHasTheGroupsOfTheImage() {
    assertEquals("1001 29\n", output("id", "-G"));
    ProcessSpec spec = ProcessSpec.builder("id", "-G").user("app:0").build();
    assertEquals("0\n", sandbox.exec(spec).stdout().text());
  }

  @Test
  void workingDirectoryThatIsNotThereIsCreated() {
    ProcessSpec spec =
        ProcessSpec.builder("sh", "-c", "pwd; touch file")
            .workingDirectory("/srv/a/b")
            .user("0")
            .build();
    assertEquals("/srv/a/b\n", sandbox.exec(spec).stdout().text());
  }

  @Test
  void whatTheImageSaysCanBeRead() {
    ImageConfig config = sandbox.info().imageConfig();
    assertEquals(Optional.of("SIGUSR1"), config.stopSignal());
    assertEquals(Map.of("maker", "tests"), config.labels());
    assertEquals(Set.of("/srv/data"), config.volumes());
    assertEquals(Set.of("80/tcp"), config.exposedPorts());
  }

  @Test
  void whatTheImageSaysCanBeOverriddenForTheSandbox() throws IOException {
    try (GuestProcess process = other.start(ProcessSpec.entrypoint().build())) {
      String expected = "green /made 0 29\n";
      byte[] line = process.stdout().readNBytes(expected.length());
      assertEquals(expected, new String(line, StandardCharsets.UTF_8));
      assertEquals(9, process.stop(Duration.ofMinutes(10)).exitCode());
      assertEquals(
          "stopped\n", new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  @Test
  void processesHaveDockersSystemCallsUnlessTheySayOtherwise() {
    String script = "grep Seccomp: /proc/self/status; unshare -m true && echo unshared";
    ProcessSpec process = ProcessSpec.builder("sh", "-c", script).user("0").build();
    assertEquals("Seccomp:\t2\n", sandbox.exec(process).stdout().text());
    ProcessSpec free = process.toBuilder().security(ProcessSecurity.PRIVILEGED).build();
    assertEquals("Seccomp:\t0\nunshared\n", sandbox.exec(free).stdout().text());
  }

  @Test
  void processesHaveTheLimitsAndPrivilegesThatWereAskedFor() {
    ProcessSecurity security =
        ProcessSecurity.builder()
            .capabilities(Capabilities.DOCKER.minus(Capability.CHOWN))
            .noNewPrivileges(true)
            .limit(ResourceLimit.Resource.NOFILE, new ResourceLimit(77, 1 << 20))
            .oomScoreAdj(-500)
            .umask(077)
            .additionalGroups(List.of(4242L))
            .build();
    String script =
        "ulimit -Sn; ulimit -Hn; cat /proc/self/oom_score_adj; umask; id -G;"
            + " grep -c 'NoNewPrivs:.1' /proc/self/status; chown 7 /etc/passwd 2> /dev/null || echo no";
    ProcessSpec process =
        ProcessSpec.builder("sh", "-c", script).user("0:0").security(security).build();
    assertEquals("77\n1048576\n-500\n0077\n0 4242\n1\nno\n", sandbox.exec(process).stdout().text());
  }

  @Test
  void containerHasTheNamespacesAndCgroupFilesThatWereAskedFor() {
    List<IdMapping> mappings = List.of(new IdMapping(0, 0, 1), new IdMapping(1, 100_001, 5000));
    ContainerSpec container =
        ContainerSpec.builder()
            .ownNetwork(true)
            .userNamespace(new UserNamespace(mappings, mappings))
            .timeNamespace(new TimeNamespace(Duration.ofDays(1), Duration.ofDays(400)))
            .cgroupFile("cpu.max", "50000 100000")
            .cgroupFile("cpuset.cpus", "0")
            .build();
    try (Sandbox own = nacelle.start(spec().container(container).build())) {
      String script =
          "id -u; tr -s ' ' < /proc/self/uid_map; ls /sys/class/net; cat /sys/fs/cgroup/cpu.max"
              + " /sys/fs/cgroup/cpuset.cpus; test $(cut -d . -f 1 /proc/uptime) -gt 34560000 && echo old";
      ProcessSpec process =
          ProcessSpec.builder("sh", "-c", script).user("0").workingDirectory("/").build();
      assertEquals(
          "0\n 0 0 1\n 1 100001 5000\nlo\n50000 100000\n0\nold\n",
          own.exec(process).orThrow().stdout().text());
    }
  }

  @Test
  void bundleRunsFromItsCreationToItsEnd(@TempDir Path bundle) throws IOException {
    Path root = bundle.resolve("rootfs");
    for (String directory : List.of("bin", "proc", "dev", "sys", "tmp", "srv")) {
      Files.createDirectories(root.resolve(directory));
    }
    Files.copy(Path.of("/bin/busybox"), root.resolve("bin/busybox"));
    Files.createSymbolicLink(root.resolve("bin/sh"), Path.of("busybox"));
    Files.writeString(root.resolve("srv/file"), "copied\n");
    String json =
        "{'ociVersion':'1.2.0','root':{'path':'rootfs','readonly':true},'hostname':'bundled',"
            + "'annotations':{'made':'here'},"
            + "'process':{'cwd':'/tmp','args':['sh','-c','"
            + "busybox cat /tmp/hook /srv/file; busybox hostname; busybox id -u; echo $$;"
            + " busybox grep -c NoNewPrivs:.1 /proc/self/status; busybox sleep 1000'],"
            + "'env':['PATH=/bin'],'user':{'uid':7,'gid':8},'noNewPrivileges':true},"
            + "'hooks':{'createContainer':[{'path':'/bin/sh','args':['sh','-c','"
            + "busybox grep -o creating > /tmp/hook'],'env':['PATH=/bin']}],"
            + "'startContainer':[{'path':'/bin/sh','args':['sh','-c','"
            + "busybox grep -o created >> /tmp/hook; echo x >> /srv/file'],'env':['PATH=/bin']}]},"
            + "'mounts':[{'destination':'/proc','type':'proc','source':'proc'},"
            + "{'destination':'/tmp','type':'tmpfs','source':'tmpfs','options':['size=64k']},"
            + "{'destination':'/srv','type':'tmpfs','options':['size=64k','tmpcopyup']}],"
            + "'linux':{'namespaces':[{'type':'pid'},{'type':'mount'},{'type':'network'}]}}";
    Files.writeString(bundle.resolve("config.json"), json.replace('\'', '"'));
    OciRuntime runtime = new OciRuntime(nacelle);
    runtime.create(
        "bundled",
        OciBundle.read(bundle),
        spec -> {
          SandboxSpec usual = spec().build();
          return spec.kernel(usual.kernel())
              .memory(usual.memory())
              .startTimeout(usual.startTimeout());
        });
    assertEquals(OciState.Status.CREATED, runtime.state("bundled").status());
    assertEquals(OptionalLong.of(1), runtime.state("bundled").pid());
    GuestProcess process = runtime.start("bundled");
    String expected = "creating\ncreated\ncopied\nx\nbundled\n7\n1\n1\n";
    assertEquals(
        expected,
        new String(process.stdout().readNBytes(expected.length()), StandardCharsets.UTF_8));
    assertEquals(OciState.Status.RUNNING, runtime.state("bundled").status());
    runtime.kill("bundled", Signal.KILL);
    assertEquals(Optional.of(Signal.KILL), process.waitFor().signal());
    assertEquals(OciState.Status.STOPPED, runtime.state("bundled").status());
    runtime.delete("bundled");
  }

  @Test
  void aHeldProcessIsSeenBeforeItRunsAndMayBeEnded() throws Exception {
    HeldProcess held =
        sandbox.hold(ProcessSpec.builder("busybox", "sleep", "1000").user("7").build());
    ProcessSpec look =
        ProcessSpec.builder("busybox", "grep", "-c", "^Uid:.7.7", "/proc/" + held.pid() + "/status")
            .user("0")
            .build();
    assertEquals("1\n", sandbox.exec(look).orThrow().stdout().text());
    held.signal(Signal.TERM);
    assertEquals(Optional.of(Signal.TERM), held.onExit().get().signal());
    try (HeldProcess other = sandbox.hold(ProcessSpec.of("busybox", "cat"))) {
      GuestProcess process = other.release();
      process.stdin().write("text\n".getBytes(StandardCharsets.UTF_8));
      process.stdin().close();
      assertEquals("text\n", new String(process.stdout().readAllBytes(), StandardCharsets.UTF_8));
    }
  }

  @Test
  void privilegedSandboxCanDoWhatItsMachineCan() {
    try (Sandbox own = nacelle.start(spec().privileged().build())) {
      String script =
          "mkdir /mnt; mount -t tmpfs none /mnt && echo mounted; mkdir /sys/fs/cgroup/own && echo grouped;"
              + " mknod /null c 1 3 && echo x > /null && echo opened; test -b /dev/vda && echo disks;"
              + " echo 1 > /proc/sys/kernel/printk && echo written";
      ProcessSpec process =
          ProcessSpec.builder("sh", "-c", script).user("0").workingDirectory("/").build();
      assertEquals(
          "mounted\ngrouped\nopened\ndisks\nwritten\n",
          own.exec(process).orThrow().stdout().text());
    }
  }

  @Test
  void aPrivilegedWorkloadHoldsUpNobodyAndItsPressureIsTold() throws Exception {
    SandboxSpec spec = spec().cpus(1).privileged().user("0").kernelModules("fuse").build();
    try (Sandbox own = nacelle.start(spec)) {
      assertThatItsFilesystemStallsCallsOnItAlone(own);
      assertThatItsKernelsLogHoldsUpNobody(own);
      assertThatItsPressureIsTold(own);
    }
  }

  private static void assertThatItsFilesystemStallsCallsOnItAlone(Sandbox own) throws Exception {
    String mount =
        "mkdir /silent; exec 3<> /dev/fuse; busybox mount -t fuse"
            + " -o fd=3,rootmode=40000,user_id=0,group_id=0 none /silent; echo mounted;"
            + " exec sleep 86410";
    try (GuestProcess server = own.start("sh", "-c", mount)) {
      assertEquals("mounted\n", new String(server.stdout().readNBytes(8), UTF_8));
      GuestFiles files = own.files();
      CompletableFuture<byte[]> read = new CompletableFuture<>();
      Thread reader =
          new Thread(
              () -> {
                try {
                  read.complete(files.read("/silent/file"));
                } catch (RuntimeException e) {
                  read.completeExceptionally(e);
                }
              });
      reader.start();
      GuestFiles hasty = files.withTimeout(Duration.ofMillis(200));
      FileException late = assertThrows(FileException.class, () -> hasty.info("/silent/file"));
      assertEquals(FileException.Reason.TIMED_OUT, late.reason());
      files.write("/tmp/meanwhile", "meanwhile".getBytes(UTF_8));
      assertEquals("meanwhile", new String(files.read("/tmp/meanwhile"), UTF_8));
      assertEquals("still\n", own.exec("echo", "still").stdout().text());
      assertFalse(read.isDone());
      reader.interrupt();
      reader.join();
      assertTrue(
          assertThrows(ExecutionException.class, read::get).getCause()
              instanceof InterruptedOperationException);
      assertTrue(server.isAlive());
    }
  }

  private void assertThatItsKernelsLogHoldsUpNobody(Sandbox own) throws IOException {
    // The kernel's own bound for who writes to its log would hide ours.
    String script =
        "echo on > /proc/sys/kernel/printk_devkmsg; mknod /tmp/log c 1 11; mknod /tmp/screen c 5 1";
    own.exec("sh", "-c", script).orThrow();
    try (GuestProcess log = flood(own, "<0>flood of the log", "/tmp/log");
        GuestProcess quiet = flood(own, "<7>flood that is not shown", "/tmp/log");
        GuestProcess screen = flood(own, "flood of the console", "/tmp/screen")) {
      String console = own.console();
      while (!console.contains("flood of the log") || !console.contains("flood of the console")) {
        assertEquals("still\n", own.exec("echo", "still").stdout().text());
        console = own.console();
      }
      assertEquals("still\n", output("echo", "still"));
      answer(own::guestStatistics);
      own.files().write("/tmp/meanwhile", "meanwhile".getBytes(UTF_8));
      assertEquals("meanwhile", new String(own.files().read("/tmp/meanwhile"), UTF_8));
      assertTrue(own.console().length() <= 64 << 10, () -> "console: " + own.console().length());
      for (GuestProcess process : List.of(log, quiet, screen)) {
        assertTrue(process.isAlive());
        assertEquals(Signal.KILL, process.stop(Duration.ZERO).signal().orElseThrow());
      }
    }
    assertEquals("still\n", own.exec("echo", "still").stdout().text());
  }

  /** Asks again while a guest that is busy does not answer in the time that it has for it. */
  private static <T> T answer(Supplier<T> question) {
    long end = System.nanoTime() + Duration.ofMinutes(1).toNanos();
    while (true) {
      try {
        return question.get();
      } catch (ProcessException e) {
        boolean late = e.getMessage().startsWith("The guest did not answer in time");
        if (!late || System.nanoTime() > end) {
          throw e;
        }
      }
    }
  }

  /** A line after the other, each of which is a write, for ever. */
  private static GuestProcess flood(Sandbox sandbox, String line, String file) {
    return sandbox.start("sh", "-c", "while :; do echo '" + line + "'; done > " + file);
  }

  private void assertThatItsPressureIsTold(Sandbox own) throws Exception {
    // Who is above memory.high has to wait, the longer the further.
    String hog =
        "cd /sys/fs/cgroup && mkdir hog && echo 8388608 > hog/memory.high"
            + " && echo 0 > hog/cgroup.procs && exec busybox tail /dev/zero";
    try (GuestProcess process = own.start("sh", "-c", hog)) {
      // That of its disk may rise before.
      SandboxEvent.PressureRose rose =
          awaitEvent(
              own,
              SandboxEvent.PressureRose.class,
              event -> event.resource() == SandboxEvent.Resource.MEMORY);
      assertTrue(rose.pressure().some().total().compareTo(Duration.ofMillis(300)) >= 0);
      process.stop(Duration.ZERO);
    }
  }

  @Test
  void containerHasTheMountsAndDevicesThatWereAskedFor() {
    ContainerSpec container =
        ContainerSpec.builder()
            .readOnlyRoot(true)
            .mount(Mount.tmpfs("/data/a", 1 << 20))
            .mount(Mount.bind("/etc", "/data/etc", "ro"))
            .mount(Mount.filesystem("proc", "/proc", "nosuid", "hidepid=2"))
            .device(Device.character("/dev/other", 1, 5).withMode(0640))
            .maskedPaths(List.of("/srv"))
            .domainname("example.com")
            .build();
    try (Sandbox own = nacelle.start(spec().container(container).build())) {
      String script =
          "touch /x 2> /dev/null || echo read-only; touch /data/a/x && ls /data/a;"
              + " cmp /etc/passwd /data/etc/passwd && echo same; ls /srv;"
              + " grep -m1 -o hidepid.* /proc/mounts; head -c 2 /dev/other | wc -c;"
              + " cat /proc/sys/kernel/domainname";
      ProcessSpec process =
          ProcessSpec.builder("sh", "-c", script).user("0").workingDirectory("/").build();
      String output =
          own.exec(process).orThrow().stdout().text().replace("hidepid=2", "hidepid=invisible");
      assertEquals("read-only\nx\nsame\nhidepid=invisible 0 0\n2\nexample.com\n", output);
    }
  }

  @Test
  void dataDisksAreMountedKeptAndShared(@TempDir Path directory) throws IOException {
    Path tree = Files.createDirectories(directory.resolve("tree"));
    Files.createDirectory(tree.resolve("d"));
    Files.writeString(tree.resolve("d/file"), "content\n");
    Path image = directory.resolve("kept.img");
    DataDisk copy = DataDisk.of(tree).withFreeSpace(DataSize.mebibytes(8));
    DataDisk kept = nacelle.makeDisk(copy, image);
    SandboxSpec spec =
        spec()
            .privileged()
            .dataDisk("/ro", copy.readOnly())
            .dataDisk("/deep/er", copy.withOwner(1000, 1001))
            .dataDisk("/empty", DataDisk.empty(DataSize.mebibytes(16)))
            .dataDisk("/kept", kept)
            .build();
    try (Sandbox own = nacelle.start(spec)) {
      // Neither the filesystem nor the device is to be had for writing.
      String script =
          "cat /ro/d/file /kept/d/file; ls -A /empty; busybox stat -c %U:%G /deep/er/d/file;"
              + " device=$(grep ' /ro ' /proc/mounts | cut -d ' ' -f 1); exec 2> /dev/null;"
              + " (echo x > /ro/x) || echo no; mount -o remount,rw /ro || echo no;"
              + " dd if=/dev/zero of=$device bs=4096 count=1 || echo no; echo new > /kept/new;"
              + " echo more >> /deep/er/d/file; mkdir /empty/e; ls /empty;"
              + " dd if=/dev/zero of=/empty/fill bs=65536 || echo full";
      ProcessSpec process =
          ProcessSpec.builder("sh", "-c", script).user("0").workingDirectory("/").build();
      assertEquals(
          "content\ncontent\napp:apps\nno\nno\nno\ne\nfull\n",
          own.exec(process).orThrow().stdout().text());
    }
    assertEquals("content\n", Files.readString(tree.resolve("d/file")));
    MountedImage.check(image);
    SandboxSpec reader =
        spec().dataDisk("/kept", kept.readOnly()).workingDirectory("/").user("0").build();
    try (Sandbox one = nacelle.start(reader);
        Sandbox two = nacelle.start(reader)) {
      for (Sandbox either : List.of(one, two)) {
        ExecResult read = either.exec("sh", "-c", "cat /kept/new; echo x > /kept/new");
        assertEquals("new\n", read.stdout().text());
        assertTrue(read.stderr().text().contains("Read-only file system"), read::toString);
      }
    }
  }

  @Test
  void aDiskThatIsKeptIsWholeAgainAfterItsSandboxWasKilled(@TempDir Path directory)
      throws IOException {
    Path image = directory.resolve("kept.img");
    DataDisk kept = nacelle.makeDisk(DataDisk.empty(DataSize.mebibytes(16)), image);
    SandboxSpec spec = spec().dataDisk("/kept", kept).workingDirectory("/").user("0").build();
    try (Sandbox own = nacelle.start(spec)) {
      own.exec("sh", "-c", "mkdir /kept/d; seq 10000 > /kept/d/n; busybox sync").orThrow();
      own.kill();
      own.onExit().join();
    }
    SandboxSpec reader = spec().dataDisk("/kept", kept.readOnly()).build();
    ImageException e = assertThrows(ImageException.class, () -> nacelle.start(reader));
    assertEquals(ImageException.Reason.DAMAGED, e.reason());
    try (Sandbox own = nacelle.start(spec)) {
      assertEquals("10000\n", own.exec("sh", "-c", "tail -n 1 /kept/d/n").stdout().text());
    }
    MountedImage.check(image);
  }

  @Test
  void filesGoInAndComeOut(@TempDir Path directory) throws IOException {
    GuestFiles files = sandbox.files();
    byte[] content = new byte[300_017];
    new Random(5).nextBytes(content);
    files.makeDirectories("/tmp/files/d");
    files.write(
        "/tmp/files/d/large",
        content,
        WriteOptions.builder().permissions(0640).owner(1000, 1001).atomic(true).build());
    assertEquals(
        "640 app:apps 300017\n",
        output("busybox", "stat", "-c", "%a %U:%G %s", "/tmp/files/d/large"));
    assertArrayEquals(content, files.read("/tmp/files/d/large"));
    assertEquals(
        List.of("large"), files.list("/tmp/files/d").stream().map(FileInfo::name).toList());

    // Beyond 4 GiB, of which some pages are there.
    asRoot(
        "cd /tmp/files; echo first > sparse; truncate -s 5G sparse; ln sparse hard;"
            + " put() { dd of=sparse bs=1 seek=$1 conv=notrunc 2> /dev/null; };"
            + (" echo across 4 GiB | put " + ACROSS + "; echo last | put " + LAST));
    FileInfo sparse = files.info("/tmp/files/sparse");
    assertEquals(5L << 30, sparse.size());
    assertTrue(sparse.allocated() <= 1 << 20, sparse::toString);
    files.read("/tmp/files/sparse", directory.resolve("sparse"));
    assertSparse(directory.resolve("sparse"));

    Path archive = directory.resolve("files.tar");
    try (InputStream tar = files.openTar("/tmp/files")) {
      Files.copy(tar, archive);
    }
    assertTrue(Files.size(archive) < 2 << 20, () -> archive + " has zeros for holes");
    Tool.script(directory, "mkdir tar; tar -xf files.tar -C tar --no-same-owner");
    assertSparse(directory.resolve("tar/sparse"));
    try (InputStream tar = Files.newInputStream(archive)) {
      files.writeTar("/tmp/again", tar);
    }
    FileInfo back = files.info("/tmp/again/sparse");
    assertEquals(5L << 30, back.size());
    assertTrue(back.allocated() <= 1 << 20, back::toString);
    files.removeTree("/tmp/again");

    asRoot("cd /tmp/files; ln -s d/large link; ln -s /etc/shadow out; mkfifo fifo");
    Path tree = directory.resolve("tree");
    TreeCopy copy = files.readTree("/tmp/files", tree);
    assertEquals(2, copy.skippedCount(), copy::toString);
    assertEquals(Path.of("d/large"), Files.readSymbolicLink(tree.resolve("link")));
    assertEquals(2, Files.getAttribute(tree.resolve("hard"), "unix:nlink"));
    assertArrayEquals(content, Files.readAllBytes(tree.resolve("d/large")));
    // An archive says where its holes are; of a file here they have to be read, which takes long.
    assertSparse(tree.resolve("sparse"));
    Tool.run(directory, "tar", "--sparse", "--format=posix", "-cf", "archive", "sparse");
    try (InputStream tar = Files.newInputStream(directory.resolve("archive"))) {
      files.writeTar("/tmp/again", tar);
    }
    FileInfo again = files.info("/tmp/again/sparse");
    assertEquals(5L << 30, again.size());
    assertTrue(again.allocated() <= 1 << 20, again::toString);
    assertEquals(
        "first\nacross 4 GiB\nlast\n",
        asRoot(
            "cd /tmp/again; get() { dd if=sparse bs=1 skip=$1 count=$2 2> /dev/null; };"
                + (" get 0 6; get " + ACROSS + " 13; get " + LAST + " 5")));
    try (FileChannel file = FileChannel.open(tree.resolve("sparse"), StandardOpenOption.WRITE)) {
      FileChannel ignored = file.truncate(4 << 20);
    }
    files.writeTree("/tmp/copy/of", tree, 1000, 1001);
    assertEquals(
        "app 4194304 2 d/large\n",
        asRoot("cd /tmp/copy/of; stat -c '%U %s %h' hard | tr '\\n' ' '; readlink link"));
    try (InputStream tar = files.openTar("/tmp/files/d")) {
      files.writeTar("/tmp/again", tar);
    }
    assertEquals("same\n", asRoot("cmp /tmp/files/d/large /tmp/again/large && echo same"));
    for (String directoryToGo : List.of("/tmp/files", "/tmp/copy", "/tmp/again")) {
      files.removeTree(directoryToGo);
      assertFalse(files.exists(directoryToGo));
    }
  }

  /** Of which a part is told of before the end. */
  private static final int TOLD_BYTES = (1 << 20) + 200_000;

  @Test
  void filesThatComeAndGoAreToldOf(@TempDir Path directory) throws IOException {
    byte[] content = new byte[TOLD_BYTES];
    new Random(6).nextBytes(content);
    Path sent = Files.write(directory.resolve("sent"), content);
    Path received = directory.resolve("received");
    List<TransferProgress> told = new ArrayList<>();
    GuestFiles files = sandbox.files().withListener(told::add);
    files.write("/tmp/told", sent);
    assertProgress(told);
    told.clear();
    files.read("/tmp/told", received);
    assertProgress(told);
    assertEquals(-1, Files.mismatch(sent, received));
    files.remove("/tmp/told");
  }

  private static void assertProgress(List<TransferProgress> told) {
    assertTrue(told.size() >= 2, told::toString);
    for (int i = 1; i < told.size(); i++) {
      assertTrue(told.get(i).bytes() >= told.get(i - 1).bytes(), told::toString);
    }
    assertTrue(told.get(0).bytes() > 0 && told.get(0).bytes() < TOLD_BYTES, told::toString);
    TransferProgress last = TransferProgress.of("/tmp/told", 1, TOLD_BYTES, TOLD_BYTES);
    assertEquals(last, told.get(told.size() - 1));
  }

  /** Where content begins in the sparse file that lies on both sides of 4 GiB, and at its end. */
  private static final long ACROSS = (4L << 30) - 6;

  private static final long LAST = (5L << 30) - 5;

  private static void assertSparse(Path file) throws IOException {
    try (FileChannel content = FileChannel.open(file)) {
      assertEquals(5L << 30, content.size());
      assertEquals("first\n\0\0", at(content, 0, 8));
      assertEquals("\0across 4 GiB\n\0", at(content, ACROSS - 1, 15));
      assertEquals("\0last\n", at(content, LAST - 1, 6));
      // What the first and the last would be at, were offsets cut to 32 bits.
      assertEquals("\0".repeat(32), at(content, (1L << 30) - 16, 32));
      assertEquals("\0".repeat(32), at(content, (4L << 30) + 4096, 32));
    }
  }

  private static String at(FileChannel file, long offset, int length) throws IOException {
    ByteBuffer bytes = ByteBuffer.allocate(length);
    while (bytes.hasRemaining() && file.read(bytes, offset + bytes.position()) >= 0) {}
    return new String(bytes.array(), 0, bytes.position(), UTF_8);
  }

  @Test
  void filesAreTheContainersAlone() {
    GuestFiles files = sandbox.files();
    asRoot("ln -s /proc/1/root/etc/passwd /tmp/magic; ln -s ../../../../etc/passwd /tmp/up");
    assertArrayEquals(files.read("/etc/passwd"), files.read("/tmp/up"));
    assertThrows(FileException.class, () -> files.read("/tmp/magic"));
    FileException e = assertThrows(FileException.class, () -> files.read("/none"));
    assertEquals(FileException.Reason.NOT_FOUND, e.reason());
    // But for its last MiB by the guest itself: what goes in is slow where its processor is
    // emulated.
    asRoot(
        "dd if=/dev/zero of=/dev/shm/most bs=4096"
            + " count=$(($(busybox stat -f -c %a /dev/shm) - 256)) 2> /dev/null");
    e = assertThrows(FileException.class, () -> files.write("/dev/shm/full", new Endless()));
    assertEquals(FileException.Reason.NO_SPACE, e.reason());
    files.remove("/dev/shm/full");
    files.remove("/dev/shm/most");
  }

  private String asRoot(String script) {
    // The image has not all of them as programs.
    String all =
        "for i in cmp ln mkfifo readlink stat tr truncate; do alias $i=\"busybox $i\"; done\n";
    return sandbox
        .exec(ProcessSpec.builder("sh", "-c", all + script).user("0").build())
        .orThrow()
        .stdout()
        .text();
  }

  private static final class Endless extends InputStream {
    @Override
    public int read() {
      return 1;
    }

    /** At once, for a byte at a time takes most of the test where the processor is emulated. */
    @Override
    public int read(byte[] bytes, int offset, int length) {
      Arrays.fill(bytes, offset, offset + length, (byte) 1);
      return length;
    }
  }

  @Test
  void filesThatFillTheMemoryGetEnospcAndLeaveRoomForProcesses() {
    try (Sandbox own = nacelle.start(spec().memory(DataSize.mebibytes(128)).build())) {
      for (String file : List.of("/tmp/fill", "/dev/shm/fill")) {
        ExecResult full = own.exec("dd", "if=/dev/zero", "of=" + file, "bs=65536");
        assertEquals(1, full.exitCode(), full::toString);
        assertTrue(full.stderr().text().contains("No space left on device"), full::toString);
      }
      assertEquals("still\n", own.exec("echo", "still").stdout().text());
      assertEquals("1\n", own.exec("sh", "-c", "echo 1 | sha256sum | wc -l").stdout().text());
    }
  }

  @Test
  void anEntrypointIsPidOneAndWhatIsStartedMeanwhileJoinsIt() throws IOException {
    assertEquals("1\n", other.exec(ProcessSpec.entrypoint("echo $$").build()).stdout().text());
    try (GuestProcess process =
        other.start(ProcessSpec.entrypoint("echo up; while :; do sleep 0.1; done").build())) {
      byte[] line = process.stdout().readNBytes(3);
      assertEquals("up\n", new String(line, StandardCharsets.UTF_8));
      String comm = other.exec("sh", "-c", "cat /proc/1/comm").stdout().text();
      assertEquals("sh\n", comm);
      // It has no handler, so nothing but SIGKILL ends it.
      ExitStatus killed = process.stop(Duration.ofMillis(100));
      assertEquals(Signal.KILL, killed.signal().orElseThrow());
    }
    assertEquals("init\n", other.exec("sh", "-c", "cat /proc/1/comm").stdout().text());
  }

  @Test
  void fullDiskOfTheHostIsAnErrorInThatGuestAndNothingElse(@TempDir Path small) throws IOException {
    Tool.run(small, "mount", "-t", "tmpfs", "-o", "size=16m", "none", small.toString());
    try (Nacelle other =
            builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(small).build();
        Sandbox own =
            other.start(
                spec().writableLayer(WritableLayer.onDisk(DataSize.gibibytes(4))).build())) {
      ProcessSpec fill =
          ProcessSpec.builder(
                  "dd", "if=/dev/zero", "of=/tmp/fill", "bs=1M", "count=24", "conv=fsync")
              .user("0")
              .build();
      ExecResult failed = own.exec(fill);
      assertEquals(1, failed.exitCode(), failed::toString);
      assertTrue(failed.stderr().text().contains("Input/output error"), failed::toString);
      assertEquals("still\n", output("echo", "still"));
      assertEquals("alive\n", own.exec("echo", "alive").stdout().text());
    } finally {
      Tool.run(small.getParent(), "umount", small.toString());
    }
  }

  @Test
  void whatIsDeletedFromADiskIsTheHostsAgainWhereDisksShrink(@TempDir Path disks)
      throws IOException {
    try (Nacelle other =
            builder().cacheDirectory(TestKernels.CACHE).scratchDirectory(disks).build();
        Sandbox own =
            other.start(
                spec()
                    .memory(DataSize.mebibytes(128))
                    .writableLayer(WritableLayer.onDisk(DataSize.gibibytes(1)))
                    .build())) {
      long before = allocatedBelow(disks);
      // More than the machine has memory.
      String fill = "dd if=/dev/zero of=/tmp/fill bs=1M count=140 conv=fsync";
      ExecResult filled = own.exec(ProcessSpec.builder("sh", "-c", fill).user("0").build());
      assertEquals(0, filled.exitCode(), filled::toString);
      long full = allocatedBelow(disks);
      assertTrue(full - before >= 140 << 20, () -> before + " then " + full);
      ProcessSpec delete = ProcessSpec.builder("busybox", "rm", "/tmp/fill").user("0").build();
      assertEquals(0, own.exec(delete).exitCode());
      long after = allocatedBelow(disks);
      assertEquals(
          disksShrink(), after - before < 10 << 20, () -> before + ", " + full + ", then " + after);
    }
  }

  /** Bytes that the host keeps for the disk there, whether it has a name or none any more. */
  private static long allocatedBelow(Path directory) throws IOException {
    long bytes = 0;
    try (var named = Files.newDirectoryStream(directory)) {
      for (Path file : named) {
        bytes +=
            512 * Long.parseLong(Tool.run(directory, "stat", "-c", "%b", file.toString()).strip());
      }
    }
    for (var open : OpenFiles.descriptors().entrySet()) {
      if (open.getValue().toString().contains(directory + "/scratch-")) {
        String path = "/proc/" + ProcessHandle.current().pid() + "/fd/" + open.getKey();
        String blocks = Tool.run(directory, "stat", "-L", "-c", "%b", path).strip();
        bytes += Long.parseLong(blocks) * 512;
      }
    }
    return bytes;
  }

  @Test
  void entrypointRunsWithTheImagesCommandOrOnesOwn() {
    assertEquals(
        "entrypoint cmd\n", sandbox.exec(ProcessSpec.entrypoint().build()).stdout().text());
    assertEquals(
        "entrypoint own\n", sandbox.exec(ProcessSpec.entrypoint("own").build()).stdout().text());
  }

  @Test
  void stdoutAndStderrAreApart() {
    ExecResult result = sandbox.exec("sh", "-c", "echo out; echo err >&2");
    assertEquals("out\n", result.stdout().text());
    assertEquals("err\n", result.stderr().text());
  }

  @Test
  void mergedOutputsComeInTheOrderInWhichTheyWereWritten() {
    String script = "for i in $(seq 300); do echo out $i; echo err $i >&2; done";
    ProcessSpec spec = ProcessSpec.builder("sh", "-c", script).mergeStderr(true).build();
    StringBuilder expected = new StringBuilder();
    for (int i = 1; i <= 300; i++) {
      expected.append("out ").append(i).append("\nerr ").append(i).append('\n');
    }
    assertEquals(expected.toString(), sandbox.exec(spec).orThrow().stdout().text());
    StringBuilder streamed = new StringBuilder();
    sandbox.exec(spec, (stream, bytes) -> streamed.append(stream).append(new String(bytes, UTF_8)));
    assertEquals(expected.toString(), streamed.toString().replace("STDOUT", ""));
  }

  @Test
  void outputThatNobodyWantsDoesNotLeaveTheGuest() {
    String script =
        "head -c 4000000 /dev/zero; where=$(busybox readlink /proc/$$/fd/1); echo $where >&2";
    ExecResult result =
        sandbox.exec(
            ProcessSpec.builder("sh", "-c", script).discard(StandardStream.STDOUT).build());
    assertEquals(0, result.stdout().length());
    assertEquals("/dev/null\n", result.stderr().text());
    // The device is everybody's, as before.
    assertEquals("0\n", output("busybox", "stat", "-c", "%u", "/dev/null"));
  }

  @Test
  void streamedOutputIsWholeAndItsProcessWaitsForTheConsumer() throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    String[] meanwhile = new String[1];
    ExitStatus status =
        sandbox.exec(
            ProcessSpec.shell("seq 500000; echo done >&2; exit 3"),
            (stream, bytes) -> {
              if (meanwhile[0] == null) {
                // While it has more to say than there is room for.
                meanwhile[0] = output("ps");
              }
              if (stream == StandardStream.STDOUT) {
                digest.update(bytes);
              }
            });
    assertEquals(3, status.exitCode());
    assertTrue(meanwhile[0].contains("seq 500000"), meanwhile[0]);
    String expected = output("sh", "-c", "seq 500000 | sha256sum");
    assertEquals(expected, HexFormat.of().formatHex(digest.digest()) + "  -\n");
  }

  @Test
  void whatAConsumerThrowsKillsTheProcessInTheGuest() {
    IOException mine = new IOException("the reader has gone");
    ProcessSpec spec = ProcessSpec.shell("sleep 86405 & while :; do echo on; done");
    assertSame(
        mine,
        assertThrows(
            IOException.class,
            () ->
                sandbox.exec(
                    spec,
                    (stream, bytes) -> {
                      throw mine;
                    })));
    // It is not waited for.
    while (output("ps").contains("86405")) {
      Thread.onSpinWait();
    }
  }

  @Test
  void exitCodesArrive() {
    for (int code : new int[] {0, 1, 42, 255}) {
      assertEquals(code, sandbox.exec("sh", "-c", "exit " + code).exitCode());
    }
  }

  @Test
  void endByASignalIsToldAsAShellDoes() {
    ExitStatus status = sandbox.exec("sh", "-c", "kill -9 $$").status();
    assertEquals(Signal.KILL, status.signal().orElseThrow());
    assertEquals(137, status.exitCode());
  }

  @Test
  void commandThatDoesNotExistIs127() {
    ExecResult result = sandbox.exec("no-such-command");
    assertEquals(127, result.exitCode());
    assertTrue(result.stderr().text().contains("no-such-command"), result.stderr().text());
  }

  @Test
  void commandThatIsNotExecutableIs126() {
    ExecResult result = sandbox.exec("/etc/not-executable");
    assertEquals(126, result.exitCode());
    assertTrue(result.stderr().text().contains("/etc/not-executable"), result.stderr().text());
  }

  @Test
  void userThatDoesNotExistIsAnError() {
    ProcessSpec spec = ProcessSpec.builder("true").user("nobody-here").build();
    ProcessException e = assertThrows(ProcessException.class, () -> sandbox.exec(spec));
    assertEquals(ProcessException.Reason.UNKNOWN_USER, e.reason());
  }

  @Test
  void outputVeryLarge() {
    byte[] expected = new byte[10 << 20];
    ExecResult result = sandbox.exec("head", "-c", "" + expected.length, "/dev/zero");
    assertArrayEquals(expected, result.stdout().bytes());
    assertFalse(result.stdout().truncated());
  }

  @Test
  void outputOfTheFastestCommandIsNeverLost() {
    for (int i = 0; i < 50; i++) {
      assertEquals(i + "\n", output("echo", "" + i));
    }
  }

  @Test
  void manyProcessesAtOnce() {
    List<CompletableFuture<ExecResult>> running = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      ProcessSpec.Builder spec = ProcessSpec.builder("sh", "-c", "cat /dev/null; echo " + i);
      // A busy lab takes long for the last of them.
      running.add(sandbox.execAsync(spec.startTimeout(Duration.ofMinutes(5)).build()));
    }
    for (int i = 0; i < 100; i++) {
      assertEquals(i + "\n", running.get(i).join().stdout().text());
    }
  }

  /** How long a reader stops; in one class longer than a guest may be silent. */
  protected Duration readersRest() {
    return Duration.ofSeconds(2);
  }

  @Test
  void aReaderThatStopsLosesNothingAndHoldsUpNobody() throws Exception {
    MessageDigest digest = MessageDigest.getInstance("SHA-256");
    try (GuestProcess process = sandbox.start("seq", "300000")) {
      digest.update(process.stdout().readNBytes(1000));
      Thread.sleep(readersRest().toMillis());
      assertEquals("meanwhile\n", output("echo", "meanwhile"));
      assertTrue(process.isAlive());
      digest.update(process.stdout().readAllBytes());
      assertEquals(0, process.waitFor().exitCode());
    }
    String expected = output("sh", "-c", "seq 300000 | sha256sum");
    assertEquals(expected, HexFormat.of().formatHex(digest.digest()) + "  -\n");
  }

  @Test
  void aFloodOfOutputIsCutOffAndHoldsUpNobody() throws IOException {
    ProcessSpec.Builder flood = ProcessSpec.builder("sh", "-c", "while :; do echo flood; done");
    ProcessSpec limited = flood.outputLimit(DataSize.kibibytes(256), OnLimit.KILL).build();
    ExecResult cut = sandbox.exec(limited);
    assertTrue(cut.status().outputTruncated(), cut::toString);
    assertEquals(256 << 10, cut.stdout().length());
    GuestProcessInfo detached = sandbox.startDetached(flood.outputLimit(null).build());
    try (GuestProcess unread = sandbox.start(flood.build())) {
      assertEquals("still\n", output("echo", "still"));
      assertEquals("still\n", other.exec("echo", "still").stdout().text());
      assertTrue(unread.isAlive());
    }
    try (GuestProcess process = sandbox.attach(detached.id())) {
      String recent = new String(process.stdout().readNBytes(65536), UTF_8);
      assertTrue(recent.contains("flood\nflood\n"), recent);
      assertEquals(Signal.KILL, process.stop(Duration.ZERO).signal().orElseThrow());
    }
  }

  @Test
  void aDetachedProcessOutlivesItsCallerAndIsAttachedToAgain() throws Exception {
    String script = "echo begun; read line; echo got $line; read line; exit 3";
    long id = sandbox.startDetached("sh", "-c", script).id();
    try (GuestProcess first = sandbox.attach(id)) {
      assertEquals("begun\n", new String(first.stdout().readNBytes(6), UTF_8));
      first.stdin().write("one\n".getBytes(UTF_8));
    }
    try (GuestProcess second = sandbox.attach(id)) {
      String expected = "begun\ngot one\n";
      assertEquals(expected, new String(second.stdout().readNBytes(expected.length()), UTF_8));
      second.stdin().write("two\n".getBytes(UTF_8));
      assertEquals(3, second.toProcess().waitFor());
    }
  }

  @Test
  void aGuestThatDoesNothingIsIdleAndOneThatWorksIsNot() throws Exception {
    SandboxSpec spec = spec().idleTimeout(Duration.ofSeconds(5)).build();
    try (Sandbox own = nacelle.start(spec)) {
      long worker = own.startDetached("sh", "-c", "while :; do :; done").id();
      Thread.sleep(Duration.ofSeconds(15).toMillis());
      assertTrue(own.isAlive());
      own.attach(worker).stop(Duration.ZERO);
      GuestProcess waits = own.start("sleep", "86408");
      assertEquals(SandboxExit.Reason.IDLE, own.onExit().join().reason());
      // It had its grace.
      assertEquals(Signal.TERM, waits.waitFor().signal().orElseThrow());
    }
  }

  @Test
  void openFilesHaveALimitThatDoesNotLockTheHostOut() {
    try (Sandbox own = nacelle.start(spec().openFilesLimit(300).build())) {
      String open = "for i in $(seq 400); do sleep 86409 < /etc/passwd & done; wait";
      long id =
          own.startDetached(ProcessSpec.builder("sh", "-c", open).mergeStderr(true).build()).id();
      try (GuestProcess process = own.attach(id)) {
        String said = "";
        while (!said.contains("in system")) {
          said += new String(process.stdout().readNBytes(1), UTF_8);
        }
        GuestProcessInfo all =
            answer(own::processes).stream()
                .filter(info -> info.id() == id)
                .findFirst()
                .orElseThrow();
        own.signal(all, Signal.KILL, SignalScope.TREE);
        assertEquals(Signal.KILL, process.waitFor().signal().orElseThrow());
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      assertEquals("room\n", own.exec("echo", "room").stdout().text());
    }
  }

  @Test
  void whatTheHostCountsIsToldAgainAndAgain() throws Exception {
    BlockingQueue<VmStatistics> readings = new LinkedBlockingQueue<>();
    try (Sandbox.StatisticsStream unused =
        sandbox.streamStatistics(Duration.ofMillis(100), readings::add)) {
      VmStatistics first = readings.take();
      output("echo", "works");
      readings.clear();
      // The first of these may be older than what has happened.
      readings.take();
      VmStatistics then = readings.take();
      assertFalse(first.exits().isEmpty() && hostCountsUse(), first::toString);
      first.exits().forEach((reason, n) -> assertTrue(then.exits().get(reason) >= n, reason));
      if (hostCountsUse()) {
        assertNotEquals(first.exits(), then.exits());
        assertTrue(then.cpuTime().orElseThrow().compareTo(first.cpuTime().orElseThrow()) > 0);
        assertTrue(then.memory().orElseThrow().compareTo(DataSize.mebibytes(8)) > 0);
        assertTrue(then.disks().get("rootfs").reads() > 0, then::toString);
      }
    }
  }

  @Test
  void stdinAndStdoutStream() throws IOException {
    try (GuestProcess cat = sandbox.start(ProcessSpec.of("cat"))) {
      OutputStream stdin = cat.stdin();
      for (String line : List.of("one\n", "two\n")) {
        stdin.write(line.getBytes(StandardCharsets.UTF_8));
        stdin.flush();
        assertEquals(line, new String(cat.stdout().readNBytes(4), StandardCharsets.UTF_8));
      }
      stdin.close();
      assertEquals(-1, cat.stdout().read());
      assertEquals(0, cat.waitFor().exitCode());
    }
  }

  @Test
  void hostConnectsToAProcessThatListens() throws Exception {
    String save = "cat > /tmp/listener && busybox chmod 755 /tmp/listener";
    ProcessSpec copy = ProcessSpec.builder("sh", "-c", save).stdin(ContractGuest.program()).build();
    sandbox.exec(copy).orThrow();
    assertThrows(GuestIOException.class, () -> sandbox.connect(5000));
    try (GuestProcess listener =
        sandbox.start(ProcessSpec.of("/tmp/listener", "listen", "5000", "echo"))) {
      assertEquals("listening\n", new String(listener.stdout().readNBytes(10), UTF_8));
      byte[] sent = new byte[4 << 20];
      new Random(5).nextBytes(sent);
      try (GuestSocket socket = sandbox.connect(5000)) {
        CompletableFuture<byte[]> echoed =
            CompletableFuture.supplyAsync(
                () -> {
                  try {
                    return socket.input().readAllBytes();
                  } catch (IOException e) {
                    throw new UncheckedIOException(e);
                  }
                });
        socket.output().write(sent);
        socket.output().close();
        assertArrayEquals(sent, echoed.get());
      }
      List<GuestSocket> many = new ArrayList<>();
      for (int i = 0; i < 16; i++) {
        many.add(sandbox.connect(5000));
        many.get(i).output().write(i);
      }
      for (int i = 15; i >= 0; i--) {
        assertEquals(i, many.get(i).input().read());
      }
      listener.close();
      listener.onExit().join();
      for (GuestSocket socket : many) {
        // A kernel that closes its end says so with a shutdown of both directions.
        assertThrows(GuestIOException.class, () -> expectEnd(socket));
        socket.close();
      }
      assertThrows(GuestIOException.class, () -> sandbox.connect(5000));
    }
  }

  /** Throws once the guest has ended the connection, however. */
  private static void expectEnd(GuestSocket socket) throws IOException {
    if (socket.input().read() < 0) {
      while (true) {
        socket.output().write(new byte[1024]);
      }
    }
  }

  @Test
  void closingAProcessKillsItInTheGuestWithItsChildren() {
    GuestProcess shell = sandbox.start(ProcessSpec.of("sh", "-c", "sleep 86402 & wait"));
    shell.close();
    assertEquals(Signal.KILL, shell.onExit().join().signal().orElseThrow());
    assertFalse(output("ps").contains("86402"));
  }

  @Test
  void aProcessThatIsClosedSeesNoEndOfItsStdin() throws IOException {
    for (int i = 0; i < 2; i++) {
      GuestProcess reader = sandbox.start("sh", "-c", "cat > /dev/null; echo > /tmp/ended");
      reader.stdin().write(new byte[200_000]);
      reader.close();
      assertEquals(Signal.KILL, reader.onExit().join().signal().orElseThrow());
    }
    assertFalse(sandbox.files().exists("/tmp/ended"));
  }

  @Test
  void signalsReachTheProcess() {
    try (GuestProcess sleep = sandbox.start(ProcessSpec.of("sleep", "86403"))) {
      sleep.signal(Signal.TERM);
      assertEquals(Signal.TERM, sleep.waitFor().signal().orElseThrow());
    }
  }

  @Test
  void guestThatIsNotReadyInTimeIsGivenUp() {
    SandboxSpec spec = spec().startTimeout(Duration.ofMillis(100)).build();
    BootException e = assertThrows(BootException.class, () -> nacelle.start(spec));
    assertTrue(e.timedOut());
  }

  @Test
  void startThatIsCancelledLeavesNothing() {
    CompletableFuture<Sandbox> start = nacelle.startAsync(spec().name("cancelled").build());
    start.cancel(true);
    try (Sandbox other = nacelle.start(spec().build())) {
      assertEquals(0, other.exec("true").exitCode());
    }
  }

  @Test
  void guestThatPanicsIsTheCauseOfItsSandboxesEnd() {
    // Also where what is out of memory is the workload's share of it.
    SandboxSpec spec = spec().sysctl("vm.panic_on_oom", "2").user("0").build();
    try (Sandbox own = nacelle.start(spec)) {
      SandboxEndedException ended =
          assertThrows(SandboxEndedException.class, () -> own.exec("busybox", "tail", "/dev/zero"));
      assertEquals(SandboxExit.Reason.GUEST_CRASHED, ended.exit().reason());
      assertTrue(ended.getMessage().contains("Kernel panic"), ended::getMessage);
      assertEquals(VmExit.Reason.RESET, own.onExit().join().machine().orElseThrow().reason());
    }
  }

  @Test
  void killingDoesNotWaitForTheGuest() {
    try (Sandbox own = nacelle.start(spec().stopGrace(Duration.ofHours(1)).build());
        GuestProcess process = own.start(ProcessSpec.of("sleep", "86404"))) {
      own.kill();
      assertEquals(SandboxExit.Reason.KILLED, own.onExit().join().reason());
      assertThrows(SandboxEndedException.class, process::waitFor);
    }
  }
}
