// Runs all cases, or those whose names contain an argument, on two OS threads. One line per case: "ok|FAILED milliseconds name[: message]".
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>

#include "test.h"

void print_abi();

int main(int argc, char **argv) {
    if (argc == 2 && std::strcmp(argv[1], "--abi") == 0) {
        print_abi();
        return 0;
    }
    std::vector<test::Case> &all = test::cases();
    std::sort(all.begin(), all.end(), [](const test::Case &a, const test::Case &b) { return a.name < b.name; });
    std::atomic<size_t> next{0};
    std::atomic<int> failed{0};
    std::atomic<int> ran{0};
    std::mutex output;
    auto work = [&] {
        for (size_t i; (i = next++) < all.size();) {
            const test::Case &c = all[i];
            bool wanted = argc < 2;
            for (int a = 1; a < argc; a++) {
                wanted |= c.name.find(argv[a]) != std::string::npos;
            }
            if (!wanted) {
                continue;
            }
            auto start = std::chrono::steady_clock::now();
            std::string message;
            test::overrun.clear();
            try {
                c.body();
            } catch (const std::exception &e) {
                message = e.what();
            }
            message = message.empty() ? test::overrun : message;
            double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
            std::lock_guard<std::mutex> lock(output);
            ran++;
            failed += !message.empty();
            std::printf("%s %.0f %s%s%s\n", message.empty() ? "ok" : "FAILED", ms, c.name.c_str(), message.empty() ? "" : ": ", message.c_str());
            std::fflush(stdout);
        }
    };
    std::thread other(work);
    work();
    other.join();
    std::printf("%d cases, %d failed\n", ran.load(), failed.load());
    return failed > 0 || ran == 0;
}
