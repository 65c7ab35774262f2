// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.oci;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.ProcessSpec;
import dev.nacelle.SandboxSpec;
import dev.nacelle.TerminalSize;
import dev.nacelle.container.Capability;
import dev.nacelle.container.ContainerSpec;
import dev.nacelle.container.Device;
import dev.nacelle.container.Mount;
import dev.nacelle.container.MountPropagation;
import dev.nacelle.container.ProcessSecurity;
import dev.nacelle.container.ProcessSecurity.Scheduler.Policy;
import dev.nacelle.container.ResourceLimit;
import dev.nacelle.container.SeccompAction;
import dev.nacelle.container.SeccompProfile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A config.json, clause by clause of config.md and config-linux.md. */
class OciBundleTest {
  private static final String PROCESS = "'process':{'cwd':'/','args':['sh']}";

  @TempDir Path bundle;

  private OciBundle read(String json) throws IOException {
    Files.createDirectories(bundle.resolve("rootfs"));
    Files.writeString(bundle.resolve("config.json"), json.replace('\'', '"'));
    return OciBundle.read(bundle);
  }

  /** With what is required. */
  private OciBundle with(String members) throws IOException {
    return read("{'ociVersion':'1.2.0','root':{'path':'rootfs'}," + members + "}");
  }

  private ContainerSpec container(String members) throws IOException {
    return with(members).sandbox().build().container();
  }

  private ProcessSecurity security(String members) throws IOException {
    OciBundle bundle = with(members);
    ProcessSecurity security = bundle.process().orElseThrow().security().orElseThrow();
    assertEquals(security, bundle.sandbox().build().security());
    return security;
  }

  private String refused(String members) {
    return String.valueOf(
        assertThrows(IllegalArgumentException.class, () -> with(members)).getMessage());
  }

  @Test
  void theLeastThatABundleSays() throws IOException {
    OciBundle read = with("'linux':{}");
    assertEquals("1.2.0", read.ociVersion());
    assertEquals(bundle.toAbsolutePath(), read.directory());
    assertEquals(Optional.empty(), read.process());
    SandboxSpec spec = read.sandbox().build();
    assertEquals("dir:" + bundle.toAbsolutePath().resolve("rootfs"), spec.image().toString());
    // Nothing is masked that it does not name, and its files are its own.
    assertEquals(Optional.of(List.of()), spec.container().maskedPaths());
    assertEquals(Optional.of(List.of()), spec.container().readOnlyPaths());
    assertTrue(spec.container().imageNames());
    assertFalse(spec.container().readOnlyRoot() || spec.container().allDevices());
    assertEquals(SeccompProfile.UNCONFINED, spec.security().seccomp());
    assertTrue(spec.security().capabilities().bounding().isEmpty());
  }

  @Test
  void whatIsNoBundleIsNamed() throws IOException {
    assertThrows(NoSuchFileException.class, () -> OciBundle.read(bundle));
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> read("{"))
            .getMessage()
            .contains("config.json is not JSON"));
    assertThrows(IllegalArgumentException.class, () -> read("[]"));
    assertTrue(
        assertThrows(
                IllegalArgumentException.class,
                () -> read("{'ociVersion':'1.0.0','root':{'path':'none'}}"))
            .getMessage()
            .startsWith("root.path: there is no directory "));
  }

  @ParameterizedTest
  @ValueSource(strings = {"0.9.0", "2.0.0", "1", "one"})
  void onlyVersionOneIsKnown(String version) {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> read("{'ociVersion':'" + version + "','root':{'path':'rootfs'}}"))
            .getMessage();
    assertEquals("ociVersion: '" + version + "' is no version 1 of the specification", message);
  }

  @Test
  void whatIsNotOfTheSpecificationIsPassedOver() throws IOException {
    with("'unknown':{'a':1},'linux':{'later':[1]}");
  }

  @Test
  void theProcessIsTheEntrypoint() throws IOException {
    ProcessSpec process =
        with("'process':{'terminal':true,'consoleSize':{'height':5,'width':7},'cwd':'/srv',"
                + "'env':['A=b=c','PATH=/bin'],'args':['sh','-c','true'],"
                + "'user':{'uid':4294967294,'gid':7}}")
            .process()
            .orElseThrow();
    assertTrue(process.isEntrypoint());
    assertEquals(List.of("sh", "-c", "true"), process.arguments());
    assertEquals(Map.of("A", "b=c", "PATH", "/bin"), process.environment());
    assertEquals(Optional.of("/srv"), process.workingDirectory());
    assertEquals(Optional.of("4294967294:7"), process.user());
    assertEquals(Optional.of(new TerminalSize(5, 7)), process.terminal());
    ProcessSpec without =
        with("'process':{'consoleSize':{'height':5,'width':7},'cwd':'/','args':['sh']}")
            .process()
            .orElseThrow();
    assertEquals(Optional.empty(), without.terminal());
    assertEquals(Optional.of("0:0"), without.user());
  }

  @Test
  void privilegesOfTheProcess() throws IOException {
    ProcessSecurity security =
        security(
            "'process':{'cwd':'/','args':['sh'],'noNewPrivileges':true,'oomScoreAdj':-7,"
                + "'user':{'umask':63,'additionalGids':[5,6]},"
                + "'rlimits':[{'type':'RLIMIT_NOFILE','soft':1,'hard':18446744073709551615}],"
                + "'capabilities':{'bounding':['CAP_KILL','CAP_CHOWN','CAP_OF_TOMORROW'],"
                + "'effective':['CAP_KILL','CAP_BPF'],'permitted':['CAP_KILL','CAP_CHOWN'],"
                + "'inheritable':['CAP_CHOWN','CAP_BPF'],'ambient':['CAP_CHOWN','CAP_KILL']},"
                + "'scheduler':{'policy':'SCHED_BATCH','nice':5,'flags':['SCHED_FLAG_KEEP_POLICY']},"
                + "'ioPriority':{'class':'IOPRIO_CLASS_IDLE','priority':4},"
                + "'execCPUAffinity':{'initial':'0'}}");
    assertTrue(security.noNewPrivileges());
    assertEquals(-7, security.oomScoreAdj());
    assertEquals(077, security.umask());
    assertEquals(List.of(5L, 6L), security.additionalGroups());
    assertEquals(
        Map.of(ResourceLimit.Resource.NOFILE, new ResourceLimit(1, ResourceLimit.UNLIMITED)),
        security.limits());
    // What cannot be granted is left out.
    EnumSet<Capability> both = EnumSet.of(Capability.KILL, Capability.CHOWN);
    assertEquals(both, security.capabilities().bounding());
    assertEquals(both, security.capabilities().permitted());
    assertEquals(EnumSet.of(Capability.KILL), security.capabilities().effective());
    assertEquals(EnumSet.of(Capability.CHOWN), security.capabilities().inheritable());
    assertEquals(EnumSet.of(Capability.CHOWN), security.capabilities().ambient());
    assertFalse(security.capabilities().rootOnly());
    assertEquals(
        new ProcessSecurity.Scheduler(Policy.BATCH, 5, 0, 8, 0, 0, 0),
        security.scheduler().orElseThrow());
    assertEquals(3 << 13 | 4, security.ioPriority().orElseThrow().value());
  }

  @Test
  void seccompAndPersonality() throws IOException {
    ProcessSecurity security =
        security(
            PROCESS
                + ",'linux':{'personality':{'domain':'LINUX32'},"
                + "'seccomp':{'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/run/x',"
                + "'syscalls':[{'names':['getcwd'],'action':'SCMP_ACT_ERRNO'}]}}");
    assertEquals(8, security.personality().orElseThrow());
    assertEquals(SeccompAction.errno(1), security.seccomp().rules().get(0).action());
    assertEquals(
        "linux.seccomp: action SCMP_ACT_NOTIFY needs a supervisor in the guest, which there is not",
        refused(
            "'linux':{'seccomp':{'defaultAction':'SCMP_ACT_ALLOW',"
                + "'syscalls':[{'names':['getcwd'],'action':'SCMP_ACT_NOTIFY'}]}}"));
  }

  @Test
  void mountsComeInTheirOrder() throws IOException {
    ContainerSpec container =
        container(
            "'mounts':[{'destination':'/proc','type':'proc','source':'proc'},"
                + "{'destination':'data','type':'tmpfs','source':'tmpfs',"
                + "'options':['nosuid','size=65536k']},"
                + "{'destination':'/sys/fs/cgroup','type':'cgroup','source':'cgroup',"
                + "'options':['ro']},"
                + "{'destination':'/data','options':['remount','ro']}]");
    assertEquals(
        List.of(
            Mount.filesystem("proc", "/proc"),
            Mount.filesystem("tmpfs", "/data", "nosuid", "size=65536k"),
            Mount.filesystem("cgroup2", "cgroup", "/sys/fs/cgroup", List.of("ro")),
            Mount.remount("/data", "ro")),
        container.mounts());
  }

  @Test
  void theRestOfTheContainer() throws IOException {
    OciBundle read =
        read(
            "{'ociVersion':'1.0.2-dev','root':{'path':'rootfs','readonly':true},"
                + "'hostname':'box','domainname':'example.com','annotations':{'a':'b'},"
                + "'linux':{'rootfsPropagation':'rshared','maskedPaths':['/proc/kcore'],"
                + "'readonlyPaths':['/proc/sys'],'sysctl':{'kernel.shmmni':'7'},"
                + "'cgroupsPath':'/any/where',"
                + "'devices':[{'path':'/dev/fuse','type':'c','major':10,'minor':229,"
                + "'fileMode':438,'uid':1,'gid':2},{'path':'/dev/p','type':'p'},"
                + "{'path':'/dev/x','type':'b','major':8,'minor':1}],"
                + "'uidMappings':[{'containerID':0,'hostID':1000,'size':32000}],"
                + "'gidMappings':[{'containerID':0,'hostID':1000,'size':32000}],"
                + "'timeOffsets':{'monotonic':{'secs':7,'nanosecs':5},'boottime':{'secs':-1}},"
                + "'namespaces':[{'type':'pid'},{'type':'network'},{'type':'ipc'},{'type':'uts'},"
                + "{'type':'mount'},{'type':'user'},{'type':'cgroup'},{'type':'time'}]}}");
    assertEquals(Map.of("a", "b"), read.annotations());
    SandboxSpec spec = read.sandbox().build();
    assertEquals(Optional.of("box"), spec.hostname());
    assertEquals(Map.of("kernel.shmmni", "7"), spec.sysctls());
    ContainerSpec container = spec.container();
    assertTrue(container.readOnlyRoot() && container.ownNetwork());
    assertEquals(Optional.of("example.com"), container.domainname());
    assertEquals(Optional.of(MountPropagation.SHARED), container.rootPropagation());
    assertEquals(Optional.of(List.of("/proc/kcore")), container.maskedPaths());
    assertEquals(Optional.of(List.of("/proc/sys")), container.readOnlyPaths());
    assertEquals(
        List.of(
            Device.character("/dev/fuse", 10, 229).withMode(0666).withOwner(1, 2),
            Device.fifo("/dev/p"),
            Device.block("/dev/x", 8, 1).withMode(0666)),
        container.devices());
    assertEquals(1000, container.userNamespace().orElseThrow().uids().get(0).hostId());
    assertEquals(Duration.ofSeconds(7, 5), container.timeNamespace().orElseThrow().monotonic());
    assertEquals(Duration.ofSeconds(-1), container.timeNamespace().orElseThrow().boottime());
  }

  @Test
  void resourcesAreFilesOfVersionTwo() throws IOException {
    Map<String, String> files =
        container(
                "'linux':{'resources':{"
                    + "'memory':{'limit':1000,'reservation':500,'swap':1500,'kernel':-1},"
                    + "'cpu':{'shares':1024,'quota':50000,'burst':100,'idle':1,'cpus':'0-3',"
                    + "'mems':'0'},"
                    + "'pids':{'limit':-1},"
                    + "'blockIO':{'weight':10,'weightDevice':[{'major':8,'minor':0,'weight':1000}],"
                    + "'throttleReadBpsDevice':[{'major':8,'minor':0,'rate':600}],"
                    + "'throttleWriteIOPSDevice':[{'major':8,'minor':16,'rate':300}]},"
                    + "'hugepageLimits':[{'pageSize':'2MB','limit':209715200}],"
                    + "'rdma':{'mlx5_1':{'hcaHandles':3,'hcaObjects':10000}},"
                    + "'unified':{'memory.high':'900','cpu.weight':'77'}}}")
            .cgroupFiles();
    assertEquals(
        Map.ofEntries(
            Map.entry("memory.max", "1000"),
            Map.entry("memory.low", "500"),
            Map.entry("memory.swap.max", "500"),
            Map.entry("cpu.max", "50000 100000"),
            Map.entry("cpu.max.burst", "100"),
            Map.entry("cpu.idle", "1"),
            Map.entry("cpuset.cpus", "0-3"),
            Map.entry("cpuset.mems", "0"),
            Map.entry("pids.max", "max"),
            Map.entry("io.weight", "default 1\n8:0 10000"),
            Map.entry("io.max", "8:0 rbps=600\n8:16 wiops=300"),
            Map.entry("hugetlb.2MB.max", "209715200"),
            Map.entry("hugetlb.2MB.rsvd.max", "209715200"),
            Map.entry("rdma.max", "mlx5_1 hca_handle=3 hca_object=10000"),
            Map.entry("memory.high", "900"),
            // What is given as a file counts.
            Map.entry("cpu.weight", "77")),
        files);
    assertEquals(
        "39",
        container("'linux':{'resources':{'cpu':{'shares':1024}}}").cgroupFiles().get("cpu.weight"));
  }

  @Test
  void allowedDevices() throws IOException {
    String docker =
        "{'allow':false,'access':'rwm'},{'allow':true,'type':'c','access':'m'},"
            + "{'allow':true,'type':'c','major':1,'minor':3,'access':'rwm'},"
            + "{'allow':true,'type':'c','major':136,'minor':-1,'access':'rwm'}";
    String list =
        "'linux':{'devices':[{'path':'/dev/x','type':'b','major':8,'minor':1}],"
            + "'resources':{'devices':[%s]}}";
    assertFalse(container(list.formatted(docker)).allDevices());
    assertTrue(container(list.formatted("{'allow':true,'access':'rwm'}")).allDevices());
    container(list.formatted("{'allow':true,'type':'b','major':8,'minor':1,'access':'r'}"));
    assertEquals(
        "linux.resources.devices[0]: it allows a device that is not among linux.devices",
        refused(list.formatted("{'allow':true,'type':'b','major':8,'minor':2,'access':'r'}")));
    assertEquals(
        "linux.resources.devices[0]: a single device cannot be denied",
        refused(list.formatted("{'allow':false,'type':'c','major':1,'minor':3,'access':'r'}")));
  }

  @Test
  void hooksAreRead() throws IOException {
    OciBundle read =
        with(
            "'hooks':{'prestart':[],'startContainer':[{'path':'/bin/hook'},"
                + "{'path':'/bin/hook','args':['name','x'],'env':['A=b'],'timeout':7}],"
                + "'poststop':[{'path':'/last'}]}");
    List<Hook> hooks = read.hooks(Hook.Kind.START_CONTAINER);
    assertEquals(List.of("/bin/hook"), hooks.get(0).arguments());
    assertEquals(
        new Hook(
            "/bin/hook",
            List.of("name", "x"),
            Map.of("A", "b"),
            Optional.of(Duration.ofSeconds(7))),
        hooks.get(1));
    assertEquals(1, read.hooks(Hook.Kind.POSTSTOP).size());
    assertEquals(List.of(), read.hooks(Hook.Kind.PRESTART));
    assertEquals(List.of(), read.hooks(Hook.Kind.CREATE_RUNTIME));
  }

  /** The property that an error begins with, and what is wrong with it. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'process':{'cwd':'/'} | process.args: it is required",
        "'process':{'cwd':'/','args':[]} | process.args: it is empty",
        "'process':{'args':['sh']} | process.cwd: it is required",
        "'process':{'cwd':'srv','args':['sh']} | process.cwd: ",
        "'process':{'cwd':'/','args':['sh'],'env':['x']} | process.env[0]: ",
        "'process':{'cwd':'/','args':['sh'],'apparmorProfile':'x'} | process.apparmorProfile: ",
        "'process':{'cwd':'/','args':['sh'],'selinuxLabel':'x'} | process.selinuxLabel: ",
        "'process':{'cwd':'/','args':['sh'],'rlimits':[{'type':'RLIMIT_X','soft':1,'hard':1}]} | process.rlimits[0].type: ",
        "'process':{'cwd':'/','args':['sh'],'rlimits':[{'type':'RLIMIT_CPU','soft':1,'hard':1},{'type':'RLIMIT_CPU','soft':1,'hard':1}]} | process.rlimits[1]: the limit CPU was there before",
        "'process':{'cwd':'/','args':['sh'],'rlimits':[{'type':'RLIMIT_CPU','soft':2,'hard':1}]} | process.rlimits[0]: ",
        "'process':{'cwd':'/','args':['sh'],'oomScoreAdj':1001} | process.oomScoreAdj: ",
        "'process':{'cwd':'/','args':['sh'],'user':{'umask':512}} | process.user.umask: ",
        "'process':{'cwd':'/','args':['sh'],'user':{'uid':-1}} | process.user.uid: ",
        "'process':{'cwd':'/','args':['sh'],'scheduler':{'policy':'SCHED_ISO'}} | process.scheduler.policy: ",
        "'process':{'cwd':'/','args':['sh'],'ioPriority':{'class':'X','priority':1}} | process.ioPriority.class: ",
        "'mounts':[{'destination':'/a'}] | mounts[0].type: it is required",
        "'mounts':[{'type':'tmpfs'}] | mounts[0].destination: it is required",
        "'mounts':[{'destination':'/a','type':'none','source':'/b','options':['rbind']}] | mounts[0].source: it resolves in the runtime's namespaces",
        "'mounts':[{'destination':'/a','type':'tmpfs','options':['idmap']}] | mounts[0].options: idmap and ridmap want uidMappings and gidMappings",
        "'mounts':[{'destination':'/a','type':'tmpfs','uidMappings':[{}]}] | mounts[0].gidMappings: users and groups have mappings together",
        "'mounts':[{'destination':'/proc/x','type':'tmpfs'}] | mounts[0]: nothing can be mounted below /proc",
        "'hostname':'a b' | hostname: ",
        "'domainname':'a b' | domainname: ",
        "'vm':{'kernel':{'path':'/k'}} | vm: it is for another platform than Linux",
        "'windows':{'a':1} | windows: it is for another platform than Linux",
        "'linux':{'namespaces':[{'type':'pid'},{'type':'pid'}]} | linux.namespaces[1]: a namespace 'pid' was there before",
        "'linux':{'namespaces':[{'type':'pid','path':'/proc/1/ns/pid'}]} | linux.namespaces[0].path: ",
        "'linux':{'namespaces':[{'type':'x'}]} | linux.namespaces[0]: there is no namespace 'x'",
        "'linux':{'namespaces':[{'type':'user'}]} | linux.uidMappings: ",
        "'linux':{'uidMappings':[{'containerID':0,'hostID':0,'size':1}]} | linux.uidMappings: there is no user namespace",
        "'linux':{'timeOffsets':{'monotonic':{'secs':1}}} | linux.timeOffsets: there is no time namespace",
        "'linux':{'namespaces':[{'type':'time'}],'timeOffsets':{'realtime':{'secs':1}}} | linux.timeOffsets.realtime: ",
        "'linux':{'devices':[{'path':'/dev/x','type':'z'}]} | linux.devices[0].type: ",
        "'linux':{'devices':[{'path':'/dev/x','type':'c'}]} | linux.devices[0].major: it is required",
        "'linux':{'netDevices':{'eth0':{}}} | linux.netDevices: ",
        "'linux':{'intelRdt':{'closID':'x'}} | linux.intelRdt: ",
        "'linux':{'memoryPolicy':{'mode':'MPOL_BIND'}} | linux.memoryPolicy: ",
        "'linux':{'mountLabel':'x'} | linux.mountLabel: ",
        "'linux':{'rootfsPropagation':'x'} | linux.rootfsPropagation: ",
        "'linux':{'personality':{'domain':'BSD'}} | linux.personality.domain: ",
        "'linux':{'maskedPaths':['proc']} | linux.maskedPaths: ",
        "'linux':{'sysctl':{'kernel.hostname':'x'}} | linux.sysctl.kernel.hostname: ",
        "'linux':{'resources':{'network':{'classID':1}}} | linux.resources.network: control groups of version 2 do not have it",
        "'linux':{'resources':{'memory':{'kernel':1}}} | linux.resources.memory.kernel: ",
        "'linux':{'resources':{'memory':{'swappiness':1}}} | linux.resources.memory.swappiness: ",
        "'linux':{'resources':{'memory':{'disableOOMKiller':true}}} | linux.resources.memory.disableOOMKiller: ",
        "'linux':{'resources':{'memory':{'useHierarchy':false}}} | linux.resources.memory.useHierarchy: ",
        "'linux':{'resources':{'memory':{'swap':1}}} | linux.resources.memory.swap: ",
        "'linux':{'resources':{'cpu':{'realtimeRuntime':1}}} | linux.resources.cpu.realtimeRuntime: ",
        "'linux':{'resources':{'blockIO':{'leafWeight':10}}} | linux.resources.blockIO.leafWeight: ",
        "'linux':{'resources':{'rdma':{'x':{}}}} | linux.resources.rdma.x: ",
        "'linux':{'resources':{'unified':{'../x':'1'}}} | linux.resources: '../x' is no file of a control group",
        "'hooks':{'startContainer':[{'path':'bin'}]} | hooks.startContainer[0].path: it is not absolute",
        "'hooks':{'startContainer':[{'path':'/bin','timeout':0}]} | hooks.startContainer[0].timeout: ",
        "'annotations':{'a':1} | annotations.a: it is no text",
        "'mounts':{} | mounts: it is no array",
        "'linux':[] | linux: it is no object"
      })
  void whatCannotBeAppliedIsAnErrorThatBeginsWithTheProperty(String members, String message) {
    String refusal = refused(members);
    assertTrue(refusal.startsWith(message), refusal);
  }
}
