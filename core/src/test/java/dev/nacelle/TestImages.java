// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.TarMaker;
import dev.nacelle.image.testing.Tool;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Stream;

/** Images that tests run. */
public final class TestImages {
  private static final Path BUSYBOX = Path.of("/bin/busybox");

  private TestImages() {}

  /**
   * A root filesystem of Debian's static BusyBox, with an image configuration that says something
   * else than the default everywhere.
   */
  public static ImageRef busybox(Path directory) throws IOException {
    return image(directory, busybox());
  }

  /**
   * As {@link #busybox(Path)}, with programs of this machine in {@code /bin}, and the libraries
   * that they need.
   *
   * @param paths programs, and directories of what they load by themselves
   */
  public static ImageRef busybox(Path directory, String... paths) throws IOException {
    TarMaker tar = busybox();
    SortedSet<Path> files = new TreeSet<>();
    for (String path : paths) {
      if (Files.isDirectory(Path.of(path))) {
        try (Stream<Path> plugins = Files.list(Path.of(path))) {
          plugins.filter(Files::isRegularFile).forEach(files::add);
        }
        continue;
      }
      Path program = Path.of(path).toRealPath();
      files.add(program);
      String link = "bin/" + Path.of(path).getFileName();
      if (!name(program).equals(link)) {
        tar.symbolicLink(link, "/" + name(program));
      }
      for (String word : Tool.run(Path.of("/"), "ldd", path).split("\\s+")) {
        if (word.startsWith("/")) {
          files.add(Path.of(word));
        }
      }
    }
    SortedSet<String> directories = new TreeSet<>();
    for (Path file : files) {
      for (Path parent = file.getParent();
          parent.getNameCount() > 0 && !name(parent).equals("bin");
          parent = parent.getParent()) {
        directories.add(name(parent) + "/");
      }
    }
    directories.forEach(tar::directory);
    for (Path file : files) {
      byte[] content = Files.readAllBytes(file);
      tar.add(TarMaker.header('0', name(file)).mode(0755).size(content.length), content);
    }
    return image(directory, tar);
  }

  /** Of a file of this machine, as a sandbox has it: not as Windows would. */
  private static String name(Path file) {
    List<String> names = new ArrayList<>();
    file.forEach(each -> names.add(each.toString()));
    return String.join("/", names);
  }

  private static TarMaker busybox() throws IOException {
    byte[] busybox = Files.readAllBytes(BUSYBOX);
    TarMaker tar =
        new TarMaker()
            .directory("bin/")
            .directory("etc/")
            .directory("srv/")
            .add(TarMaker.header('5', "tmp/").mode(01777))
            .file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n")
            .file("etc/group", "root:x:0:\napps:x:1001:\naudio:x:29:games,app\n")
            .file("etc/not-executable", "#!/bin/sh\n")
            .add(TarMaker.header('0', "bin/busybox").mode(0755).size(busybox.length), busybox);
    for (String applet :
        List.of(
            "sh",
            "cat",
            "echo",
            "true",
            "false",
            "uname",
            "id",
            "pwd",
            "env",
            "head",
            "sha256sum",
            "sleep",
            "stty",
            "nproc",
            "ps",
            "touch",
            "wc",
            "kill",
            "mount",
            "seq",
            "tr",
            "dd")) {
      tar.symbolicLink("bin/" + applet, "busybox");
    }
    return tar;
  }

  private static ImageRef image(Path directory, TarMaker tar) throws IOException {
    LayoutMaker layout = new LayoutMaker(directory);
    // Not compressed, which would take the most of all where the processor is emulated.
    byte[] content = tar.finish();
    Layer layer = layout.layer(LayoutMaker.TAR, content, content);
    String config =
        layout.blob(
            LayoutMaker.CONFIG,
            LayoutMaker.config(
                "linux/amd64",
                """
                {"Env":["PATH=/bin","COLOUR=blue"],"Entrypoint":["echo","entrypoint"],\
                "Cmd":["cmd"],"WorkingDir":"/srv","User":"app","StopSignal":"SIGUSR1",\
                "Labels":{"maker":"tests"},"Volumes":{"/srv/data":{}},\
                "ExposedPorts":{"80/tcp":{}}}""",
                List.of(layer)));
    layout.add(layout.blob(LayoutMaker.MANIFEST, LayoutMaker.manifest(config, List.of(layer))));
    return ImageRef.ociLayout(directory);
  }
}
