// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.origin;

import dev.nacelle.ImageException;
import dev.nacelle.image.ImageRef;
import dev.nacelle.image.oci.Descriptor;
import dev.nacelle.image.oci.ImageLimits;
import dev.nacelle.image.oci.ImageResolver;
import dev.nacelle.image.oci.OciJson;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** A directory or archive with images: image-layout.md of the OCI image specification. */
public final class OciLayout implements ImageOrigin {
  private static final String DIRECTORY_REMEDY =
      "Write the directory of an OCI image layout, as 'skopeo copy ... oci:DIRECTORY' makes it.";
  private static final String ARCHIVE_REMEDY =
      "Write the file of an OCI archive, as 'skopeo copy ... oci-archive:FILE' makes it.";

  private final ImageRef ref;
  private final ImageFiles files;
  private final ImageLimits limits;

  private OciLayout(ImageRef ref, ImageFiles files, ImageLimits limits) {
    this.ref = ref;
    this.files = files;
    this.limits = limits;
  }

  /**
   * The layout that a reference names.
   *
   * @throws ImageException when it is none
   */
  public static OciLayout open(ImageRef ref, ImageLimits limits) throws IOException {
    boolean isArchive = ref.transport() == ImageRef.Transport.OCI_ARCHIVE;
    Path path = ref.path().orElseThrow();
    ImageFiles files = isArchive ? ArchiveFile.open(path, limits, ARCHIVE_REMEDY) : directory(path);
    OciLayout layout = new OciLayout(ref, files, limits);
    String version = layout.readJson("oci-layout").string("imageLayoutVersion");
    if (!version.equals("1.0.0")) {
      throw new ImageException(
          ImageException.Reason.UNSUPPORTED,
          files + " has the unknown image layout version '" + version + "'",
          null,
          null);
    }
    return layout;
  }

  private static ImageFiles directory(Path directory) {
    if (!Files.isDirectory(directory)) {
      throw new ImageException(
          ImageException.Reason.NOT_FOUND,
          (Files.exists(directory) ? "No directory: " : "No such directory: ")
              + directory.toAbsolutePath(),
          DIRECTORY_REMEDY,
          null);
    }
    return new ImageFiles() {
      @Override
      public @Nullable InputStream open(String name) throws IOException {
        Path file = directory.resolve(name);
        return Files.isRegularFile(file) ? Files.newInputStream(file) : null;
      }

      @Override
      public String toString() {
        return directory.toString();
      }
    };
  }

  private OciJson readJson(String name) throws IOException {
    byte[] bytes = files.read(name, limits);
    if (bytes == null) {
      throw new ImageException(
          ImageException.Reason.UNSUPPORTED,
          files + " is no OCI image layout: " + name + " is missing",
          ref.transport() == ImageRef.Transport.OCI_ARCHIVE ? ARCHIVE_REMEDY : DIRECTORY_REMEDY,
          null);
    }
    return OciJson.parse(bytes, files + "/" + name);
  }

  @Override
  public List<Descriptor> roots(ImageResolver resolver) throws IOException {
    return NamedRoots.select(ref, resolver.entries(readJson("index.json")), resolver);
  }

  @Override
  public InputStream open(Descriptor blob) throws IOException {
    InputStream in = files.open("blobs/" + blob.digest().algorithm() + "/" + blob.digest().hex());
    if (in == null) {
      throw new ImageException(
          ImageException.Reason.DAMAGED,
          "The blob " + blob.digest() + " is missing in " + files,
          "Get the image again, with all its layers.",
          null);
    }
    return in;
  }

  @Override
  public String toString() {
    return files.toString();
  }
}
