// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.kernel.store;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.nacelle.KernelException;
import dev.nacelle.image.Digest;
import dev.nacelle.internal.DirectoryLocks;
import dev.nacelle.internal.FileReplacement;
import dev.nacelle.internal.RegularFile;
import dev.nacelle.kernel.KernelRef;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Iterator;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;

/** The file of a {@link KernelLock}: how it is read, and replaced. */
final class KernelLockFile {
  /** Of the format; it grows when an older Nacelle could not read the file. */
  private static final int VERSION = 1;

  /** Far more than anybody has kernels for, in bytes. */
  private static final int MAX_SIZE = 1 << 20;

  private static final String KERNEL = "kernel";
  private static final String RELEASE = "release";
  private static final String ARCHITECTURE = "architecture";
  private static final String SOURCE = "source";

  private static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .streamReadConstraints(
                      StreamReadConstraints.builder().maxNestingDepth(8).maxNumberLength(9).build())
                  .build())
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .build();

  /** The same lines on every system. */
  private static final DefaultPrettyPrinter PRINTER =
      new DefaultPrettyPrinter(
              Separators.createDefaultInstance()
                  .withObjectFieldValueSpacing(Separators.Spacing.AFTER)
                  .withObjectEmptySeparator(""))
          .withObjectIndenter(new DefaultIndenter("  ", "\n"));

  private final Path file;

  /** What is in the file, by the text of the reference. */
  static final class Content {
    private final Map<String, LockedKernel> kernels = new TreeMap<>();

    Optional<LockedKernel> get(KernelRef ref) {
      return Optional.ofNullable(kernels.get(ref.toString()));
    }
  }

  KernelLockFile(Path file) {
    this.file = file.toAbsolutePath();
  }

  /**
   * Reads the file; an absent one is empty.
   *
   * @param required whether it must be there
   */
  Content read(boolean required) {
    byte[] bytes;
    try (InputStream in = RegularFile.open(file)) {
      bytes = in.readNBytes(MAX_SIZE + 1);
    } catch (NoSuchFileException e) {
      if (required) {
        throw new KernelException(
            KernelException.Reason.NOT_IN_LOCK,
            "The lock file " + file + " does not exist, and is not to be made",
            "Make it in the mode ADD, and bring it to this machine.",
            e);
      }
      return new Content();
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.LOCK_UNUSABLE,
          "The lock file " + file + " cannot be read: " + e,
          null,
          e);
    }
    return parse(bytes);
  }

  /**
   * Records a kernel.
   *
   * @param replace whether to do so where there is another for the reference
   * @return what is in the file for the reference now
   */
  LockedKernel put(KernelRef ref, LockedKernel kernel, boolean replace) {
    try {
      // Not where a link to it is: that is to stay one.
      Path real = Files.exists(file) ? file.toRealPath() : file;
      Path directory = Files.createDirectories(real.resolveSibling(""));
      try (DirectoryLocks.Held lock =
          new DirectoryLocks(directory).exclusive(real.getFileName().toString())) {
        Content content = read(false);
        LockedKernel there = content.kernels.get(ref.toString());
        if (there != null && (!replace || there.equals(kernel))) {
          return there;
        }
        content.kernels.put(ref.toString(), kernel);
        write(real, format(content));
        return kernel;
      }
    } catch (IOException e) {
      throw new KernelException(
          KernelException.Reason.LOCK_UNUSABLE,
          "The lock file " + file + " cannot be written: " + e,
          "See that this process may write to its directory, or use the mode FROZEN.",
          e);
    }
  }

  private static void write(Path real, byte[] bytes) throws IOException {
    Path partial = real.resolveSibling("." + real.getFileName() + ".partial");
    try {
      Files.write(partial, bytes);
      try (FileChannel channel = FileChannel.open(partial, StandardOpenOption.WRITE)) {
        channel.force(true);
      }
      FileReplacement.move(partial, real);
    } finally {
      Files.deleteIfExists(partial);
    }
  }

  static byte[] format(Content content) throws IOException {
    ObjectNode root = MAPPER.createObjectNode().put("version", VERSION);
    ObjectNode kernels = root.putObject("kernels");
    content.kernels.forEach(
        (ref, kernel) ->
            kernels
                .putObject(ref)
                .put(KERNEL, kernel.kernel().toString())
                .put(RELEASE, kernel.release())
                .put(ARCHITECTURE, kernel.architecture())
                .put(SOURCE, kernel.source()));
    return (MAPPER.writer(PRINTER).writeValueAsString(root) + "\n")
        .getBytes(StandardCharsets.UTF_8);
  }

  /** Reads what {@link #format} writes. */
  Content parse(byte[] bytes) {
    if (bytes.length > MAX_SIZE) {
      throw damaged("it has more than " + MAX_SIZE + " bytes", null);
    }
    JsonNode root;
    try {
      root = MAPPER.readTree(bytes);
    } catch (JsonProcessingException e) {
      String where =
          e.getLocation() == null
              ? ""
              : "line "
                  + e.getLocation().getLineNr()
                  + ", column "
                  + e.getLocation().getColumnNr()
                  + ": ";
      throw damaged(where + e.getOriginalMessage(), e);
    } catch (IOException e) {
      throw damaged(String.valueOf(e.getMessage()), e);
    }
    requireObject("", root);
    JsonNode version = root.path("version");
    if (!version.isInt() || version.intValue() < 1) {
      throw damaged("/version is no positive number", null);
    }
    if (version.intValue() > VERSION) {
      throw new KernelException(
          KernelException.Reason.LOCK_UNUSABLE,
          "The lock file "
              + file
              + " has the version "
              + version.intValue()
              + ", and this Nacelle reads "
              + VERSION,
          "Use the Nacelle that wrote it, or a newer one.",
          null);
    }
    requireMembers("", root, Set.of("version", "kernels"));
    JsonNode kernels = root.path("kernels");
    requireObject("/kernels", kernels);
    Content content = new Content();
    for (Iterator<Map.Entry<String, JsonNode>> i = kernels.properties().iterator(); i.hasNext(); ) {
      Map.Entry<String, JsonNode> member = i.next();
      String pointer = "/kernels/" + shown(member.getKey());
      content.kernels.put(
          member.getKey(), parse(pointer, ref(pointer, member.getKey()), member.getValue()));
    }
    return content;
  }

  private LockedKernel parse(String pointer, KernelRef name, JsonNode node) {
    requireObject(pointer, node);
    requireMembers(pointer, node, Set.of(KERNEL, RELEASE, ARCHITECTURE, SOURCE));
    KernelRef kernel = ref(pointer + "/" + KERNEL, text(pointer, node, KERNEL));
    Digest digest =
        kernel.digest().orElseThrow(() -> damaged(pointer + "/" + KERNEL + " has no digest", null));
    if (name.digest().isPresent()) {
      throw damaged(pointer + " has a digest of its own, so it needs no lock", null);
    }
    if (name.scheme() != KernelRef.Scheme.DEFAULT && !name.withDigest(digest).equals(kernel)) {
      throw damaged(
          pointer + "/" + KERNEL + " is another kernel than " + name + ": " + kernel, null);
    }
    return new LockedKernel(
        kernel,
        text(pointer, node, RELEASE),
        text(pointer, node, ARCHITECTURE),
        text(pointer, node, SOURCE));
  }

  /** A reference, written as {@link KernelRef#toString} writes it: one kernel has one line. */
  private KernelRef ref(String pointer, String text) {
    KernelRef ref;
    try {
      ref = KernelRef.parse(text);
    } catch (IllegalArgumentException e) {
      throw damaged(pointer + ": " + e.getMessage(), e);
    }
    if (!ref.toString().equals(text)) {
      throw damaged(pointer + " is not written as " + ref, null);
    }
    return ref;
  }

  private String text(String pointer, JsonNode node, String name) {
    JsonNode value = node.path(name);
    if (!value.isTextual()) {
      throw damaged(pointer + "/" + name + " is no string", null);
    }
    return value.textValue();
  }

  private void requireObject(String pointer, JsonNode node) {
    if (!node.isObject()) {
      throw damaged((pointer.isEmpty() ? "it" : pointer) + " is no JSON object", null);
    }
  }

  private void requireMembers(String pointer, JsonNode node, Set<String> known) {
    Set<String> unknown = new TreeSet<>();
    node.fieldNames().forEachRemaining(unknown::add);
    unknown.removeAll(known);
    if (!unknown.isEmpty()) {
      throw damaged(pointer + "/" + shown(unknown.iterator().next()) + " is unknown", null);
    }
  }

  private static String shown(String name) {
    return name.length() <= 300 ? name : name.substring(0, 300) + "...";
  }

  private KernelException damaged(String fault, @Nullable Throwable cause) {
    return new KernelException(
        KernelException.Reason.LOCK_UNUSABLE,
        "The lock file " + file + " is damaged: " + fault,
        "Restore it, or delete it and have it written anew in the mode ADD.",
        cause);
  }

  @Override
  public String toString() {
    return file.toString();
  }
}
