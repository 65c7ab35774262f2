// SPDX-License-Identifier: Apache-2.0
//
// The first program of a guest that QEMU runs in place of Hyper-V: it makes the guest's disks look as those of Hyper-V
// do in sysfs, and becomes /init. QEMU has no VMBus; its disks are virtio's, known by their serial numbers.
//
// /vmbus-disks has a line "SERIAL CONTROLLER HOST LUN" for each.
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST "/vmbus-disks"

static int failed(const char *what) {
  perror(what);
  return 1;
}

static void make_directories(char *path) {
  for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
    *at = 0;
    mkdir(path, 0755);
    *at = '/';
  }
  mkdir(path, 0755);
}

// The name of the block device with a serial number; 0 where there is none.
static int find(const char *serial, char *name, size_t size) {
  DIR *block = opendir("/sys/block");
  int found = 0;
  for (struct dirent *entry; block && !found && (entry = readdir(block));) {
    char path[512], text[64] = "";
    snprintf(path, sizeof path, "/sys/block/%s/serial", entry->d_name);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    found = fgets(text, sizeof text, file) != NULL;
    text[strcspn(text, "\n")] = 0;
    found = found && !strcmp(text, serial);
    fclose(file);
    snprintf(name, size, "%s", entry->d_name);
  }
  if (block) closedir(block);
  return found;
}

int main(int count, char **arguments, char **environment) {
  char line[512], serial[64], controller[64], name[256], path[1024];
  unsigned int host, lun;
  mkdir("/sys", 0755);
  if (mount("sysfs", "/sys", "sysfs", 0, NULL)) return failed("sysfs");
  // No directory can be made in sysfs itself. Nobody here looks for other buses.
  if (mount("tmpfs", "/sys/bus", "tmpfs", 0, NULL)) return failed("tmpfs");
  FILE *list = fopen(LIST, "r");
  if (!list) return failed(LIST);
  while (fgets(line, sizeof line, list)) {
    if (sscanf(line, "%63s %63s %u %u", serial, controller, &host, &lun) != 4) return failed(line);
    if (!find(serial, name, sizeof name)) return failed(serial);
    snprintf(path, sizeof path, "/sys/bus/vmbus/devices/%s/host%u/target%u:0:0/%u:0:0:%u/block/%s", controller, host,
             host, host, lun, name);
    make_directories(path);
  }
  fclose(list);
  unlink(LIST);
  unlink(arguments[0]);
  arguments[0] = "/init";
  execve("/init", arguments, environment);
  return failed("/init");
}
