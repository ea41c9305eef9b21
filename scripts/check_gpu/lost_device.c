/* Between llama.cpp and the Vulkan loader: from the Nth submission on the device is lost (VK_ERROR_DEVICE_LOST).
 * Compiled and preloaded by troubles.py; needs no header of Vulkan. EDGESPEC_LOST_AT holds N. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*function)(void);
typedef function (*finder)(void *, const char *);
typedef int32_t (*submission)(void *, uint32_t, const void *, void *);

enum { DEVICE_LOST = -4 };

static finder instance_finder, device_finder;
static submission real_submit;
static atomic_long submissions;

static int32_t submit(void *queue, uint32_t count, const void *infos, void *fence) {
    const char *at = getenv("EDGESPEC_LOST_AT");
    if (at && atomic_fetch_add(&submissions, 1) >= atol(at)) {
        return DEVICE_LOST;
    }
    return real_submit(queue, count, infos, fence);
}

static function in_place_of(const char *name, function found);

static function find_in_device(void *device, const char *name) {
    return in_place_of(name, device_finder(device, name));
}

static function in_place_of(const char *name, function found) {
    if (found && !strcmp(name, "vkQueueSubmit")) {
        real_submit = (submission)found;
        return (function)submit;
    }
    if (found && !strcmp(name, "vkGetDeviceProcAddr")) {
        device_finder = (finder)found;
        return (function)find_in_device;
    }
    return found;
}

function vkGetInstanceProcAddr(void *instance, const char *name) {
    if (!instance_finder) {
        instance_finder = (finder)dlsym(RTLD_NEXT, "vkGetInstanceProcAddr");
    }
    return in_place_of(name, instance_finder(instance, name));
}
