// SPDX-License-Identifier: Apache-2.0

/** Nacelle: a tiny virtual machine with its own kernel around every container. */
module dev.nacelle {
  requires com.fasterxml.jackson.core;
  requires com.fasterxml.jackson.databind;
  requires com.github.luben.zstd_jni;
  requires com.google.common;
  requires dev.nacelle.proto;
  requires io.grpc.netty;
  requires io.netty.buffer;
  requires io.netty.codec; // gRPC, whose automatic modules cannot say what they require
  requires io.netty.codec.http; // gRPC
  requires io.netty.codec.http2; // gRPC
  requires io.netty.common;
  requires io.netty.handler; // gRPC
  requires io.netty.transport;
  requires io.netty.transport.unix.common; // gRPC
  requires java.naming; // gRPC
  requires java.net.http;
  requires static jdk.jfr; // a runtime may be without it
  requires jdk.unsupported; // Netty's and Protobuf's sun.misc.Unsafe, without which they are slower
  requires org.apache.commons.compress;
  requires org.tukaani.xz;
  requires static transitive org.jspecify;

  exports dev.nacelle;
  exports dev.nacelle.container;
  exports dev.nacelle.files;
  exports dev.nacelle.image;
  exports dev.nacelle.kernel;
  exports dev.nacelle.network;
  exports dev.nacelle.oci;
  exports dev.nacelle.spi;

  uses dev.nacelle.Nacelle.Builder;
  uses dev.nacelle.spi.HypervisorProvider;

  provides dev.nacelle.Nacelle.Builder with
      dev.nacelle.engine.EngineBuilder;
}
