// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.isolation;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.jar.Attributes;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;

/** A program for an image's Java, 17 or newer: prints how long a map of words took, a line each. */
public final class JavaWords {
  /** Where its jar is in an instance. */
  static final String PATH = "/isolation-words.jar";

  private JavaWords() {}

  /**
   * @param arguments how many samples, and how many words in each
   */
  public static void main(String... arguments) {
    int count = Integer.parseInt(arguments[1]);
    for (int sample = Integer.parseInt(arguments[0]); sample > 0; sample--) {
      long start = System.nanoTime();
      Map<String, Integer> words = new HashMap<>();
      for (long i = 0; i < count; i++) {
        String word = Long.toString(i * 2654435761L % 1000);
        words.merge(word, word.length(), Integer::sum);
      }
      words.entrySet().stream().sorted(Map.Entry.comparingByValue()).toList();
      System.out.println(System.nanoTime() - start);
    }
  }

  /** Puts it into an instance. */
  static void put(Instance instance) throws IOException {
    Path jar = Files.createTempFile("isolation-", ".jar");
    try {
      Manifest manifest = new Manifest();
      manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
      manifest.getMainAttributes().put(Attributes.Name.MAIN_CLASS, JavaWords.class.getName());
      String name = JavaWords.class.getName().replace('.', '/') + ".class";
      try (OutputStream file = Files.newOutputStream(jar);
          JarOutputStream out = new JarOutputStream(file, manifest);
          InputStream in = JavaWords.class.getResourceAsStream("/" + name)) {
        if (in == null) {
          throw new FileNotFoundException(name);
        }
        out.putNextEntry(new JarEntry(name));
        in.transferTo(out);
        out.closeEntry();
      }
      instance.put(jar, PATH);
    } finally {
      Files.delete(jar);
    }
  }
}
