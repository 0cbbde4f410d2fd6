// A stub libnvidia-ml: two devices, the second of which tells neither its power nor its clocks, as some do.
#include <cstring>

namespace {

enum Status { success = 0, uninitialized = 1, invalid_argument = 2, not_supported = 3, not_found = 6 };

struct Device {
    const char *bus;
    bool tells_power;
};
const Device devices[] = {{"00000000:01:00.0", true}, {"00000000:02:00.0", false}};
int users = 0;

struct Memory {
    unsigned long long total, free, used;
};
struct Utilization {
    unsigned gpu, memory;
};

bool known(const Device *device) { return users > 0 && device >= devices && device < devices + 2; }

}  // namespace

#pragma GCC visibility push(default)
extern "C" {
int nvmlInit_v2() {
    users++;
    return success;
}
int nvmlShutdown() {
    if (users == 0) {
        return uninitialized;
    }
    users--;
    return success;
}
const char *nvmlErrorString(int status) {
    return status == not_supported ? "Not Supported" : status == not_found ? "Not Found" : status == uninitialized ? "Uninitialized" : "Invalid Argument";
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, const Device **device) {
    for (const Device &d : devices) {
        if (users > 0 && std::strcmp(d.bus, bus) == 0) {
            *device = &d;
            return success;
        }
    }
    return users > 0 ? not_found : uninitialized;
}
int nvmlDeviceGetMemoryInfo(const Device *device, Memory *memory) {
    if (!known(device)) {
        return invalid_argument;
    }
    *memory = {1000, 250, 750};
    return success;
}
int nvmlDeviceGetUtilizationRates(const Device *device, Utilization *utilization) {
    if (!known(device)) {
        return invalid_argument;
    }
    *utilization = {93, 41};
    return success;
}
int nvmlDeviceGetPowerUsage(const Device *device, unsigned *milliwatts) {
    if (!known(device) || !device->tells_power) {
        return not_supported;
    }
    *milliwatts = 512345;
    return success;
}
int nvmlDeviceGetTemperature(const Device *device, int sensor, unsigned *celsius) {
    if (!known(device) || sensor != 0) {
        return invalid_argument;
    }
    *celsius = 61;
    return success;
}
int nvmlDeviceGetClockInfo(const Device *device, int type, unsigned *mhz) {
    if (!known(device) || !device->tells_power) {
        return not_supported;
    }
    *mhz = type == 1 ? 1980 : 2619;
    return success;
}
}
#pragma GCC visibility pop
