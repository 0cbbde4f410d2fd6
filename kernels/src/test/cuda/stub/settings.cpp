#include "settings.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace stub {

namespace {
struct Name {
    const char *name;
    long long Settings::*field;
};
const Name names[] = {
    {"devices", &Settings::devices},
    {"memory_bytes", &Settings::memory_bytes},
    {"driver_version", &Settings::driver_version},
    {"compute_major", &Settings::compute_major},
    {"compute_minor", &Settings::compute_minor},
    {"multiprocessors", &Settings::multiprocessors},
    {"init_status", &Settings::init_status},
    {"no_binary", &Settings::no_binary},
    {"module_status", &Settings::module_status},
    {"programmatic_capture", &Settings::programmatic_capture},
    {"fail_capture", &Settings::fail_capture},
    {"fail_allocation", &Settings::fail_allocation},
    {"fail_launch", &Settings::fail_launch},
    {"fail_status", &Settings::fail_status},
    {"hang_launch", &Settings::hang_launch},
    {"hang_millis", &Settings::hang_millis},
};
struct CounterName {
    const char *name;
    long long Counters::*field;
};
const CounterName counter_names[] = {
    {"allocations", &Counters::allocations},
    {"live_allocations", &Counters::live_allocations},
    {"live_bytes", &Counters::live_bytes},
    {"live_pinned", &Counters::live_pinned},
    {"live_streams", &Counters::live_streams},
    {"live_events", &Counters::live_events},
    {"live_modules", &Counters::live_modules},
    {"live_graphs", &Counters::live_graphs},
    {"launches", &Counters::launches},
    {"programmatic_launches", &Counters::programmatic_launches},
    {"graph_launches", &Counters::graph_launches},
    {"copies", &Counters::copies},
};
}  // namespace

long long *Settings::find(const std::string &name) {
    for (const Name &n : names) {
        if (name == n.name) {
            return &(this->*n.field);
        }
    }
    return nullptr;
}

void Settings::read_environment() {
    for (const Name &n : names) {
        std::string variable = std::string("MR_STUB_") + n.name;
        std::transform(variable.begin(), variable.end(), variable.begin(), [](unsigned char c) { return std::toupper(c); });
        if (const char *value = std::getenv(variable.c_str())) {
            this->*n.field = std::atoll(value);
        }
    }
}

const long long *Counters::find(const std::string &name) const {
    for (const CounterName &n : counter_names) {
        if (name == n.name) {
            return &(this->*n.field);
        }
    }
    return nullptr;
}

}  // namespace stub
