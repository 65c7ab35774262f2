// SPDX-License-Identifier: Apache-2.0
package dev.nacelle;

import dev.nacelle.image.ImageRef;
import dev.nacelle.image.testing.LayoutMaker;
import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.image.testing.TarMaker;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Images that tests run. */
public final class TestImages {
  private static final Path BUSYBOX = Path.of("/bin/busybox");

  private TestImages() {}

  /**
   * A root filesystem of Debian's static BusyBox, with an image configuration that says something
   * else than the default everywhere.
   */
  public static ImageRef busybox(Path directory) throws IOException {
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
    LayoutMaker layout = new LayoutMaker(directory);
    Layer layer = layout.gzipLayer(tar.finish());
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
