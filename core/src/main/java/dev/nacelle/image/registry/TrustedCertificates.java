// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.image.registry;

import dev.nacelle.ImageException;
import dev.nacelle.internal.RegularFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.jspecify.annotations.Nullable;

/** Certificates from files, trusted beside those that Java trusts. */
final class TrustedCertificates {
  private TrustedCertificates() {}

  /**
   * What trusts those as well.
   *
   * @throws ImageException when a file cannot be read, or has no certificate
   */
  static SSLContext context(List<Path> files) {
    try {
      List<Certificate> trusted = new ArrayList<>();
      for (TrustManager manager : factory(null).getTrustManagers()) {
        if (manager instanceof X509TrustManager x509) {
          trusted.addAll(List.<X509Certificate>of(x509.getAcceptedIssuers()));
        }
      }
      for (Path file : files) {
        trusted.addAll(read(file));
      }
      KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
      store.load(null, null);
      for (Certificate certificate : trusted) {
        store.setCertificateEntry(Integer.toString(store.size()), certificate);
      }
      SSLContext context = SSLContext.getInstance("TLS");
      context.init(null, factory(store).getTrustManagers(), null);
      return context;
    } catch (GeneralSecurityException | IOException e) {
      throw new ImageException(
          ImageException.Reason.CONFIGURATION,
          "The certificates " + files + " cannot be used: " + e,
          null,
          e);
    }
  }

  /** Of that store, or of what Java trusts. */
  private static TrustManagerFactory factory(@Nullable KeyStore store)
      throws GeneralSecurityException {
    TrustManagerFactory factory =
        TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    factory.init(store);
    return factory;
  }

  private static Collection<? extends Certificate> read(Path file) {
    try (InputStream in = RegularFile.open(file)) {
      Collection<? extends Certificate> certificates =
          CertificateFactory.getInstance("X.509").generateCertificates(in);
      if (certificates.isEmpty()) {
        throw new ImageException(
            ImageException.Reason.CONFIGURATION,
            "There is no certificate in " + file,
            remedy(),
            null);
      }
      return certificates;
    } catch (IOException | CertificateException e) {
      throw new ImageException(
          ImageException.Reason.CONFIGURATION,
          "The certificates of " + file + " cannot be read: " + e,
          remedy(),
          e);
    }
  }

  private static String remedy() {
    return "Give RegistryOptions certificates in PEM, each from BEGIN to END CERTIFICATE.";
  }
}
