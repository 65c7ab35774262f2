// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image;

import dev.nacelle.image.ImageRef.Transport;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The grammar of references: Docker's for registries ("Grammar" of distribution/reference, and its
 * defaults), the transports of containers-transports(5) for files.
 */
final class ImageRefParser {
  private static final String DEFAULT_REGISTRY = "docker.io";

  /** What Docker's registry was called once; credentials still are. */
  private static final String OLD_DEFAULT_REGISTRY = "index.docker.io";

  private static final String DEFAULT_NAMESPACE = "library/";
  private static final String DEFAULT_TAG = "latest";

  private static final int MAX_REPOSITORY = 255;
  private static final int MAX_HOST = 255;

  /** "org.opencontainers.image.ref.name" of annotations.md. */
  private static final Pattern LAYOUT_TAG =
      Pattern.compile("[A-Za-z0-9]+(?:(?:[-._:@+]|--|/)[A-Za-z0-9]+)*");

  private static final int MAX_LAYOUT_TAG = 255;

  private static final Pattern TAG = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}");
  private static final Pattern COMPONENT = Pattern.compile("[a-z0-9]+(?:(?:[.]|__?|-+)[a-z0-9]+)*");
  private static final Pattern HOST_NAME =
      Pattern.compile("[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?");
  private static final Pattern IPV6 = Pattern.compile("\\[[0-9a-fA-F:.]{2,45}]");
  private static final Pattern PORT = Pattern.compile("[0-9]{1,5}");
  private static final Pattern IMAGE_ID = Pattern.compile("[0-9a-f]{64}");

  /** What can only be meant as a digest. */
  private static final Pattern DIGEST = Pattern.compile("sha[0-9]*:.*", Pattern.DOTALL);

  private static final Pattern WINDOWS_DRIVE =
      Pattern.compile("[A-Za-z]:[/\\\\].*", Pattern.DOTALL);

  private static final int MAX_SHOWN = 300;

  private final String text;

  ImageRefParser(String text) {
    this.text = text;
  }

  ImageRef parse() {
    for (Transport transport :
        List.of(
            Transport.OCI_LAYOUT,
            Transport.OCI_ARCHIVE,
            Transport.DOCKER_ARCHIVE,
            Transport.DIRECTORY)) {
      if (text.startsWith(transport.prefix())) {
        return parseFile(transport);
      }
    }
    int scheme = text.indexOf("://");
    if (scheme >= 0) {
      throw bad(
          0, "a reference does not begin with '" + shown(text.substring(0, scheme + 3)) + "'");
    }
    return parseRegistry(0);
  }

  private ImageRef parseFile(Transport transport) {
    int start = transport.prefix().length();
    int end = text.length();
    Digest digest = null;
    int at = lastDigest(start);
    if (at >= 0) {
      digest = parseDigest(at + 1);
      end = at;
    }
    String rest = text.substring(start, end);
    int colon = endOfPath(rest);
    String file = colon < 0 ? rest : rest.substring(0, colon);
    if (file.isEmpty()) {
      throw bad(
          start,
          "the "
              + (transport == Transport.OCI_LAYOUT || transport == Transport.DIRECTORY
                  ? "directory"
                  : "file")
              + " is missing behind "
              + transport.prefix());
    }
    if (transport == Transport.DIRECTORY && colon >= 0) {
      throw bad(start + colon, "a directory has no tag");
    }
    String tag = null;
    if (colon >= 0) {
      int tagStart = start + colon + 1;
      if (digest != null) {
        throw bad(
            tagStart, "it has both a tag, '" + text.substring(tagStart, end) + "', and a digest");
      }
      tag =
          transport == Transport.DOCKER_ARCHIVE
              ? parseRegistry(tagStart).toString()
              : parseLayoutTag(tagStart);
    }
    try {
      return new ImageRef(transport, Path.of(file).toString(), tag, digest);
    } catch (InvalidPathException e) {
      throw bad(
          start + Math.max(0, e.getIndex()), "'" + shown(file) + "' is no path: " + e.getReason());
    }
  }

  /** The position of the colon that ends the path at the beginning of a text, or -1. */
  static int endOfPath(String text) {
    return text.indexOf(':', WINDOWS_DRIVE.matcher(text).matches() ? 2 : 0);
  }

  /** The position of the at sign in front of what can only be meant as a digest, or -1. */
  private int lastDigest(int from) {
    int at = text.lastIndexOf('@');
    return at >= from && DIGEST.matcher(text.substring(at + 1)).matches() ? at : -1;
  }

  private Digest parseDigest(int start) {
    String digest = text.substring(start);
    try {
      return Digest.parse(digest);
    } catch (IllegalArgumentException e) {
      throw bad(start, e.getMessage());
    }
  }

  private String parseLayoutTag(int start) {
    String tag = text.substring(start);
    if (tag.length() > MAX_LAYOUT_TAG || !LAYOUT_TAG.matcher(tag).matches()) {
      throw bad(
          start,
          "'"
              + shown(tag)
              + "' is no tag: at most 255 letters and digits, joined by single -._:@+/");
    }
    return tag;
  }

  private ImageRef parseRegistry(int start) {
    int end = text.indexOf('@', start);
    Digest digest = null;
    if (end < 0) {
      end = text.length();
    } else if (start > 0) {
      throw bad(end, "the name of an image in an archive has no '@'");
    } else {
      digest = parseDigest(end + 1);
    }
    if (start == end) {
      throw bad(start, "the name is missing");
    }
    int slash = text.substring(start, end).indexOf('/');
    String first = slash < 0 ? "" : text.substring(start, start + slash);
    boolean isHost = isHost(first);
    int pathStart = isHost ? start + slash + 1 : start;
    int colon = text.lastIndexOf(':', end - 1);
    // A host's port is no tag, as this begins behind the host.
    int pathEnd = colon >= pathStart ? colon : end;
    String tag = colon >= pathStart ? parseTag(colon + 1, end) : null;
    if (isHost) {
      checkHost(start, start + slash);
    }
    checkRepository(pathStart, pathEnd);
    String registry = isHost && !first.equals(OLD_DEFAULT_REGISTRY) ? first : DEFAULT_REGISTRY;
    String repository = text.substring(pathStart, pathEnd);
    if (registry.equals(DEFAULT_REGISTRY) && repository.indexOf('/') < 0) {
      if (IMAGE_ID.matcher(repository).matches()) {
        throw bad(pathStart, "the ID of an image is no name");
      }
      repository = DEFAULT_NAMESPACE + repository;
    }
    return new ImageRef(
        Transport.REGISTRY,
        registry + "/" + repository,
        tag == null && digest == null ? DEFAULT_TAG : tag,
        digest);
  }

  /** As Docker tells a host from the first part of a name. */
  private static boolean isHost(String first) {
    return first.equals("localhost")
        || first.indexOf('.') >= 0
        || first.indexOf(':') >= 0
        || first.chars().anyMatch(c -> c >= 'A' && c <= 'Z');
  }

  private void checkHost(int start, int end) {
    if (end - start > MAX_HOST) {
      throw bad(start, "the registry's name is longer than " + MAX_HOST + " characters");
    }
    int colon = text.lastIndexOf(':', end - 1);
    boolean hasPort = colon >= start && text.charAt(end - 1) != ']';
    int hostEnd = hasPort ? colon : end;
    if (hasPort) {
      String port = text.substring(colon + 1, end);
      if (!PORT.matcher(port).matches()
          || Integer.parseInt(port) < 1
          || Integer.parseInt(port) > 65_535) {
        throw bad(colon + 1, "'" + port + "' is no port: a number from 1 to 65535");
      }
    }
    if (text.charAt(start) == '[') {
      if (!IPV6.matcher(text.substring(start, hostEnd)).matches()) {
        throw bad(start, "this is no IPv6 address in brackets");
      }
      return;
    }
    int position = start;
    for (String label : text.substring(start, hostEnd).split("[.]", -1)) {
      if (!HOST_NAME.matcher(label).matches()) {
        throw bad(
            position,
            "'"
                + text.substring(start, hostEnd)
                + "' is no host: '"
                + label
                + "' is not made of letters, digits and inner hyphens");
      }
      position += label.length() + 1;
    }
  }

  private void checkRepository(int start, int end) {
    String repository = text.substring(start, end);
    if (repository.length() > MAX_REPOSITORY) {
      throw bad(start, "the name is longer than " + MAX_REPOSITORY + " characters");
    }
    int position = start;
    for (String component : repository.split("/", -1)) {
      if (component.isEmpty()) {
        throw bad(position, "a part of the name is empty");
      }
      if (!COMPONENT.matcher(component).matches()) {
        throw badComponent(position, component);
      }
      position += component.length() + 1;
    }
  }

  private IllegalArgumentException badComponent(int position, String component) {
    for (int i = 0; i < component.length(); i++) {
      char c = component.charAt(i);
      if (c >= 'A' && c <= 'Z') {
        return bad(position + i, "'" + c + "': names are lower-case");
      }
      if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && "._-".indexOf(c) < 0) {
        return bad(position + i, "'" + c + "' is not allowed in a name");
      }
    }
    return bad(
        position,
        "'"
            + component
            + "' is not made of letters and digits, joined by one of '.', '_', '__', '-'");
  }

  private String parseTag(int start, int end) {
    String tag = text.substring(start, end);
    if (!TAG.matcher(tag).matches()) {
      throw bad(
          start,
          "'"
              + shown(tag)
              + "' is no tag: 1 to 128 letters, digits and _.-, not beginning with . or -");
    }
    return tag;
  }

  private static String shown(String part) {
    return part.length() <= MAX_SHOWN ? part : part.substring(0, MAX_SHOWN) + "...";
  }

  private IllegalArgumentException bad(int position, @Nullable String fault) {
    return new IllegalArgumentException(
        "'"
            + shown(text)
            + "' is no image reference: "
            + fault
            + ", at character "
            + (position + 1)
            + ". Write [HOST[:PORT]/]NAME[:TAG][@sha256:HEX] for an image in a registry, oci:DIRECTORY[:TAG],"
            + " oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] or dir:DIRECTORY.");
  }
}
