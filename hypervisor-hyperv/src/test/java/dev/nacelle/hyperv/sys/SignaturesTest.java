// SPDX-License-Identifier: Apache-2.0
package dev.nacelle.hyperv.sys;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.jna.Callback;
import com.sun.jna.Pointer;
import dev.nacelle.hyperv.sys.WindowsMetadata.Function;
import dev.nacelle.hyperv.sys.WindowsMetadata.Kind;
import dev.nacelle.hyperv.sys.WindowsMetadata.Layout;
import dev.nacelle.hyperv.sys.WindowsMetadata.Shape;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** All that is mapped, against Microsoft's metadata. */
class SignaturesTest {
  /** What is named otherwise here than in Windows. */
  private static final Map<String, String> NAMES =
      Map.of("HCS_EVENT_OPTION_NONE", "HcsEventOptionNone");

  /** Offsets and sizes, which {@link #structureHasItsLayout} compares. */
  private static final Set<String> LAYOUTS =
      Set.of(
          "HCS_EVENT_TYPE",
          "HCS_EVENT_DATA",
          "HCS_EVENT_SIZE",
          "NETWORK_EVENTS",
          "NETWORK_ERRORS",
          "NETWORK_EVENTS_SIZE",
          "WSADATA_SIZE",
          "OVERLAPPED_EVENT",
          "OVERLAPPED_SIZE");

  /** Numbers that Windows has no name for: MAKEWORD(2, 2), and NULL as an event. */
  private static final Set<String> UNNAMED = Set.of("VERSION_2_2", "WSA_INVALID_EVENT");

  private static WindowsMetadata windows;

  @BeforeAll
  static void read() throws Exception {
    windows = new WindowsMetadata();
    StandIn.reset(); // The classes of the mapping load their libraries.
  }

  @ParameterizedTest
  @CsvSource({"ComputeCore, computecore.dll", "Kernel32, kernel32.dll", "Winsock, ws2_32.dll"})
  void functionsAreThoseOfWindows(String mapping, String library) throws Exception {
    Class<?> type = Class.forName(getClass().getPackageName() + "." + mapping);
    List<Method> functions =
        Arrays.stream(type.getDeclaredMethods())
            .filter(method -> Modifier.isNative(method.getModifiers()))
            .toList();
    assertFalse(functions.isEmpty());
    List<String> differences = new ArrayList<>();
    for (Method method : functions) {
      Function function = windows.function(method.getName());
      assertEquals(library, function.library().toLowerCase(Locale.ROOT), method.getName());
      differences.addAll(compare(method, function));
    }
    assertEquals(List.of(), differences);
  }

  @Test
  void callbackIsThatOfWindows() throws Exception {
    Method method = ComputeCore.EventCallback.class.getDeclaredMethods()[0];
    assertEquals(List.of(), compare(method, windows.functionType("HCS_EVENT_CALLBACK")));
  }

  private static List<String> compare(Method method, Function function) {
    List<String> differences = new ArrayList<>();
    Class<?>[] parameters = method.getParameterTypes();
    if (parameters.length != function.parameters().size()) {
      return List.of(
          method.getName()
              + ": "
              + parameters.length
              + " parameters, not "
              + function.parameters().size());
    }
    for (int i = 0; i < parameters.length; i++) {
      if (!matches(parameters[i], function.parameters().get(i))) {
        differences.add(
            method.getName() + ": parameter " + i + " is a " + function.parameters().get(i));
      }
    }
    if (!matches(method.getReturnType(), function.returned())) {
      differences.add(method.getName() + ": returns a " + function.returned());
    }
    return differences;
  }

  private static boolean matches(Class<?> type, Shape shape) {
    if (type == void.class) {
      return shape.kind() == Kind.VOID;
    }
    if (type == Pointer.class || Callback.class.isAssignableFrom(type)) {
      return shape.kind() == Kind.POINTER;
    }
    int size = type == short.class ? 2 : type == int.class ? 4 : type == long.class ? 8 : -1;
    return shape.kind() == Kind.VALUE && shape.size() == size;
  }

  /** Each with one thing that is wrong. */
  @SuppressWarnings("unused")
  private interface Wrong {
    int HcsOpenComputeSystem(Pointer id, long requestedAccess, Pointer computeSystem);

    int HcsWaitForOperationResult(Pointer operation, int timeout);

    long HcsGrantVmAccess(Pointer id, Pointer path);

    int HcsGetServiceProperties(long query, Pointer result);

    int closesocket(int socket);

    int send(long socket, long bytes, int length, int flags);

    int WSAStartup(int version, Pointer data);

    int HcsCloseOperation(Pointer operation);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "HcsOpenComputeSystem",
        "HcsWaitForOperationResult",
        "HcsGrantVmAccess",
        "HcsGetServiceProperties",
        "closesocket",
        "send",
        "WSAStartup",
        "HcsCloseOperation"
      })
  void otherWidthOrKindOrNumberIsFound(String name) {
    Method wrong =
        Arrays.stream(Wrong.class.getDeclaredMethods())
            .filter(method -> method.getName().equals(name))
            .findFirst()
            .orElseThrow();
    assertEquals(1, compare(wrong, windows.function(name)).size());
  }

  @Test
  void structureHasItsLayout() {
    Layout event = windows.layout("HCS_EVENT");
    assertEquals(
        Map.of("Type", ComputeCore.HCS_EVENT_TYPE, "EventData", ComputeCore.HCS_EVENT_DATA),
        without(event, "Operation"));
    assertEquals(ComputeCore.HCS_EVENT_SIZE, event.size());

    Layout address = windows.layout("SOCKADDR_HV");
    assertEquals(
        Map.of(
            "Family",
            HvSocketAddress.FAMILY,
            "VmId",
            HvSocketAddress.VM_ID,
            "ServiceId",
            HvSocketAddress.SERVICE_ID),
        without(address, "Reserved"));
    assertEquals(HvSocketAddress.SIZE, address.size());

    Layout networkEvents = windows.layout("WSANETWORKEVENTS");
    assertEquals(
        Map.of("lNetworkEvents", Winsock.NETWORK_EVENTS, "iErrorCode", Winsock.NETWORK_ERRORS),
        networkEvents.offsets());
    assertEquals(Winsock.NETWORK_EVENTS_SIZE, networkEvents.size());

    assertEquals(Winsock.WSADATA_SIZE, windows.layout("WSADATA").size());

    Layout overlapped = windows.layout("OVERLAPPED");
    assertEquals(Kernel32.OVERLAPPED_EVENT, overlapped.offsets().get("hEvent"));
    assertEquals(Kernel32.OVERLAPPED_SIZE, overlapped.size());
  }

  private static Map<String, Integer> without(Layout layout, String field) {
    layout.offsets().remove(field);
    return layout.offsets();
  }

  @ParameterizedTest
  @ValueSource(strings = {"ComputeCore", "Kernel32", "Winsock", "WindowsLibrary"})
  void constantsHaveTheirValues(String mapping) throws Exception {
    Class<?> type = Class.forName(getClass().getPackageName() + "." + mapping);
    int compared = 0;
    for (Field field : type.getDeclaredFields()) {
      String constant = field.getName();
      if (LAYOUTS.contains(constant) || UNNAMED.contains(constant)) {
        continue;
      }
      field.setAccessible(true);
      long value = ((Number) field.get(null)).longValue();
      assertEquals(windows.constant(NAMES.getOrDefault(constant, constant)), value, constant);
      compared++;
    }
    assertTrue(compared > 0);
  }

  @Test
  void longestTimeToConnectIsWindows() {
    assertEquals(
        windows.constant("HVSOCKET_CONNECT_TIMEOUT_MAX"), HvSocket.MAX_CONNECT_TIMEOUT_MILLIS);
  }

  @ParameterizedTest
  @EnumSource
  void resultHasItsNumber(HResult result) {
    long value = windows.constant(result.name());
    // HRESULT_FROM_WIN32 (winerror.h)
    long code = value > 0 ? 0x8007_0000L | value : value;
    assertEquals((int) code, result.code());
  }

  @ParameterizedTest
  @CsvSource({
    "SYSTEM_EXITED, HcsEventSystemExited",
    "CRASH_INITIATED, HcsEventSystemCrashInitiated",
    "CRASH_REPORT, HcsEventSystemCrashReport",
    "SERVICE_DISCONNECT, HcsEventServiceDisconnect"
  })
  void eventHasItsNumber(HcsEvent.Type type, String name) {
    assertEquals(windows.constant(name), type.code());
  }

  @Test
  void servicesOfPortsAreMadeFromWindowsTemplate() {
    ByteBuffer guid = ByteBuffer.allocate(Guid.SIZE);
    Guid.put(guid, 0, HvSocketAddress.VSOCK_TEMPLATE);
    assertArrayEquals(windows.guid("HV_GUID_VSOCK_TEMPLATE"), guid.array());
  }
}
