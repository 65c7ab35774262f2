// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.nacelle.image.testing.LayoutMaker.Layer;
import dev.nacelle.internal.CacheDirectory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Images of every kind, as tools make them and as no tool would on a good day: the tree of each is
 * held against umoci's, and each is booted and runs a program that it holds. To make them takes
 * root.
 */
public enum ProvenImage {
  /** Layer over layer, with whiteouts, opaque directories and replaced types. */
  BUILDAH_LAYERS {
    @Override
    void build(Path directory) {
      Tool.script(
          directory,
          BUILDAH
              + """
              c=$(buildah from scratch)
              edit "$c" '
                cp /bin/busybox .
                mkdir -p a/sub/deep gone opaque/old type
                echo 1 > a/f; echo 1 > a/sub/deep/f; ln a/f a/linked; echo 1 > gone/f; echo 1 > opaque/old/f
                echo 1 > type/file; mkdir type/dir; echo 1 > type/dir/f; ln -s dir type/link; mkfifo type/fifo
                ln -s a/sub parent; chmod 2775 a/sub; chmod 1777 opaque
                setfattr -n user.layer -v one a/f; mknod type/null c 1 3'
              buildah commit --quiet --format oci "$c" one
              edit "$c" '
                rm -r gone opaque; mkdir opaque; echo 2 > opaque/new
                rm type/file; mkdir type/file; echo 2 > type/file/f
                rm -r type/dir; echo 2 > type/dir
                rm type/link; mkdir type/link; echo 2 > type/link/f
                rm type/fifo; ln -s null type/fifo
                echo 2 > parent/deep/g; rm a/linked; ln a/f a/again; setfattr -n user.layer -v two a/f'
              buildah commit --quiet --format oci "$c" two
              edit "$c" 'rm a/sub/deep/f; rm -r type/link; ln -s /a type/link; echo 3 > gone; touch -d @12345 a'
              buildah config --entrypoint '["/busybox", "sh", "-euc"]' --cmd '["exit 9"]' --workingdir /opaque "$c"
              buildah commit --quiet --format oci "$c" oci:layout:latest
              """);
    }

    @Override
    public void expect(TreeListing tree) {
      assertFalse(tree.paths().contains("opaque/old"));
      assertTrue(tree.paths().contains("type/file/f"));
      assertEquals("f", tree.get("type/dir").type());
      assertEquals("l", tree.get("type/link").type());
      assertEquals("a/again", tree.get("a/f").sameAs());
      assertEquals("f", tree.get("gone").type());
      assertEquals("12345.0000000000", tree.get("a").modified());
    }
  },

  /** Everything that a filesystem holds, committed and then copied by buildah. */
  BUILDAH_COPIES {
    @Override
    void build(Path directory) throws IOException {
      makeTree(directory);
      // buildah packs an attribute without a value, but umoci's reader takes that for "not given".
      Tool.script(
          directory,
          BUILDAH
              + """
              c=$(buildah from scratch)
              edit "$c" "cp -a '$PWD/tree/.' .; setfattr -x user.empty usr"
              buildah commit --quiet --format oci "$c" first
              buildah copy --quiet "$c" tree/usr /copied
              buildah commit --quiet --format oci "$c" oci:layout:latest
              """);
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals("4755", tree.get("usr/bin/tool").mode());
      assertTrue(tree.get("usr/bin/sgid").xattrs().contains("security.capability="));
      assertTrue(tree.paths().contains("copied/lib/random"));
    }
  },

  /** Everything that a filesystem holds, and three layers of changes to it. */
  UMOCI_LAYERS {
    @Override
    void build(Path directory) throws IOException {
      makeTree(directory);
      // On a tmpfs: umoci tells hard links by the inode's number alone, and on an overlay
      // directories may have the numbers of files.
      Tool.script(
          directory,
          """
          umoci init --layout layout
          umoci new --image layout:latest
          layout=$PWD/layout tree=$PWD/tree work=$(mktemp -d /dev/shm/umoci.XXXXXX)
          trap 'rm -rf "$work"' EXIT
          cd "$work"
          umoci unpack --image "$layout:latest" bundle
          change() {
            (cd bundle/rootfs; eval "$1")
            umoci repack --refresh-bundle --image "$layout:latest" bundle
          }
          change 'cp -a "$tree/." .'
          change 'rm -r usr/lib/sparse "dir with space"; mkdir "dir with space"; echo new > "dir with space/x"
            chmod 700 empty; setfattr -x user.empty usr'
          change 'rm bin; mkdir bin; echo file > bin/file; rm -r deep; ln -s usr deep'
          change 'echo changed > ztool; ln usr/lib/text usr/second-name; rm dangling; mkfifo dangling'
          umoci config --image "$layout:latest" --config.workingdir /empty --config.cmd 'exit 9' \\
            --config.entrypoint /busybox --config.entrypoint sh --config.entrypoint=-euc
          """);
    }

    @Override
    public void expect(TreeListing tree) {
      assertFalse(tree.paths().contains("usr/lib/sparse"));
      assertTrue(tree.paths().contains("bin/file"));
      assertEquals("l", tree.get("deep").type());
      assertEquals("p", tree.get("dangling").type());
      assertEquals("usr/lib/text", tree.get("usr/second-name").sameAs());
    }
  },

  /** Inserted directories, one of them opaque, and an inserted whiteout. */
  UMOCI_INSERTS(".", "opt") {
    @Override
    void build(Path directory) {
      Tool.script(
          directory,
          """
          mkdir -p one/sub two; echo 1 > one/a; echo 1 > one/sub/b; echo 2 > two/c
          ln two/c two/d; ln -s ../one two/link
          umoci init --layout layout
          umoci new --image layout:latest
          umoci insert --image layout:latest /bin/busybox /busybox
          umoci insert --image layout:latest one /opt/app
          umoci insert --image layout:latest --opaque two /opt/app
          umoci insert --image layout:latest one /srv
          umoci insert --image layout:latest --whiteout /srv/sub
          """);
    }

    @Override
    public void expect(TreeListing tree) {
      assertTrue(tree.paths().containsAll(List.of("opt/app/c", "opt/app/d", "srv/a")));
      assertFalse(tree.paths().contains("opt/app/a"));
      assertFalse(tree.paths().contains("srv/sub"));
    }
  },

  /** The Debian with Python that the samples run, with a layer of changes over it. */
  CHANGED_DEBIAN {
    @Override
    void build(Path directory) {
      debian(directory);
      Tool.script(
          directory,
          """
          umoci unpack --image layout:latest bundle
          (cd bundle/rootfs
          rm -r usr/share/doc var/lib/apt; mkdir -p var/lib/apt/lists; rm usr/share/zoneinfo/UTC
          echo changed > etc/issue; chmod 700 srv; ln etc/issue etc/issue.link; mv opt opt.d
          find usr/lib/python3* -name '*.pyc' -delete; ln -sf usr/share usr/games)
          umoci repack --image layout:latest bundle
          rm -rf bundle
          """);
    }

    @Override
    public void expect(TreeListing tree) {
      assertTrue(tree.paths().size() >= 8_000, "only " + tree.paths().size());
      assertEquals("4755", tree.get("usr/bin/passwd").mode());
      assertFalse(tree.paths().contains("usr/share/doc"));
      assertEquals("etc/issue", tree.get("etc/issue.link").sameAs());
    }

    @Override
    public List<String> program() {
      return python(PYTHON_LIST);
    }
  },

  /** Every type of file in the place of every other, in one layer and over a layer. */
  REPLACED_TYPES {
    private static final String TYPES = "0123456";

    @Override
    void build(Path directory) throws IOException {
      TarMaker first = layer().file("target", "t").directory("targets/").file("targets/x", "t");
      TarMaker second = layer();
      for (char from : TYPES.toCharArray()) {
        for (char to : TYPES.toCharArray()) {
          add(first, from, "over/" + from + to, "targets");
          add(first, from, "duplicate/" + from + to, "targets");
          add(first, to, "duplicate/" + from + to, "targets");
          add(second, to, "over/" + from + to, ".");
        }
      }
      layers(directory, first.directory("over/").directory("duplicate/"), second);
    }

    private static void add(TarMaker layer, char type, String path, String linkTarget) {
      switch (type) {
        case '0' -> layer.file(path, "content of " + path);
        case '1' -> layer.hardLink(path, "target");
        case '2' -> layer.symbolicLink(path, linkTarget);
        case '5' -> layer.directory(path);
        default ->
            layer.add(TarMaker.header(type, path).device(type == '6' ? 0 : 8, type == '6' ? 0 : 1));
      }
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals("d", tree.get("over/25").type());
      assertEquals("l", tree.get("duplicate/52").type());
      for (String parent : List.of("over", "duplicate")) {
        assertEquals(
            TYPES.length() * TYPES.length(),
            tree.paths().stream().filter(path -> path.matches(parent + "/..")).count());
      }
    }
  },

  /** Hard links across layers, to links, and to what a later layer removes. */
  HARD_LINKS {
    @Override
    void build(Path directory) throws IOException {
      layers(
          directory,
          layer().file("a", "1").hardLink("b", "a").symbolicLink("s", "a").hardLink("t", "s"),
          layer()
              .hardLink("c", "b")
              .file(".wh.a", "")
              .file("b", "2")
              .hardLink("d/e", "c")
              .directory("d/"),
          layer().hardLink("f", "/d/e").hardLink("g", "./f").file("c", "3").directory("d/"));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals("d/e", tree.get("g").sameAs());
      assertEquals("s", tree.get("t").sameAs());
      assertEquals("b", tree.get("b").sameAs());
    }
  },

  /** Whiteouts of every type of file, of nothing, and of what the layer itself adds. */
  WHITEOUTS {
    @Override
    void build(Path directory) throws IOException {
      layers(
          directory,
          layer()
              .directory("d/")
              .file("d/x", "1")
              .directory("d/e/")
              .file("d/e/y", "1")
              .file("f", "1")
              .directory("o/")
              .directory("o/p/")
              .file("o/p/x", "1")
              .symbolicLink("l", "d"),
          layer()
              .file(".wh.f", "")
              .directory("d/")
              .file("d/.wh.e", "")
              .directory("o/")
              .file("o/.wh..wh..opq", "")
              .directory("o/p/")
              .file("o/p/new", "2")
              .file(".wh.l", "")
              .file(".wh.absent", ""),
          layer().file("f", "3").directory("d/").directory("d/e/"));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals(
          Set.of("", "busybox", "d", "d/e", "d/x", "f", "o", "o/p", "o/p/new"), tree.paths());
    }
  },

  /** Paths through symbolic links, which lead nowhere but into the image. */
  LINKED_PARENTS {
    @Override
    void build(Path directory) throws IOException {
      layers(
          directory,
          layer()
              .directory("usr/")
              .directory("usr/bin/")
              .directory("var/")
              .symbolicLink("bin", "usr/bin")
              .symbolicLink("var/up", "../../../../usr")
              .symbolicLink("absolute", "/usr/bin"),
          layer()
              .file("bin/a", "1")
              .file("var/up/bin/b", "1")
              .file("absolute/c", "1")
              .directory("usr/bin/")
              .directory("usr/")
              .directory("var/"),
          layer().file("bin/.wh.a", "").directory("usr/bin/").hardLink("d", "absolute/c"));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals("d", tree.get("usr/bin/c").sameAs());
      assertTrue(tree.paths().contains("usr/bin/b"));
    }
  },

  /** Names as kaniko and Nix write them, and a root without a name. */
  ABSOLUTE_NAMES {
    @Override
    void build(Path directory) throws IOException {
      layers(
          directory,
          new TarMaker()
              .directory("/")
              .directory("/kaniko/")
              .file("/kaniko/a", "1")
              .file("/kaniko/b", "1"),
          layer().directory("/nix/").directory("/nix/store/").file("//nix/store/x", "1"),
          new TarMaker()
              .add(TarMaker.header('5', "").mode(0711))
              .directory("kaniko/")
              .hardLink("/linked", "/kaniko/a")
              .file("/kaniko/.wh.b", ""));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals(
          Set.of("", "busybox", "kaniko", "kaniko/a", "linked", "nix", "nix/store", "nix/store/x"),
          tree.paths());
      assertEquals("711", tree.get("").mode());
    }
  },

  /** Times and owners at the limits of what an archive, umoci and ext4 can say. */
  TIMES_AND_IDS {
    @Override
    void build(Path directory) throws IOException {
      TarMaker layer = layer();
      // The last time that umoci can set is in 2262, where 64 bits of nanoseconds end.
      for (String time :
          List.of(
              "0",
              "-0.000000001",
              "-1.5",
              "-2147483648",
              "2147483647.999999999",
              "2147483648.000000001",
              "4294967296.5",
              "9223372036.854775807",
              "1.1234567899999")) {
        layer.pax("mtime", time).file("time" + time, "");
      }
      for (String id : List.of("2097151", "2097152", "2147483648", "4294967294", "-2", "-1")) {
        layer.pax("uid", id, "gid", id).add(TarMaker.header('0', "id" + id).mode(07777));
      }
      layers(directory, layer);
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals("9223372036.8547758070", tree.get("time9223372036.854775807").modified());
      assertEquals("4294967294", tree.get("id4294967294").uid());
      assertEquals("4294967294", tree.get("id-2").uid());
      assertEquals("0", tree.get("id-1").uid());
    }
  },

  /** Names of nearly every byte and of 255 bytes, in GNU's and in POSIX's format. */
  NAMES {
    @Override
    void build(Path directory) throws IOException {
      byte[] wild = new byte[254];
      for (int i = 0, b = 0; i < wild.length; i++) {
        b = b == 0xff ? 1 : b + 1 == '/' ? '/' + 1 : b + 1;
        wild[i] = (byte) b;
      }
      byte[] longest = ("x".repeat(254) + "\u00fe").getBytes(ISO_8859_1);
      layers(
          directory,
          layer()
              .add(TarMaker.header('L', "././@LongLink"), wild)
              .file("short", "1")
              .add(TarMaker.header('L', "././@LongLink"), longest)
              .add(TarMaker.header('K', "././@LongLink"), wild)
              .hardLink("short", "short")
              .pax(
                  "path".getBytes(ISO_8859_1),
                  "caf\u00e9".getBytes(ISO_8859_1),
                  "linkpath".getBytes(ISO_8859_1),
                  longest)
              .symbolicLink("s", "s"));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals(5, tree.paths().size());
      assertTrue(tree.paths().contains("caf\u00e9"));
    }
  },

  /** Files with holes, in each way that POSIX's format has for them: umoci refuses GNU's own. */
  SPARSE_FILES {
    @Override
    void build(Path directory) throws IOException {
      Tool.script(
          directory,
          """
          for version in 0.0 0.1 1.0; do
            mkdir -p $version/$version
            (cd $version/$version
            truncate -s 1M empty; truncate -s 3M ends; printf x >>ends; truncate -s 8M many
            for at in $(seq 0 40000 8000000); do printf "at $at" | dd of=many bs=1 seek=$at conv=notrunc status=none; done)
            tar -C $version --sparse --format=pax --sparse-version=$version -cf $version.tar .
          done
          """);
      layers(directory, tar(directory, "0.0"), tar(directory, "0.1"), tar(directory, "1.0"));
    }

    @Override
    public void expect(TreeListing tree) {
      for (String version : List.of("0.0", "0.1", "1.0")) {
        assertEquals((3L << 20) + 1, tree.get(version + "/ends").size());
      }
    }
  },

  /** A directory of 100,000 files. */
  MANY_ENTRIES {
    @Override
    void build(Path directory) throws IOException {
      Tool.script(
          directory,
          """
          mkdir -p tree/many; cd tree/many; seq -f 'entry-%.0f' 100000 | xargs touch -d @1234567890; cd ../..
          tar -C tree -cf many.tar .
          """);
      layers(directory, tar(directory, "many"));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals(100_000 + 3, tree.paths().size());
    }

    @Override
    public List<String> program() {
      // Counted, names and their bytes: to sort so many takes an emulated machine half a minute.
      return busybox("/busybox find /many | /busybox wc -lc");
    }
  },

  /** A file of more than 4 GiB, most of it holes. */
  LARGE_FILE {
    @Override
    void build(Path directory) throws IOException {
      Tool.script(
          directory,
          """
          mkdir tree; truncate -s 4100M tree/large
          for at in 0 4294967294 4299161596; do
            printf data | dd of=tree/large bs=1 seek=$at conv=notrunc status=none
          done
          tar -C tree --sparse --format=pax -cf large.tar .
          """);
      layers(directory, tar(directory, "large"));
    }

    @Override
    public void expect(TreeListing tree) {
      assertEquals(4100L << 20, tree.get("large").size());
    }

    @Override
    public List<String> program() {
      return busybox("/busybox dd if=/large bs=1M skip=4095 status=none | /busybox sha256sum");
    }
  };

  /** Storage of its own, so that nothing of the user's is touched. */
  private static final String BUILDAH =
      """
      buildah() { command buildah --root "$PWD/storage" --runroot "$PWD/run" "$@"; }
      trap 'buildah rm --all; rm -rf storage run' EXIT
      edit() { mounted=$(buildah mount "$1"); (cd "$mounted"; eval "$2"); buildah umount "$1"; }
      """;

  private static final String LIST =
      """
      cd /
      find() {
        /busybox find . -xdev -mindepth 1 '(' -path ./dev -o -path ./proc -o -path ./sys ')' -prune -o \\
          ! -path ./etc ! -path ./etc/hostname ! -path ./etc/hosts ! -path ./etc/resolv.conf ! -path ./etc/mtab "$@"
      }
      sorted() { /busybox sort -z | /busybox xargs -0 -r /busybox "$@"; }
      find -type d -print0 | sorted stat -c '%n %f %u %g %Y'
      find ! -type d -print0 | sorted stat -c '%N %f %u %g %Y %s %h %t %T'
      find -type f -print0 | sorted sha256sum
      """;

  private static final String PYTHON_LIST =
      """
      import hashlib, os, stat
      def entry(path):
          s = os.lstat(path)
          link = os.readlink(path) if stat.S_ISLNK(s.st_mode) else b""
          content = hashlib.sha256(open(path, "rb").read()).hexdigest() if stat.S_ISREG(s.st_mode) else ""
          size = 0 if stat.S_ISDIR(s.st_mode) else (s.st_size, s.st_nlink)
          return path, oct(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns, s.st_rdev, size, link, content
      for path, directories, files in os.walk(b"/"):
          if path == b"/":
              directories[:] = set(directories) - {b"dev", b"proc", b"sys"}
          directories.sort()
          for child in [os.path.join(path, name) for name in sorted(directories + files)]:
              if child not in (b"/etc", b"/etc/hostname", b"/etc/hosts", b"/etc/resolv.conf", b"/etc/mtab"):
                  print(*entry(child))
      """;

  /** The project's directory: Maven runs tests in the module's, others here. */
  private static final Path ROOT = Path.of(Files.exists(Path.of("samples")) ? "" : "..");

  /**
   * A cache directory with the images that were held against umoci's trees, and two files for each:
   * {@link #reference} and {@link #listing}.
   */
  public static final Path CACHE = ROOT.resolve("core/target/proven-images").toAbsolutePath();

  private final String[] implied;

  ProvenImage(String... implied) {
    this.implied = implied;
  }

  /** The directories that no layer names, whose times are thus nobody's. */
  public String[] implied() {
    return implied.clone();
  }

  /**
   * Makes it as the image "latest" of an OCI layout.
   *
   * @param directory an empty one, which gets other things, too
   * @return the layout
   */
  public Path make(Path directory) throws IOException {
    build(directory);
    return directory.resolve("layout");
  }

  abstract void build(Path directory) throws IOException;

  /** Fails where the tree is not what its maker was to make. */
  public abstract void expect(TreeListing tree);

  /**
   * What runs in it: it prints what it sees of the tree, and leaves out what the guest mounts or
   * writes: {@code /dev}, {@code /proc}, {@code /sys}, and in {@code /etc} the files hostname,
   * hosts, resolv.conf and mtab.
   */
  public List<String> program() {
    return busybox(LIST);
  }

  /** The file with its pinned reference. */
  public Path reference() {
    return CACHE.resolve(name() + ".reference");
  }

  /** The file with what the {@link #program} prints in umoci's tree. */
  public Path listing() {
    return CACHE.resolve(name() + ".listing");
  }

  private static List<String> busybox(String script) {
    return List.of("/busybox", "sh", "-euc", script);
  }

  private static List<String> python(String script) {
    return List.of("/usr/bin/python3", "-BIc", script);
  }

  /** Everything that a filesystem holds, and BusyBox, in the directory "tree". */
  private static void makeTree(Path directory) throws IOException {
    Path tree = Files.createDirectory(directory.resolve("tree"));
    AwkwardTree.make(tree);
    AwkwardTree.addWhatPaxCanHold(tree);
    Tool.run(tree, "cp", "/bin/busybox", ".");
  }

  private static void debian(Path directory) {
    Path debian = CacheDirectory.ofThisUser().resolve("samples/debian-python");
    Tool.run(
        directory,
        ROOT.resolve("samples/debian-python-image").toAbsolutePath().toString(),
        debian.toString());
    Tool.run(
        directory, "skopeo", "copy", "--quiet", "oci:" + debian + ":latest", "oci:layout:latest");
  }

  /** Starts with the root, whose time would be that of unpacking. */
  private static TarMaker layer() {
    return new TarMaker().directory("./");
  }

  private static TarMaker tar(Path directory, String name) throws IOException {
    return new TarMaker().raw(Files.readAllBytes(directory.resolve(name + ".tar")));
  }

  /** Over a layer with BusyBox. */
  private static void layers(Path directory, TarMaker... layers) throws IOException {
    LayoutMaker layout = new LayoutMaker(directory.resolve("layout"));
    TarMaker first =
        layer()
            .add(
                TarMaker.header('0', "busybox").mode(0755),
                Files.readAllBytes(Path.of("/bin/busybox")));
    List<Layer> made = new ArrayList<>();
    made.add(layout.gzipLayer(first.finish()));
    for (TarMaker layer : layers) {
      made.add(layout.gzipLayer(layer.finish()));
    }
    layout.tag(layout.image("linux/amd64", made.toArray(Layer[]::new)), "latest");
  }
}
