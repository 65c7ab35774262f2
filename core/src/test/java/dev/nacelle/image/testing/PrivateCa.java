// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.testing;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;

/** A certificate authority that only who is told trusts, and a server's certificate of it. */
public final class PrivateCa {
  private static final String PASSWORD = "password";

  private final Path directory;

  /**
   * Makes both by openssl; the server is "localhost", and by no other name.
   *
   * @param directory created; with the server's {@code cert.pem} and {@code key.pem} afterwards
   */
  public PrivateCa(Path directory) throws IOException {
    this.directory = Files.createDirectories(directory);
    Tool.script(
        directory,
        """
        key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        openssl req -x509 $key -days 2 -subj /CN=test -keyout ca-key.pem -out ca.pem
        openssl req $key -subj /CN=localhost -keyout key.pem -out request.pem
        echo subjectAltName=DNS:localhost > extensions
        openssl x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
          -extfile extensions -out cert.pem
        openssl pkcs12 -export -in cert.pem -inkey key.pem -out server.p12 -passout pass:%s
        """
            .formatted(PASSWORD));
  }

  /** The authority's own certificate. */
  public Path certificate() {
    return directory.resolve("ca.pem");
  }

  /** What the server shows. */
  SSLContext server() throws IOException {
    try (InputStream in = Files.newInputStream(directory.resolve("server.p12"))) {
      KeyStore keys = KeyStore.getInstance("PKCS12");
      keys.load(in, PASSWORD.toCharArray());
      KeyManagerFactory factory =
          KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
      factory.init(keys, PASSWORD.toCharArray());
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(factory.getKeyManagers(), null, null);
      return context;
    } catch (GeneralSecurityException e) {
      throw new IOException(e);
    }
  }
}
